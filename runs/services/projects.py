from __future__ import annotations

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from runs import access
from runs.errors import Conflict
from runs.models import Project, Role, Team, User
from runs.services.saving import save_named


def create_project(team: Team, name: str, *, description: str = "") -> Project:
    return save_named(Project(team=team, name=name, description=description))


def project_by_path(path: str, user: User) -> Project:
    """The project `"team/name"`, made when it is missing and `user` may make it.

    A path without a team means `user`'s only team. Raises `ValidationError` when there is no such team
    for this person (whether or not it exists for others), `PermissionDenied` when the role is too low.
    """
    team_name, _slash, name = path.rpartition("/")
    teams = access.teams(user)
    mine = list(teams.filter(name=team_name) if team_name else teams[:2])
    if len(mine) != 1:
        raise ValidationError({"project": _no_such_team(team_name)}, code="does_not_exist")
    project = Project.objects.filter(team=mine[0], name=name).first()
    if project is not None:
        return project
    access.require_role(user, mine[0], Role.MEMBER)
    try:
        return create_project(mine[0], name)
    except Conflict:  # somebody made it between the two statements
        return Project.objects.get(team=mine[0], name=name)
    except ValidationError as error:
        raise ValidationError({"project": error.messages}) from error


def _no_such_team(name: str) -> str:
    if name:
        return _("There is no team “%(name)s” for you. A project is written team/name.") % {"name": name}
    return _("Write the project as team/name.")
