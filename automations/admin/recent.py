"""What an automation did last, on its own page."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext as _, gettext_lazy

from automations import access
from automations.api.history import sentence
from automations.models import Automation, Execution
from config.adminbase import ReadOnlyInline, actor

# So many executions stand on the page of their automation; the list has all of them.
RECENT = 10


class RecentFormSet(BaseInlineFormSet):
    """The first rows alone, and as they are now: what a request brings of them is not looked at."""

    def __init__(self, data: Any = None, files: Any = None, **options: Any) -> None:
        super().__init__(**options)

    def is_valid(self) -> bool:
        return True

    def has_changed(self) -> bool:
        return False

    def get_queryset(self) -> QuerySet[Execution]:
        if not hasattr(self, "_recent"):
            # Sliced last: a slice cannot be narrowed to one automation.
            self._recent = super().get_queryset()[:RECENT]
        return self._recent


class ExecutionInline(ReadOnlyInline):
    """As far as the person sees them: one rule of the organization fires in many teams."""

    model = Execution
    formset = RecentFormSet
    fields = ["created_at", "state", "why", "count", "run", "version"]
    readonly_fields = ["why"]
    ordering = ["-pk"]
    select_related = ["run", "version__home"]
    verbose_name_plural = gettext_lazy("recent executions")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Execution]:
        seen = access.executions(actor(request))
        return seen.order_by(*self.ordering).select_related(*self.select_related)

    @admin.display(description=gettext_lazy("why"))
    def why(self, obj: Execution) -> str:
        return sentence(obj)


def all_executions(automation: Automation) -> str:
    """A link to the list of them."""
    url = reverse("admin:automations_execution_changelist")
    query = urlencode({"automation__id__exact": automation.pk})
    return format_html('<a href="{}?{}">{}</a>', url, query, _("All executions of this automation"))
