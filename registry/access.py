"""Who may see and do what with registries, collections and versions."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from registry.models import ArtifactVersion, Collection, Membership, Registry, Visibility
from runs import access
from runs.access import Person
from runs.models import Role


def registries(user: Person, *, at_least: Role = Role.VIEWER) -> QuerySet[Registry]:
    """Open registries of the person's organizations (to view), and those they are a member of."""
    if user.is_superuser:
        return Registry.objects.all()
    mine = Registry.objects.filter(members__user=user.pk, members__role__in=at_least.and_above)
    condition = Q(pk__in=mine.values("pk"))
    if at_least == Role.VIEWER:
        condition |= Q(
            visibility=Visibility.ORGANIZATION, organization__in=access.organizations(user).values("pk")
        )
    return Registry.objects.filter(condition)


def collections(user: Person) -> QuerySet[Collection]:
    """Collections that are not deleted."""
    live = Collection.objects.filter(deleted_at__isnull=True)
    if user.is_superuser:
        return live
    return live.filter(
        Q(project__team__in=access.teams(user).values("pk")) | Q(registry__in=registries(user).values("pk"))
    )


def versions(user: Person) -> QuerySet[ArtifactVersion]:
    """Versions in a collection that the person sees."""
    if user.is_superuser:
        return ArtifactVersion.objects.all()
    seen = collections(user).values("pk")
    linked = Membership.objects.filter(collection__in=seen).values("version")
    return ArtifactVersion.objects.filter(Q(home__in=seen) | Q(pk__in=linked))


def require_registry_role(user: Person, registry: Registry, at_least: Role) -> None:
    if not registries(user, at_least=at_least).filter(pk=registry.pk).exists():
        raise PermissionDenied(
            _("This needs the role “%(role)s” in registry %(registry)s.")
            % {"role": at_least.label, "registry": registry.name}
        )


def require_role(user: Person, collection: Collection, at_least: Role) -> None:
    """Raise `PermissionDenied` unless `user` has the role where the collection lives."""
    if collection.registry is not None:
        require_registry_role(user, collection.registry, at_least)
    elif collection.project is not None:
        access.require_role(user, collection.project.team, at_least)


def require_alias_role(user: Person, collection: Collection, alias: str) -> None:
    """A protected alias is moved by admins of the registry alone."""
    protected = collection.registry is not None and alias in collection.registry.protected_aliases
    require_role(user, collection, Role.ADMIN if protected else Role.MEMBER)
