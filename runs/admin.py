from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _, gettext_lazy, ngettext

from config.adminbase import (
    AdminPasswordChangeForm,
    DeletedFilter,
    ReadOnlyAdmin,
    ReadOnlyInline,
    ScopedAdmin,
    ServiceForm,
    ServiceInline,
    TextInput,
    UserCreationForm,
    VisibleFilter,
    actor,
    adopt,
    team_roles,
)
from runs import access
from runs.models import (
    ApiKey,
    Lane,
    Member,
    MetricBatch,
    MetricChunk,
    MetricSummary,
    Organization,
    Project,
    Role,
    Run,
    RunStatus,
    RunStatusChange,
    SweepClock,
    Team,
    User,
)
from runs.services import people, projects, runs as run_services
from runs.services.saving import save_named

# Roles in teams and registries decide who may do what: groups of permissions would say nothing.
if admin.site.is_registered(Group):
    admin.site.unregister(Group)


# --- People ---------------------------------------------------------------------------------------


@admin.register(Organization)
class OrganizationAdmin(ScopedAdmin):
    list_display = ["name", "created_at"]
    search_fields = ["name"]
    ordering = ["name"]
    fields = ["name", "created_at"]
    readonly_fields = ["created_at"]
    write_role = Role.ADMIN
    superusers_only = True

    def visible(self, user: Any) -> QuerySet[Organization]:
        return access.organizations(user)

    def write(self, request: HttpRequest, obj: Organization, form: Any) -> None:
        save_named(obj)


class MemberForm(ServiceForm):
    """A person is named by username, as in REST: the team's admin need not see all people."""

    username = forms.CharField(label=gettext_lazy("username"), max_length=150, widget=TextInput)

    class Meta:
        fields = ["role"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.fields["username"].disabled = True
            self.initial["username"] = self.instance.user.username

    def clean_username(self) -> str:
        name: str = self.cleaned_data["username"]
        if not self.instance.pk:
            found = User.objects.filter(username=name, is_active=True).first()
            if found is None:
                raise ValidationError(_("There is no user “%(name)s”.") % {"name": name})
            self.instance.user = found
        return name


class MemberInline(ServiceInline):
    model = Member
    form = MemberForm
    fields = ["username", "role"]
    select_related = ["user", "team"]
    write_role = Role.ADMIN

    def write(self, request: HttpRequest, row: Member, form: Any) -> None:
        people.set_member(row.team, row.user, role=Role(form.cleaned_data["role"]))

    def remove(self, request: HttpRequest, row: Member) -> None:
        row.delete()


@admin.register(Team)
class TeamAdmin(ScopedAdmin):
    """Staff make teams and are then their first admin; admins of a team rename it and choose members."""

    list_display = ["name", "organization", "created_at"]
    list_filter = [("organization", VisibleFilter)]
    search_fields = ["name"]
    ordering = ["name"]
    list_select_related = ["organization"]
    fields = ["organization", "name", "created_at"]
    readonly_fields = ["created_at"]
    fixed_fields = ["organization"]
    inlines = [MemberInline]
    write_role = Role.ADMIN

    def visible(self, user: Any) -> QuerySet[Team]:
        return access.teams(user)

    def has_role(self, request: HttpRequest, obj: Team, role: Role) -> bool:
        return request.user.is_superuser or team_roles(request).get(obj.pk) in role.and_above

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_staff)

    def require_write(self, request: HttpRequest, rows: Any) -> None:
        super().require_write(request, [team for team in rows if team.pk])

    def write(self, request: HttpRequest, obj: Team, form: Any) -> None:
        if obj.pk:
            save_named(obj)
        else:
                made = people.create_team(obj.name, organization=obj.organization, owner=actor(request))
            adopt(obj, made)


@admin.register(Member)
class MemberAdmin(ReadOnlyAdmin):
    """All memberships at a glance; they are written on the team's page."""

    list_display = ["user", "team", "role"]
    list_filter = ["role", ("team", VisibleFilter)]
    search_fields = ["user__username", "team__name"]
    list_select_related = ["user", "team"]
    fields = ["team", "user", "role"]


@admin.register(User)
class UserAdmin(ScopedAdmin, DjangoUserAdmin):
    """Staff see who is in their teams. Accounts are superusers' business: to change another's e-mail
    or password is to be that person."""

    list_display = ["username", "email", "is_active", "is_staff", "is_superuser", "is_service", "last_login"]
    list_filter = ["is_active", "is_staff", "is_superuser", "is_service"]
    search_fields = ["username", "email"]
    ordering = ["username"]
    form = ServiceForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    fieldsets = [(None, {"fields": ["username", "email", "is_active", "is_staff", "is_superuser",
                                    "password_link", "is_service", "last_login", "date_joined"]})]
    add_fieldsets = DjangoUserAdmin.add_fieldsets
    filter_horizontal: Sequence[str] = []
    readonly_fields = ["password_link", "is_service", "last_login", "date_joined"]
    write_role = Role.ADMIN
    superusers_only = True

    def visible(self, user: Any) -> QuerySet[User]:
        if user.is_superuser:
            return User.objects.all()
        theirs = Member.objects.filter(team__in=access.teams(user).values("pk")).values("user")
        return User.objects.filter(Q(pk=user.pk) | Q(pk__in=theirs))

    @admin.display(description=gettext_lazy("password"))
    def password_link(self, obj: User) -> str:
        return format_html(
            '<a href="{}">{}</a>', reverse("admin:auth_user_password_change", args=[obj.pk]), _("Set another")
        )

    def write(self, request: HttpRequest, obj: User, form: Any) -> None:
        obj.save()


class ApiKeyForm(ServiceForm):
    class Meta:
        help_texts = {"user": gettext_lazy("Yourself, when empty. A service key has an account of its own.")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "user" in self.fields:
            self.fields["user"].required = False


@admin.register(ApiKey)
class ApiKeyAdmin(ScopedAdmin):
    """One's own keys, and the service keys of teams that one is an admin of."""

    list_display = ["name", "prefix", "user", "team", "created_at", "last_used_at"]
    list_filter = [("team", VisibleFilter)]
    search_fields = ["name", "prefix", "user__username"]
    list_select_related = ["user", "team"]
    form = ApiKeyForm
    fields = ["name", "team", "user", "prefix", "created_at", "last_used_at"]
    readonly_fields = ["prefix", "created_at", "last_used_at"]
    autocomplete_fields = ["team", "user"]
    write_role = Role.ADMIN
    can_change = False

    def visible(self, user: Any) -> QuerySet[ApiKey]:
        if user.is_superuser:
            return ApiKey.objects.all()
        administered = access.teams(user, at_least=Role.ADMIN).values("pk")
        return ApiKey.objects.filter(Q(user=user.pk, team=None) | Q(team__in=administered))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        fields = super().get_fields(request, obj)
        for_others = obj or request.user.is_superuser  # type: ignore[union-attr]
        return [name for name in fields if for_others or name != "user"]

    def has_role(self, request: HttpRequest, obj: ApiKey, role: Role) -> bool:
        own = obj.team_id is None and obj.user_id in {None, request.user.pk}
        return own or super().has_role(request, obj, role)

    def has_role_somewhere(self, request: HttpRequest, role: Role) -> bool:
        return True

    def write(self, request: HttpRequest, obj: ApiKey, form: Any) -> None:
        if obj.team is not None:
            made, key = people.create_service_key(obj.team, obj.name)
        else:
            made, key = people.create_key(form.cleaned_data.get("user") or actor(request), obj.name)
        adopt(obj, made)
        text = _("Copy the key now, it is not shown again: %(key)s") % {"key": key}
        self.message_user(request, text, messages.WARNING)

    def remove(self, request: HttpRequest, obj: ApiKey) -> None:
        people.revoke_key(obj)


# --- Runs -----------------------------------------------------------------------------------------


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
    fields = ["project", "run_id", "name", "status", "config", "user", "created_at", "started_at",
              "finished_at", "heartbeat_at", "deleted_at"]
    readonly_fields = ["project", "run_id", "config", "user", "created_at", "started_at", "finished_at",
                       "heartbeat_at", "deleted_at"]
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


# --- What a run's lane and metrics are made of ----------------------------------------------------


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
        return super().visible(user).defer("steps", "timestamps", "values")


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
        return bool(request.user.is_superuser)  # type: ignore[union-attr]
