"""The runs of a project."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from runs import places
from runs.models import Project, Run
from runs.places import Tab
from runs.views.lookup import project_of


@places.PROJECT_TABS.add
def tab(request: HttpRequest, project: Project) -> Tab:
    return Tab("runs", _("Runs"), reverse("project", args=[project.team.name, project.name]))


@require_safe
@login_required
def runs(request: HttpRequest, team_name: str, project_name: str) -> HttpResponse:
    project = project_of(request, team_name, project_name)
    rows = Run.objects.filter(project=project, deleted_at__isnull=True).select_related("user")
    return render(request, "runs/table.html", {"project": project, "tab": "runs", "runs": rows[:50]})
