"""Several runs beside each other."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from runs.views.lookup import project_of


@require_safe
@login_required
def compare(request: HttpRequest, team_name: str, project_name: str) -> HttpResponse:
    project = project_of(request, team_name, project_name)
    return render(request, "runs/compare.html", {"project": project, "tab": "runs"})
