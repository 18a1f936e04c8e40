"""Who may see and do what with registries, collections and versions."""

from __future__ import annotations

from collections.abc import Iterable

from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from registry.models import Alias, ArtifactVersion, Collection, Membership, Registry, Visibility
from registry.names import LATEST
from runs import access
from runs.access import Person
from runs.models import Role
from runs.names import normalized


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
    if user.is_superuser:
        return Collection.objects.filter(deleted_at__isnull=True)
    return Collection.objects.filter(_is_seen(user))


def _is_seen(user: Person, path: str = "") -> Q:
    """Of a collection, or of what a path leads to one from: that the person sees it."""
    places = {"project__team": access.teams(user), "registry": registries(user)}
    where = [Q(**{f"{path}{place}__in": found.values("pk")}) for place, found in places.items()]
    return Q(**{f"{path}deleted_at__isnull": True}) & (where[0] | where[1])


def versions(user: Person) -> QuerySet[ArtifactVersion]:
    """Versions in a collection that the person sees."""
    if user.is_superuser:
        return ArtifactVersion.objects.all()
    # Asked of each version: to list all that is linked takes longer than a page of versions.
    linked = collections(user).filter(memberships__version=OuterRef("pk"))
    return ArtifactVersion.objects.filter(_is_seen(user, "home__") | Exists(linked))


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
    """A protected alias is moved and removed by admins of the registry alone."""
    registry = collection.registry
    protected = registry is not None and normalized(alias) in registry.protected_aliases
    require_role(user, collection, Role.ADMIN if protected else Role.MEMBER)


def require_link_role(
    user: Person, collection: Collection, version: ArtifactVersion, *, aliases: Iterable[str] = ()
) -> None:
    """To link a version moves these aliases, and `latest` by itself where the version is new (R10).

    It also shows the version to other people: only who may write where it is now may make a link.
    """
    require_role(user, collection, Role.MEMBER)
    teams = access.teams(user, at_least=Role.MEMBER)
    mine = Q(project__team__in=teams.values("pk"))
    mine |= Q(registry__in=registries(user, at_least=Role.MEMBER).values("pk"))
    holding = Q(pk=version.home_id) | Q(memberships__version=version)
    if not collections(user).filter(mine, holding).exists():
        raise PermissionDenied(_("This needs the role “Member” in a collection that holds the version."))
    known = Membership.objects.filter(collection=collection, version=version).exists()
    for alias in aliases if known else (LATEST, *aliases):
        require_alias_role(user, collection, alias)


def require_unlink_role(user: Person, collection: Collection, version: ArtifactVersion) -> None:
    """The version takes its aliases here away with it."""
    _require_alias_roles(user, collection, Alias.objects.filter(collection=collection, version=version))


def require_delete_role(user: Person, collection: Collection) -> None:
    """A collection takes all its aliases away with it."""
    _require_alias_roles(user, collection, Alias.objects.filter(collection=collection))


def _require_alias_roles(user: Person, collection: Collection, aliases: QuerySet[Alias]) -> None:
    require_role(user, collection, Role.MEMBER)
    for name in aliases.values_list("name", flat=True):
        require_alias_role(user, collection, name)
