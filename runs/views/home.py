from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db.models import F, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from runs import access
from runs.access import Person
from runs.models import Project, Run

# More of them are on the team's own page.
PROJECTS_SHOWN = 50
TEAMS_IN_MENU = 30
RUNS_SHOWN = 10
RECENT = 2000


def menu(request: HttpRequest) -> dict[str, Any]:
    """For the header of every page: asked only where it is shown."""
    return {"my_teams": lambda: list(access.teams(request.user).order_by("name")[:TEAMS_IN_MENU])}


def _by_use(projects: QuerySet[Project]) -> QuerySet[Project]:
    """The most recently used first, each with the time of its newest run."""
    runs = Run.objects.filter(project=OuterRef("pk"), deleted_at__isnull=True).order_by("-pk")
    newest = Subquery(runs.values("created_at")[:1])
    return (
        projects.select_related("team")
        .annotate(newest=newest)
        .order_by(F("newest").desc(nulls_last=True), "-pk")
    )


def _newest_runs(person: Person) -> list[Run]:
    """Looked for among the last of all, first: databases would sort all that the person sees."""
    visible = access.runs(person).select_related("project__team").order_by("-pk")
    last = Run.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    found = list(visible.filter(pk__gt=last - RECENT)[:RUNS_SHOWN])
    return found if len(found) == RUNS_SHOWN else list(visible[:RUNS_SHOWN])


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """The person's projects and newest runs, or the snippet that makes the first."""
    return render(
        request,
        "runs/home.html",
        {
            "runs": _newest_runs(request.user),
            "projects": _by_use(access.projects(request.user))[:PROJECTS_SHOWN],
            "teams": access.teams(request.user).order_by("name"),
            "base_url": settings.TRIPLINE_BASE_URL,
        },
    )


@require_safe
@login_required
def team(request: HttpRequest, team_name: str) -> HttpResponse:
    """A team's projects, and what upper layers keep for the team."""
    found = get_object_or_404(access.teams(request.user), name=team_name)
    projects = _by_use(Project.objects.filter(team=found))
    return render(
        request,
        "runs/team.html",
        {"team": found, "projects": projects, "base_url": settings.TRIPLINE_BASE_URL},
    )
