"""A rule that is being written, tried on stored runs before it is saved."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.forms import Field
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from automations import access, drawings, previews, retention
from automations.backtests import cautions, drafts, jobs
from automations.backtests.drafts import Draft
from automations.backtests.engine import Replays, runs_of
from automations.backtests.past import past
from automations.events.base import EVENTS
from automations.events.runs import RunEventType
from automations.models import Automation, Backtest
from automations.ruleforms.rule import RuleForm
from automations.services import backtests
from runs import access as runs_access, clock, keyset
from runs.models import User

# Fields without which there is no rule yet to say anything about.
_CHOSEN = frozenset({"event", "scope"})
# Seconds after which a page without scripts looks again.
_LOOK_AGAIN = 2
# Where scripts run, what needs no run to be seen stands beside the fields already.
_BESIDE = {"said_beside": cautions.OF_THE_RULE}


@require_POST
@login_required
def try_rule(request: HttpRequest) -> HttpResponse:
    """What the posted rule would have done: all of it, or the beginning and the address of the rest."""
    return render(request, "automations/preview_found.html", tried(request) | _BESIDE)


def tried(request: HttpRequest) -> dict[str, Any]:
    """What the panel in a form's page shows of the rule that was posted; `try` may name the run to draw."""
    person, days = cast(User, request.user), _days(request.POST)
    drawn = keyset.number(request.POST.get("try", ""))
    try:
        rule = RuleForm(person, data=request.POST).condition()
        since = clock.now() - timedelta(days=days)
        if not isinstance(EVENTS[rule.event_type], RunEventType):
            return {"past": past(rule, since=since), "days": days, "kept": retention.EVENTS.days}
        job = jobs.try_out(Draft(rule, since, drafts.RUNS), person=person)
    except ValidationError as error:
        backtests.cancel_those_of(person)
        return {"problems": _worth_saying(error)}
    return {"preview": previews.preview(job, drawn=drawn)}


def _days(asked: Mapping[str, str]) -> int:
    days = keyset.number(asked.get("days", ""))
    return days if days in previews.SPANS else previews.DAYS


def _worth_saying(error: ValidationError) -> list[str]:
    """What is wrong; not what is not written yet."""
    required = str(Field.default_error_messages["required"])
    found = [text for name, texts in error.message_dict.items() if name not in _CHOSEN for text in texts]
    return [text for text in dict.fromkeys(found) if text != required]


@require_POST
@login_required
def draw_run(request: HttpRequest) -> HttpResponse:
    """One run under the posted rule: its metric, and where it would have fired."""
    try:
        rule = RuleForm(cast(User, request.user), data=request.POST).condition()
    except ValidationError:
        raise Http404 from None
    return render(request, "automations/preview_chart.html", {"drawing": _drawn(request, rule)})


def _drawn(request: HttpRequest, rule: Automation) -> drawings.Drawing | None:
    if not isinstance(EVENTS[rule.event_type], RunEventType):
        raise Http404
    visible = runs_access.runs(request.user) & runs_of(rule)
    number = keyset.number(request.POST.get("try", "")) or 0
    run = get_object_or_404(visible.select_related("project__team"), pk=number)
    replay = Replays(rule, since=run.created_at, limit=1).of(run)
    return drawings.of_firings(rule, run, [firing.reason.data for firing in replay.firings])


# --- A job ----------------------------------------------------------------------------------------


@require_safe
@never_cache
@login_required
def job(request: HttpRequest, pk: int) -> HttpResponse:
    """How far it is; `drawn` is the run that is in the picture already."""
    return _answer(request, _job_or_404(request, pk))


@require_POST
@login_required
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """End it; what was found so far stays."""
    found = backtests.cancel(_job_or_404(request, pk))
    return _answer(request, found) if _is_part(request) else redirect("automation-preview-job", pk=pk)


def _job_or_404(request: HttpRequest, pk: int) -> Backtest:
    found = get_object_or_404(access.backtests(request.user), pk=pk)
    if not access.sees_what_it_tries(request.user, found):
        raise Http404
    return found


def _answer(request: HttpRequest, found: Backtest) -> HttpResponse:
    drawn = keyset.number(request.GET.get("drawn", ""))
    preview = previews.preview(found, drawn=drawn, draws=drawn is None)
    if _is_part(request):
        return render(
            request, "automations/preview_found.html", {"preview": preview, "is_drawn": drawn} | _BESIDE
        )
    answer = render(request, "automations/preview_page.html", {"preview": preview, "alone": True})
    if preview.is_moving:
        answer["Refresh"] = str(_LOOK_AGAIN)
    return answer


def _is_part(request: HttpRequest) -> bool:
    return "HX-Request" in request.headers
