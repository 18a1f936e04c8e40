"""Who may see and do what. Every list, filter, choice and foreign key goes through here.

Superusers see everything but the installation's own organization; everybody else, staff included, what
their teams hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, cast

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet, Subquery
from django.db.models.lookups import IsNull
from django.utils.translation import gettext as _

from runs import statements
from runs.models import Organization, Project, Role, Run, Team, User

Person: TypeAlias = User | AnonymousUser


def teams(user: Person, *, at_least: Role = Role.VIEWER) -> QuerySet[Team]:
    """The teams in which `user` has at least this role."""
    if user.is_superuser:
        return Team.objects.filter(organization__is_internal=False)
    return Team.objects.filter(members__user=cast(int, user.pk), members__role__in=at_least.and_above)


def organizations(user: Person) -> QuerySet[Organization]:
    if user.is_superuser:
        return Organization.objects.filter(is_internal=False)
    return Organization.objects.filter(pk__in=teams(user).values("organization"))


def projects(user: Person) -> QuerySet[Project]:
    return Project.objects.filter(team__in=teams(user))


def runs(user: Person) -> QuerySet[Run]:
    """Runs that are not deleted."""
    return Run.objects.filter(project__team__in=teams(user), deleted_at__isnull=True)


def there_is(found: QuerySet[Any]) -> IsNull:
    """A condition: that there is one for the row (`OuterRef`), asked of each row that is looked at.

    For what is asked of a page of rows, and is many itself. PostgreSQL may answer an `Exists` from a list of
    them all, because it does not know that a page is soon full.
    """
    return IsNull(Subquery(found.values("pk")[:1]), False)


def has_role(user: Person, team: Team, at_least: Role) -> bool:
    return user.is_superuser or teams(user, at_least=at_least).filter(pk=team.pk).exists()


def may(require: Callable[..., None], *what: Any) -> bool:
    """Whether a check of a role passes."""
    try:
        require(*what)
    except PermissionDenied:
        return False
    return True


def require_role(user: Person, team: Team, at_least: Role) -> None:
    """Raise `PermissionDenied`, saying which role is needed, unless `user` has it in `team`."""
    if not has_role(user, team, at_least):
        raise _lacking(at_least, team.name)


def _lacking(role: Role, team: str) -> PermissionDenied:
    return PermissionDenied(
        _("This needs the role “%(role)s” in team %(team)s.") % {"role": role.label, "team": team}
    )


def run_to_log(user: Person, pk: int) -> Run | None:
    """A run for `user` to log to, or None if there is none that they see: `runs` and `require_role` at once.

    Raises `PermissionDenied` if they may only look. Asked for every call with metrics, and so by one
    statement of our own; of the run no more is read than that it is there.
    """
    found = statements.rows(_RUN_AND_ROLE, [user.pk, pk])
    if not found or not (user.is_superuser or found[0][1]):
        return None
    ((team, role),) = found
    if not user.is_superuser and role not in Role.MEMBER.and_above:
        raise _lacking(Role.MEMBER, team)
    return statements.partly(Run, ("id",), (pk,))


_RUN_AND_ROLE = (
    "SELECT t.name, m.role FROM runs_run r"
    " JOIN runs_project p ON p.id = r.project_id JOIN runs_team t ON t.id = p.team_id"
    " LEFT JOIN runs_member m ON m.team_id = t.id AND m.user_id = %s"
    " WHERE r.id = %s AND r.deleted_at IS NULL"
)


def require_some_team(user: Person, organization: Organization) -> None:
    """Raise `PermissionDenied` unless `user` is at least a member of some team of the organization."""
    if (
        not user.is_superuser
        and not teams(user, at_least=Role.MEMBER).filter(organization=organization).exists()
    ):
        raise PermissionDenied(_("This needs the role “Member” in a team of the organization."))


def require_staff(user: Person) -> None:
    if not user.is_staff:
        raise PermissionDenied(_("Only staff may do this."))
