from __future__ import annotations

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
from django.utils.translation import gettext as _, gettext_lazy

from config.adminbase import (
    AdminPasswordChangeForm,
    ReadOnlyAdmin,
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
from runs.models import ApiKey, Member, Organization, Role, Team, User
from runs.services import people
from runs.services.saving import save_named

# Roles in teams and registries decide who may do what: groups of permissions would say nothing.
if admin.site.is_registered(Group):
    admin.site.unregister(Group)


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
        people.remove_member(row)


class TeamForm(ServiceForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "organization" in self.fields:
            # Who is in no team yet sees no organization to choose.
            self.fields["organization"].required = False

    def clean_organization(self) -> Organization:
        return self.cleaned_data["organization"] or Organization.default()


@admin.register(Team)
class TeamAdmin(ScopedAdmin):
    """Staff make teams and are then their first admin; admins of a team rename it and choose members."""

    list_display = ["name", "organization", "created_at"]
    list_filter = [("organization", VisibleFilter)]
    search_fields = ["name"]
    ordering = ["name"]
    list_select_related = ["organization"]
    form = TeamForm
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
class UserAdmin(ScopedAdmin, DjangoUserAdmin):  # type: ignore[misc]  # two kinds of ModelAdmin
    """Staff see who is in their teams. Accounts are superusers' business: to change another's e-mail
    or password is to be that person."""

    list_display = ["username", "email", "is_active", "is_staff", "is_superuser", "is_service", "last_login"]
    list_filter = ["is_active", "is_staff", "is_superuser", "is_service"]
    search_fields = ["username", "email"]
    ordering = ["username"]  # type: ignore[assignment,misc]
    form = ServiceForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "username",
                    "email",
                    "is_active",
                    "is_staff",
                    "is_superuser",
                    "password_link",
                    "is_service",
                    "language",
                    "last_login",
                    "date_joined",
                ]
            },
        )
    ]
    add_fieldsets = DjangoUserAdmin.add_fieldsets
    filter_horizontal = []
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
        for_others = obj or actor(request).is_superuser
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
