"""Who may see and do what with registries, collections and versions."""

from __future__ import annotations

from collections.abc import Iterable

from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, Q, QuerySet
from django.db.models.lookups import IsNull
from django.utils.translation import gettext as _

from registry.models import Alias, ArtifactVersion, Collection, Membership, Registry, Visibility
from registry.names import LATEST
from runs import access
from runs.access import Person, there_is
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
    found = Collection.objects.filter(deleted_at__isnull=True)
    if user.is_superuser:
        return found
    teams, registered = access.teams(user).values("pk"), registries(user).values("pk")
    return found.filter(Q(project__team__in=teams) | Q(registry__in=registered))


def versions(user: Person) -> QuerySet[ArtifactVersion]:
    """Versions in a collection that the person sees."""
    if user.is_superuser:
        return ArtifactVersion.objects.all()
    linked = collections(user).filter(memberships__version=OuterRef("pk"))
    return ArtifactVersion.objects.filter(Q(home_is_seen(user)) | there_is(linked))


def home_is_seen(user: Person) -> IsNull:
    """Of a version: that the person sees the collection it was made in, not only one it is linked to."""
    return there_is(collections(user).filter(pk=OuterRef("home")))


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


def require_version_member(user: Person, version: ArtifactVersion) -> None:
    """Tags and words of a version are changed where it was made, not by those who see it by a link."""
    if not collections(user).filter(pk=version.home_id).exists():
        # Without the name of a team that is none of this person's.
        raise PermissionDenied(_("A version is changed by members of the team that made it."))
    require_role(user, version.home, Role.MEMBER)


def require_publishing(user: Person, version: ArtifactVersion) -> None:
    """A link shows a version to other people: only who may write where it is now may make one."""
    teams = access.teams(user, at_least=Role.MEMBER)
    mine = Q(project__team__in=teams.values("pk"))
    mine |= Q(registry__in=registries(user, at_least=Role.MEMBER).values("pk"))
    holding = Q(pk=version.home_id) | Q(memberships__version=version)
    if not collections(user).filter(mine, holding).exists():
        raise PermissionDenied(_("This needs the role “Member” in a collection that holds the version."))


def linkable(user: Person, version: ArtifactVersion) -> QuerySet[Collection]:
    """The registry collections to which `user` may link the version, and that do not hold it yet."""
    mine = registries(user, at_least=Role.MEMBER)
    found = collections(user).filter(registry__in=mine.values("pk"))
    return found.exclude(memberships__version=version)


def require_alias_role(user: Person, collection: Collection, alias: str) -> None:
    """A protected alias is moved and removed by admins of the registry alone."""
    registry = collection.registry
    protected = registry is not None and normalized(alias) in registry.protected_aliases
    require_role(user, collection, Role.ADMIN if protected else Role.MEMBER)


def require_link_role(
    user: Person, collection: Collection, version: ArtifactVersion, *, aliases: Iterable[str] = ()
) -> None:
    """To link a version moves these aliases, and `latest` by itself where the version is new (R10)."""
    require_role(user, collection, Role.MEMBER)
    require_publishing(user, version)
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


def movable(user: Person, collection: Collection, aliases: Iterable[str]) -> list[str]:
    """Those of the aliases that `user` may move or take away."""
    if not access.may(require_role, user, collection, Role.MEMBER):
        return []
    protected = collection.registry.protected_aliases if collection.registry else []
    moves_all = not protected or access.may(require_role, user, collection, Role.ADMIN)
    return [alias for alias in aliases if moves_all or alias not in protected]
