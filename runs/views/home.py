from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Max, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from runs import access
from runs.models import Project

# More of them are on the team's own page.
PROJECTS_SHOWN = 50
TEAMS_IN_MENU = 30


def menu(request: HttpRequest) -> dict[str, Any]:
    """For the header of every page: asked only where it is shown."""
    return {"my_teams": lambda: list(access.teams(request.user).order_by("name")[:TEAMS_IN_MENU])}


def _with_runs(projects: QuerySet[Project]) -> QuerySet[Project]:
    """Each with the number of its runs and the time of the newest; the most recently used first."""
    there = Q(runs__deleted_at__isnull=True)
    counted = projects.select_related("team").annotate(
        run_count=Count("runs", filter=there), newest=Max("runs__created_at", filter=there)
    )
    return counted.order_by("-newest", "-pk")


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """The person's projects and newest runs, or the snippet that makes the first."""
    newest = access.runs(request.user).select_related("project__team", "user").order_by("-pk")[:10]
    return render(
        request,
        "runs/home.html",
        {
            "runs": newest,
            "projects": _with_runs(access.projects(request.user))[:PROJECTS_SHOWN],
            "teams": access.teams(request.user).order_by("name"),
            "base_url": settings.TRIPLINE_BASE_URL,
        },
    )


@require_safe
@login_required
def team(request: HttpRequest, team_name: str) -> HttpResponse:
    """A team's projects, and what upper layers keep for the team."""
    found = get_object_or_404(access.teams(request.user), name=team_name)
    projects = _with_runs(Project.objects.filter(team=found))
    return render(
        request,
        "runs/team.html",
        {"team": found, "projects": projects, "base_url": settings.TRIPLINE_BASE_URL},
    )
