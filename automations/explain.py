"""Why did it (not) fire? The first stop in the chain, by the same pure evaluators, from the chunks.

The chain: mode, scope, what was recorded (fired, failed, limited), then what the rule says of the changes
themselves: the metric's name, filters, the window, the condition with the closest approach.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from automations import approach
from automations.approach import Course
from automations.events.artifacts import PatternEventType
from automations.events.base import EVENTS, EventType, spelled_out
from automations.events.metric_nonfinite import RunMetricNonfinite
from automations.events.metrics import MetricEventType
from automations.events.runs import RunEventType
from automations.models import (
    Attempt,
    Automation,
    DeliveryState,
    Event,
    Execution,
    ExecutionState,
    Mode,
)
from automations.outbox import run_scopes
from automations.verdicts import Reason
from registry.models import ArtifactVersion, Membership
from runs.models import Run

# Names that did not match, the latest.
NAMES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Answer:
    """`fired`, and the reason of the first stop, or of the firing; with what the condition compared, where
    that is what was not met."""

    fired: bool
    reason: Reason
    execution: Execution | None = None
    course: Course | None = None

    def as_json(self, event_type: EventType[Any]) -> dict[str, Any]:
        return {
            "fired": self.fired,
            "code": self.reason.code,
            "text": self.sentence(event_type),
            "execution": self.execution.pk if self.execution else None,
            "state": self.execution.state if self.execution else None,
            **self.reason.data,
        }

    def sentence(self, event_type: EventType[Any]) -> str:
        """In the active language."""
        return _sentence(self.reason, event_type)


def _stop(code: str, **data: Any) -> Answer:
    return Answer(False, Reason(code, data))


def why_run(automation: Automation, run: Run) -> Answer:
    """Whether, and why or why not, the automation fired for a run."""
    event_type = EVENTS[automation.event_type]
    if not isinstance(event_type, RunEventType):
        return _stop("other_kind", event=str(event_type.label))
    return (
        _fired(automation, Q(run=run))
        or _mode(automation)
        or _scope(automation, run_scopes(run.project))
        or _held_back(_recorded(automation, Q(run=run)), automation.period)
        or _by_changes(automation, event_type, run)
    )


def why_version(automation: Automation, version: ArtifactVersion) -> Answer:
    """Whether, and why or why not, the automation fired for a version."""
    event_type = EVENTS[automation.event_type]
    if not isinstance(event_type, PatternEventType) or not event_type.of_version:
        return _stop("other_kind", event=str(event_type.label))
    return (
        _fired(automation, Q(version=version))
        or _mode(automation)
        or _scope(automation, _version_scopes(version))
        or _held_back(_recorded(automation, Q(version=version)), automation.period)
        or _by_events(automation, event_type, version)
    )


def _mode(automation: Automation) -> Answer | None:
    if automation.mode == Mode.DISABLED:
        return _stop("disabled")
    return None


def _scope(automation: Automation, scopes: list[str]) -> Answer | None:
    if automation.scope_key in scopes:
        return None
    return _stop("other_scope", scope=f"{automation.get_scope_type_display()} {automation.scope}")


def _version_scopes(version: ArtifactVersion) -> list[str]:
    """Every scope that a collection which holds the version, or made it, belongs to."""
    scopes: dict[str, None] = {}
    held = Membership.objects.filter(version=version).select_related(
        "collection__project__team", "collection__registry"
    )
    for collection in [version.home, *(membership.collection for membership in held)]:
        scopes[f"collection:{collection.pk}"] = None
        if collection.registry:
            scopes[f"registry:{collection.registry_id}"] = None
            scopes[f"organization:{collection.registry.organization_id}"] = None
        if collection.project:
            scopes.update(dict.fromkeys(run_scopes(collection.project)))
    return list(scopes)


def _recorded(automation: Automation, subject: Q) -> QuerySet[Execution]:
    """What the history says since the rule is what it is, newest first."""
    rows = Execution.objects.filter(subject, automation=automation, is_test=False)
    return rows.filter(created_at__gte=automation.armed_at).order_by("-pk")


def _fired(automation: Automation, subject: Q) -> Answer | None:
    """It fired, and perhaps its delivery failed."""
    execution = _recorded(automation, subject).exclude(state=ExecutionState.SKIPPED).first()
    if execution is None:
        return None
    if execution.state == ExecutionState.FAILED:
        attempts = Attempt.objects.filter(delivery__execution=execution, delivery__state=DeliveryState.FAILED)
        attempt = attempts.order_by("-pk").first()
        problem = (attempt.error or f"HTTP {attempt.status_code}") if attempt else ""
        return Answer(False, Reason("delivery_failed", {"problem": problem}), execution)
    reason = execution.explanation
    return Answer(True, Reason(reason["code"], reason["data"]), execution)


def _held_back(rows: QuerySet[Execution], period: int | None) -> Answer | None:
    """It matched, but the limit or a mute held it back."""
    skipped = rows.filter(state=ExecutionState.SKIPPED).first()
    if skipped is None:
        return None
    code, data = skipped.explanation["code"], skipped.explanation["data"]
    if period is not None and "fired_at" in data:
        until = datetime.fromisoformat(data["fired_at"]) + timedelta(seconds=period)
        data = {**data, "until": until.isoformat(timespec="seconds")}
    return Answer(False, Reason(code, data), skipped)


def _by_events(automation: Automation, event_type: PatternEventType, version: ArtifactVersion) -> Answer:
    rows = Event.objects.filter(version=version, type=event_type.key).order_by("pk")
    seen = [row for row in rows if automation.scope_key in row.data["scopes"]]
    if not seen:
        return _stop("never_happened", event=str(event_type.label))
    answer = _last_reason(automation, event_type, [(row, row.received_at) for row in seen])
    if answer.reason.code != "differs":
        return answer
    since = [row.data for row in seen if row.received_at >= automation.armed_at]
    names = dict.fromkeys(name for facts in since for name in event_type.names(facts))
    return _none_matched(str(automation.config[event_type.field]), list(names))


def _none_matched(pattern: str, names: list[str]) -> Answer:
    """With the name that is most like the letters of the pattern, if any is."""
    letters = re.sub(r"\\.|[^-\w]", "", pattern).casefold()
    folded = {name.casefold(): name for name in names}
    nearest = [folded[name] for name in difflib.get_close_matches(letters, folded, n=1, cutoff=0.5)]
    shown = ", ".join(f"“{name}”" for name in names[-NAMES_SHOWN:])
    return _stop("differs", names=shown, pattern=pattern, nearest=nearest)


def _by_changes(automation: Automation, event_type: RunEventType[Any], run: Run) -> Answer:
    if isinstance(event_type, MetricEventType | RunMetricNonfinite):
        found = approach.why_not(automation, event_type, run)
        answer = Answer(False, found.reason, course=found.course)
    else:
        changes = [(change, change.received_at) for change in run.status_changes.order_by("seq")]
        answer = _last_reason(automation, event_type, changes)
    if answer.reason.code == "matches_now" and run.lane.cursor == run.lane.head:
        # Nobody is waited for. The limit's row is from before the rule was edited and counts on.
        rows = Execution.objects.filter(automation=automation, run=run).order_by("-pk")
        return _held_back(rows, automation.period) or answer
    return answer


def _last_reason(
    automation: Automation, event_type: EventType[Any], changes: list[tuple[Any, datetime]]
) -> Answer:
    """What the rule said of the changes since it was armed; of several noes, the last."""
    answer = Answer(False, approach.not_since_armed(automation))
    for change, received_at in changes:
        if received_at < automation.armed_at:
            continue
        facts = event_type.gather(change, automation.config)
        verdict = event_type.decide(automation.config, facts)
        if verdict.hits:
            reason = event_type.describe(automation.config, facts, verdict.hits[0])
            return _stop("matches_now", why=event_type.explain(reason.as_json()))
        answer = Answer(False, verdict.reason or Reason("condition_not_met"))
    return answer


# --- Words ----------------------------------------------------------------------------------------


def _sentence(reason: Reason, event_type: EventType[Any]) -> str:
    sentence = _sentences().get(reason.code)
    if reason.code == "limited" and "until" in reason.data:
        sentence = _("matched %(count)s times, and fires once per run in %(period)s: not before %(until)s")
    if reason.code == "never_logged" and not reason.data["nearest"]:
        sentence = _("the run never logged “%(metric)s”, nor anything like it")
    if reason.code == "differs" and reason.data.get("nearest"):
        sentence = _("%(names)s does not match %(pattern)s; the closest is %(nearest)s")
    if sentence is None:
        return event_type.explain(reason.as_json())
    return sentence % {name: _shown(name, value) for name, value in reason.data.items()}


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return ", ".join(f"“{item}”" for item in value)
    return spelled_out(name, value)


def _sentences() -> Mapping[str, str]:
    return {
        "disabled": _("the automation is disabled"),
        "other_scope": _("it watches %(scope)s, and this is not in it"),
        "other_kind": _("it watches another kind of thing: %(event)s"),
        "delivery_failed": _("it fired, but the delivery failed: %(problem)s"),
        "never_happened": _("it never happened here: %(event)s"),
        "not_since_armed": _("nothing happened since the rule was armed at %(armed_at)s"),
        "nothing_logged": _("the run never logged anything"),
        "never_logged": _("the run never logged “%(metric)s”; it did log %(nearest)s"),
        "only_other_source": _(
            "the run logged “%(metric)s” as %(logged)s metric only; the rule watches %(wanted)s metrics"
        ),
        "never_nonfinite": _(
            "no value was NaN or infinite %(hold)s times in a row after the first %(warmup)s values"
        ),
        "matches_now": _("it matches (%(why)s) and waits for its worker"),
        "not_evaluated": _("no value could be evaluated %(hold)s times in a row"),
        "closest": _(
            "the condition %(condition)s was never met: the closest was %(value)s at step %(step)s; it would "
            "fire with %(would_fire)s"
        ),
        "closest_only": _(
            "the condition %(condition)s was never met: the closest was %(value)s at step %(step)s"
        ),
    }
