from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _, gettext_lazy

from config.adminbase import (
    JSONField,
    ReadOnlyAdmin,
    ScopedAdmin,
    ServiceForm,
    ServiceInline,
    VisibleFilter,
    actor,
    adopt,
    team_roles,
)
from registry import access
from registry.admin.roles import has_registry_role, registry_roles
from registry.models import Registry, RegistryMember, Visibility
from registry.names import validate_alias
from registry.services import collections
from runs import access as runs_access
from runs.admin.people import MemberForm
from runs.models import Role
from runs.names import normalized
from runs.services.saving import save_named


class RegistryForm(ServiceForm):
    protected_aliases = JSONField(
        label=gettext_lazy("protected aliases"),
        kind=list,
        required=False,
        help_text=gettext_lazy('Only admins of the registry may move these: ["production"].'),
    )

    def clean_protected_aliases(self) -> list[str]:
        aliases = self.cleaned_data["protected_aliases"]
        for alias in aliases:
            if not isinstance(alias, str):
                raise ValidationError(_("Each must be a string."))
            validate_alias(alias)
        return list(dict.fromkeys(normalized(alias) for alias in aliases))


class RegistryMemberInline(ServiceInline):
    model = RegistryMember
    form = MemberForm
    fields = ["username", "role"]
    select_related = ["user", "registry"]
    write_role = Role.ADMIN

    def write(self, request: HttpRequest, row: RegistryMember, form: Any) -> None:
        collections.set_registry_member(row.registry, row.user, role=Role(form.cleaned_data["role"]))

    def remove(self, request: HttpRequest, row: RegistryMember) -> None:
        row.delete()


@admin.register(Registry)
class RegistryAdmin(ScopedAdmin):
    """Members of a team of the organization make registries and are then their first admin."""

    list_display = ["name", "organization", "visibility", "created_at"]
    list_filter = ["visibility", ("organization", VisibleFilter)]
    search_fields = ["name"]
    ordering = ["name"]
    list_select_related = ["organization"]
    form = RegistryForm
    fields = ["organization", "name", "description", "visibility", "protected_aliases", "created_at"]
    readonly_fields = ["created_at"]
    fixed_fields = ["organization"]
    inlines = [RegistryMemberInline]
    write_role = Role.ADMIN

    def visible(self, user: Any) -> QuerySet[Registry]:
        return access.registries(user)

    def has_role(self, request: HttpRequest, obj: Registry, role: Role) -> bool:
        return has_registry_role(request, obj.pk, role)

    def has_role_somewhere(self, request: HttpRequest, role: Role) -> bool:
        return any(held in role.and_above for held in registry_roles(request).values())

    def has_add_permission(self, request: HttpRequest) -> bool:
        somewhere = any(held in Role.MEMBER.and_above for held in team_roles(request).values())
        return somewhere or actor(request).is_superuser

    def require_write(self, request: HttpRequest, rows: Any) -> None:
        super().require_write(request, [registry for registry in rows if registry.pk])

    def write(self, request: HttpRequest, obj: Registry, form: Any) -> None:
        if obj.pk:
            save_named(obj)
            return
        runs_access.require_some_team(actor(request), obj.organization)
        made = collections.create_registry(
            obj.name,
            owner=actor(request),
            organization=obj.organization,
            description=obj.description,
            visibility=Visibility(obj.visibility),
            protected_aliases=obj.protected_aliases,
        )
        adopt(obj, made)


@admin.register(RegistryMember)
class RegistryMemberAdmin(ReadOnlyAdmin):
    """All memberships at a glance; they are written on the registry's page."""

    list_display = ["user", "registry", "role"]
    list_filter = ["role", ("registry", VisibleFilter)]
    search_fields = ["user__username", "registry__name"]
    list_select_related = ["user", "registry"]
    fields = ["registry", "user", "role"]

    def visible(self, user: Any) -> QuerySet[RegistryMember]:
        return RegistryMember.objects.filter(registry__in=access.registries(user))
