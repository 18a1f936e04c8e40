from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy

from automations import access
from automations.admin.blocks import json_block
from automations.models import Backtest
from config.adminbase import ReadOnlyAdmin


@admin.register(Backtest)
class BacktestAdmin(ReadOnlyAdmin):
    list_display = ["created_by", "state", "done", "total", "created_at", "finished_at"]
    list_filter = ["state"]
    list_select_related = ["created_by"]
    fields = [*list_display, "problem", "rule", "found"]
    readonly_fields = ["rule", "found"]

    def visible(self, user: Any) -> QuerySet[Backtest]:
        return access.backtests(user)

    @admin.display(description=gettext_lazy("rule"))
    def rule(self, obj: Backtest) -> str:
        return json_block(obj.draft)

    @admin.display(description=gettext_lazy("found"))
    def found(self, obj: Backtest) -> str:
        return json_block(obj.result.get("summary", {}))
