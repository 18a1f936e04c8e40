"""The example's card on the home page."""

from __future__ import annotations

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from automations import access as automations_access
from automations.models import Execution, ExecutionState
from config.demo import making
from runs import access, places
from runs.models import Run, RunStatus
from runs.places import Panel


@places.WELCOME.add
def card(request: HttpRequest, _nothing: None) -> Panel:
    """Where to look first, for whom the example is visible."""
    example = making.found()
    if example is None:
        return SafeString()
    project = access.projects(request.user).select_related("team").filter(pk=example.project).first()
    if project is None:
        return SafeString()
    runs = Run.objects.filter(project=project, deleted_at__isnull=True).select_related("project__team")
    fired = Execution.objects.filter(run__project=project).exclude(state=ExecutionState.SKIPPED)
    context = {
        "live": runs.filter(status=RunStatus.RUNNING).order_by("-pk").first(),
        "fired": fired.order_by("-pk").first(),
        "project": project,
        "inbox": automations_access.inboxes(request.user).filter(team=project.team, name="inbox").first(),
    }
    return render_to_string("demo.html", context, request=request)
