from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from config.adminbase import ReadOnlyAdmin
from runs.models import Lane, MetricBatch, MetricChunk, MetricSummary, RunStatusChange, SweepClock


class OfRunAdmin(ReadOnlyAdmin):
    team_path = "run__project__team"
    search_fields = ["run__name", "run__run_id"]
    list_select_related = ["run"]


@admin.register(Lane)
class LaneAdmin(OfRunAdmin):
    list_display = ["run", "head", "cursor", "received_at", "ring_at"]
    fields = list_display


@admin.register(RunStatusChange)
class RunStatusChangeAdmin(OfRunAdmin):
    list_display = ["run", "seq", "old_status", "status", "received_at", "actor"]
    list_filter = ["status"]
    list_select_related = ["run", "actor"]
    fields = [*list_display, "run_name", "run_user"]


@admin.register(MetricBatch)
class MetricBatchAdmin(OfRunAdmin):
    list_display = ["run", "seq", "source", "count", "received_at"]
    list_filter = ["source"]
    fields = [*list_display, "run_status", "run_name", "run_user"]


@admin.register(MetricChunk)
class MetricChunkAdmin(OfRunAdmin):
    list_display = ["run", "name", "source", "seq", "count", "min_step", "max_step", "received_at"]
    list_filter = ["source"]
    search_fields = ["=name", "=run__run_id"]
    fields = [*list_display, "first_index", "finite_before"]

    def visible(self, user: Any) -> QuerySet[MetricChunk]:
        # The packed values say nothing here and are most of the row.
        return super().visible(user).defer("parts", "steps", "timestamps", "values")


@admin.register(MetricSummary)
class MetricSummaryAdmin(OfRunAdmin):
    list_display = ["run", "name", "source", "latest", "minimum", "maximum", "count", "last_step"]
    list_filter = ["source"]
    search_fields = ["name", "run__name", "=run__run_id"]
    fields = [*list_display, "finite_count"]

    @admin.display(description=gettext_lazy("last"))
    def latest(self, obj: MetricSummary) -> float | str | None:
        return obj.last


@admin.register(SweepClock)
class SweepClockAdmin(ReadOnlyAdmin):
    """Of the whole installation, so for superusers."""

    list_display = ["__str__", "started_at", "swept_at"]
    fields = ["started_at", "swept_at"]

    def visible(self, user: Any) -> QuerySet[SweepClock]:
        return SweepClock.objects.all() if user.is_superuser else SweepClock.objects.none()

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)
