"""What the parts of a path name, for those who may see it; for everybody else it is not found."""

from __future__ import annotations

from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from runs import access
from runs.models import Project, Run
from runs.names import normalized


def project_of(request: HttpRequest, team_name: str, project_name: str) -> Project:
    visible = access.projects(request.user).select_related("team")
    return get_object_or_404(visible, team__name=normalized(team_name), name=normalized(project_name))


def run_of(request: HttpRequest, team_name: str, project_name: str, run_id: str) -> Run:
    visible = access.runs(request.user).select_related("project__team", "user", "lane")
    return get_object_or_404(
        visible,
        project__team__name=normalized(team_name),
        project__name=normalized(project_name),
        run_id=normalized(run_id),
    )
