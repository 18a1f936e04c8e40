"""One run."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from runs.views.lookup import run_of


@require_safe
@login_required
def page(request: HttpRequest, team_name: str, project_name: str, run_id: str) -> HttpResponse:
    run = run_of(request, team_name, project_name, run_id)
    return render(request, "runs/run.html", {"run": run, "project": run.project, "tab": "runs"})
