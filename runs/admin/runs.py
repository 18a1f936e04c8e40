from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy, ngettext

from config.adminbase import (
    DeletedFilter,
    ReadOnlyInline,
    ScopedAdmin,
    ServiceForm,
    VisibleFilter,
    actor,
    adopt,
)
from runs.models import Project, Role, Run, RunStatus, RunStatusChange
from runs.services import projects, runs as run_services
from runs.services.saving import save_named


@admin.register(Project)
class ProjectAdmin(ScopedAdmin):
    list_display = ["name", "team", "created_at"]
    list_filter = [("team", VisibleFilter)]
    search_fields = ["name", "team__name"]
    list_select_related = ["team"]
    fields = ["team", "name", "description", "created_at"]
    readonly_fields = ["created_at"]
    fixed_fields = ["team"]
    autocomplete_fields = ["team"]
    write_role = Role.MEMBER

    def write(self, request: HttpRequest, obj: Project, form: Any) -> None:
        if obj.pk:
            save_named(obj)
        else:
            adopt(obj, projects.create_project(obj.team, obj.name, description=obj.description))


class RunForm(ServiceForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A run goes on while somebody reads its page: what was not touched there is not changed back.
        for field in self.fields.values():
            field.show_hidden_initial = True


class StatusChangeInline(ReadOnlyInline):
    model = RunStatusChange
    fields = ["seq", "old_status", "status", "received_at", "actor"]
    ordering = ["-seq"]
    select_related = ["actor", "run"]
    per_page = 20


@admin.register(Run)
class RunAdmin(ScopedAdmin):
    """Runs are made by what trains; here they are renamed, ended, deleted and restored."""

    list_display = ["name", "run_id", "project", "status", "user", "created_at", "finished_at"]
    list_filter = ["status", DeletedFilter, ("project", VisibleFilter)]
    search_fields = ["name", "run_id"]
    list_select_related = ["project__team", "user"]
    date_hierarchy = "created_at"
    show_full_result_count = False
    form = RunForm
    fields = [
        "project",
        "run_id",
        "name",
        "status",
        "config",
        "user",
        "created_at",
        "started_at",
        "finished_at",
        "heartbeat_at",
        "deleted_at",
    ]
    readonly_fields = [
        "project",
        "run_id",
        "config",
        "user",
        "created_at",
        "started_at",
        "finished_at",
        "heartbeat_at",
        "deleted_at",
    ]
    inlines = [StatusChangeInline]
    actions = ["mark_finished", "mark_failed", "mark_killed", "restore"]
    team_path = "project__team"
    write_role = Role.MEMBER
    can_add = False
    soft_delete = True

    def write(self, request: HttpRequest, obj: Run, form: Any) -> None:
        # The name first: a rule on the change of status reads the name as of then.
        if "name" in form.changed_data:
            run_services.update_run(obj, name=form.cleaned_data["name"])
        if "status" in form.changed_data:
            run_services.set_status(obj, RunStatus(form.cleaned_data["status"]), actor=actor(request))

    def remove(self, request: HttpRequest, obj: Run) -> None:
        run_services.delete_run(obj)

    def _mark(self, request: HttpRequest, queryset: QuerySet[Run], status: RunStatus) -> None:
        runs = self.writable(request, queryset.filter(deleted_at=None).exclude(status=status))
        for run in runs:
            run_services.set_status(run, status, actor=actor(request))
        text = ngettext("%(count)d run changed.", "%(count)d runs changed.", len(runs))
        self.message_user(request, text % {"count": len(runs)}, messages.SUCCESS)

    @admin.action(description=gettext_lazy("Mark as finished"), permissions=["change"])
    def mark_finished(self, request: HttpRequest, queryset: QuerySet[Run]) -> None:
        self._mark(request, queryset, RunStatus.FINISHED)

    @admin.action(description=gettext_lazy("Mark as failed"), permissions=["change"])
    def mark_failed(self, request: HttpRequest, queryset: QuerySet[Run]) -> None:
        self._mark(request, queryset, RunStatus.FAILED)

    @admin.action(description=gettext_lazy("Mark as killed"), permissions=["change"])
    def mark_killed(self, request: HttpRequest, queryset: QuerySet[Run]) -> None:
        self._mark(request, queryset, RunStatus.KILLED)

    @admin.action(description=gettext_lazy("Restore"), permissions=["change"])
    def restore(self, request: HttpRequest, queryset: QuerySet[Run]) -> None:
        runs = self.writable(request, queryset.exclude(deleted_at=None))
        for run in runs:
            run_services.restore_run(run)
        text = ngettext("%(count)d run restored.", "%(count)d runs restored.", len(runs))
        self.message_user(request, text % {"count": len(runs)}, messages.SUCCESS)
