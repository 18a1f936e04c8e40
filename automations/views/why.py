"""Why an automation fired, or did not, for one run or version: the answer of `explain`, to be read."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from automations import drawings, explain, overview, subjects
from automations.drawings import Drawing
from automations.events.base import EVENTS
from automations.events.metrics import MetricEventType
from automations.explain import Answer
from automations.models import Automation, Execution
from automations.subjects import Subject
from automations.views.layout import layout_of
from automations.views.rules import automation_or_404
from runs.models import Run
from runs.names import NAME_LENGTH, normalized


@dataclass(frozen=True, slots=True)
class Why:
    """The answer for a reader; with a picture of the closest approach, where there was one."""

    subject: Subject
    fired: bool
    text: str
    execution: Execution | None
    drawing: Drawing | None


@require_safe
@login_required
def why(request: HttpRequest, pk: int) -> HttpResponse:
    """`?run=` or `?version=` for the answer, `?q=` to find one by its name."""
    found = automation_or_404(request, pk)
    text = normalized(request.GET.get("q", "").strip()[:NAME_LENGTH])
    subject = subjects.asked(request.user, request.GET)
    context = {
        **layout_of(found.scope, request.user),
        "row": overview.row(found, request.user),
        "why": _answered(found, subject) if subject and found.event_type in EVENTS else None,
        "kind": subjects.kind(found),
        "offered": subjects.offered(found, request.user, text),
        "q": text,
    }
    return render(request, "automations/why.html", context)


def _answered(automation: Automation, subject: Subject) -> Why:
    event_type, item = EVENTS[automation.event_type], subject.item
    if isinstance(item, Run):
        answer = explain.why_run(automation, item)
    else:
        answer = explain.why_version(automation, item)
    text = answer.sentence(event_type)
    return Why(subject, answer.fired, text, answer.execution, _drawing(automation, answer))


def _drawing(automation: Automation, answer: Answer) -> Drawing | None:
    event_type = EVENTS[automation.event_type]
    if answer.course is None or not isinstance(event_type, MetricEventType):
        return None
    return drawings.of_course(automation, event_type, answer.course)
