from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest

from config.adminbase import ScopedAdmin, actor, follow, team_roles
from registry import access
from registry.models import Collection, RegistryMember
from runs import access as runs_access
from runs.models import Role


def registry_roles(request: HttpRequest) -> dict[int, Role]:
    """The person's role by registry id, read once per request."""
    known: dict[int, Role] | None = vars(request).get("registry_roles")
    if known is None:
        rows = RegistryMember.objects.filter(user=request.user.pk).values_list("registry", "role")
        known = vars(request)["registry_roles"] = {registry: Role(role) for registry, role in rows}
    return known


def has_registry_role(request: HttpRequest, registry_id: int | None, role: Role) -> bool:
    return actor(request).is_superuser or registry_roles(request).get(registry_id or 0) in role.and_above


def has_role_somewhere(request: HttpRequest, role: Role) -> bool:
    held = [*team_roles(request).values(), *registry_roles(request).values()]
    return any(one in role.and_above for one in held)


def holds(request: HttpRequest, collection: Collection, role: Role) -> bool:
    """Whether the person has the role where the collection lives: in its registry, or its project's team."""
    if collection.project is None:
        return has_registry_role(request, collection.registry_id, role)
    held = team_roles(request).get(collection.project.team_id)
    return actor(request).is_superuser or held in role.and_above


def visible_collections(user: Any) -> QuerySet[Collection]:
    """Collections that the person sees, deleted ones included."""
    if user.is_superuser:
        return Collection.objects.all()
    return Collection.objects.filter(
        Q(project__in=runs_access.projects(user).values("pk"))
        | Q(registry__in=access.registries(user).values("pk"))
    )


class PlacedAdmin(ScopedAdmin):
    """Base of what is held by a collection: the role is that in its registry or in its project's team."""

    collection_path = "collection"
    write_role: Role | None = Role.MEMBER

    def visible(self, user: Any) -> QuerySet[Any]:
        rows = self.model._default_manager.all()
        if user.is_superuser:
            return rows  # type: ignore[no-any-return]
        return rows.filter(**{f"{self.collection_path}__in": visible_collections(user).values("pk")})  # type: ignore[no-any-return]

    def has_role(self, request: HttpRequest, obj: Any, role: Role) -> bool:
        return holds(request, follow(obj, self.collection_path), role)

    def has_role_somewhere(self, request: HttpRequest, role: Role) -> bool:
        return has_role_somewhere(request, role)
