"""Why did it (not) fire? The first stop in the chain, by the same pure evaluators, from the chunks.

The chain: mode, scope, what was recorded (fired, failed, limited), filters, the metric's name, its window,
its condition with the closest approach.
"""

from __future__ import annotations

import difflib
import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils.translation import gettext as _

from automations.batches import BatchView
from automations.events.base import EVENTS, EventType
from automations.events.metrics import SYSTEM_PREFIX, MetricEventType, MetricFacts, metric_name
from automations.events.runs import RunEventType
from automations.models import Attempt, Automation, Event, Execution, ExecutionState, Mode
from automations.outbox import run_scopes
from automations.verdicts import Reason, Verdict
from automations.windows import Track
from registry.models import ArtifactVersion, Membership
from runs import metrics
from runs.models import MetricBatch, MetricSummary, Run, RunStatus, Source

# Batches looked at one by one where each has its own baseline (z-score against other runs).
MAX_BATCHES = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """`fired`, and the reason of the first stop, or of the firing."""

    fired: bool
    reason: Reason
    execution: Execution | None = None

    def as_json(self, event_type: EventType[Any]) -> dict[str, Any]:
        return {
            "fired": self.fired,
            "code": self.reason.code,
            "text": _sentence(self.reason, event_type),
            "execution": self.execution.pk if self.execution else None,
            **self.reason.data,
        }


def _stop(code: str, **data: Any) -> Answer:
    return Answer(False, Reason(code, data))


def why_run(automation: Automation, run: Run) -> Answer:
    """Whether, and why or why not, the automation fired for a run."""
    event_type = EVENTS[automation.event_type]
    scopes = run_scopes(run.project)
    if not isinstance(event_type, RunEventType):
        return _stop("other_kind", event=str(event_type.label))
    return (
        _mode(automation)
        or _scope(automation, scopes)
        or _recorded(automation, Q(run=run))
        or _by_changes(automation, event_type, run)
    )


def why_version(automation: Automation, version: ArtifactVersion) -> Answer:
    """Whether, and why or why not, the automation fired for a version."""
    event_type = EVENTS[automation.event_type]
    if isinstance(event_type, RunEventType):
        return _stop("other_kind", event=str(event_type.label))
    return (
        _mode(automation)
        or _scope(automation, _version_scopes(version))
        or _recorded(automation, Q(version=version))
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


def _recorded(automation: Automation, subject: Q) -> Answer | None:
    """What the history says: it fired, its delivery failed, or only the limit held it back."""
    rows = Execution.objects.filter(
        subject, automation=automation, created_at__gte=automation.armed_at, is_test=False
    )
    fired = rows.exclude(state=ExecutionState.SKIPPED).order_by("-pk").first()
    if fired is not None and fired.state == ExecutionState.FAILED:
        attempt = Attempt.objects.filter(delivery__execution=fired).order_by("-pk").first()
        problem = (attempt.error or f"HTTP {attempt.status_code}") if attempt else ""
        return Answer(False, Reason("delivery_failed", {"problem": problem}), fired)
    if fired is not None:
        reason = fired.explanation
        return Answer(True, Reason(reason["code"], reason["data"]), fired)
    skipped = rows.filter(state=ExecutionState.SKIPPED).order_by("-pk").first()
    if skipped is None:
        return None
    reason = skipped.explanation
    return Answer(False, Reason(reason["code"], _with_end(automation, reason["data"])), skipped)


def _with_end(automation: Automation, data: dict[str, Any]) -> dict[str, Any]:
    """Until when the limit holds."""
    if automation.period is None or "fired_at" not in data:
        return data
    until = datetime.fromisoformat(data["fired_at"]) + timedelta(seconds=automation.period)
    return {**data, "until": until.isoformat(timespec="seconds")}


def _by_events(automation: Automation, event_type: EventType[Any], version: ArtifactVersion) -> Answer:
    rows = Event.objects.filter(version=version, type=event_type.key).order_by("pk")
    seen = [row for row in rows if automation.scope_key in row.data["scopes"]]
    if not seen:
        return _stop("never_happened", event=str(event_type.label))
    return _last_reason(automation, event_type, [(row, row.received_at) for row in seen])


def _by_changes(automation: Automation, event_type: RunEventType[Any], run: Run) -> Answer:
    if isinstance(event_type, MetricEventType):
        return _by_values(automation, event_type, run)
    if event_type.source is MetricBatch:
        name = event_type.routing_key(automation.config)
        views = [
            (BatchView(batch, [name] if name else [""]), batch.received_at)
            for batch in run.batches.order_by("seq").iterator(chunk_size=100)
            if not name or name in batch.names
        ]
        if not views:
            return _never_logged(run, name)
        return _last_reason(automation, event_type, views)
    changes = [(change, change.received_at) for change in run.status_changes.order_by("seq")]
    return _last_reason(automation, event_type, changes)


def _last_reason(
    automation: Automation, event_type: EventType[Any], changes: list[tuple[Any, Any]]
) -> Answer:
    """What the rule said of the changes since it was armed; of several noes, the last."""
    answer = _stop("not_since_armed", armed_at=automation.armed_at.isoformat(timespec="seconds"))
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


# --- Rules over windows ---------------------------------------------------------------------------


def _by_values(automation: Automation, event_type: MetricEventType, run: Run) -> Answer:
    config = automation.config
    name = metric_name(config)
    source = _source(config, run, name)
    if source is None:
        return _never_logged(run, name)
    batches = [
        batch
        for batch in MetricBatch.objects.filter(run=run, source=source).order_by("seq")
        if name in batch.names
    ]
    since = [batch for batch in batches if batch.received_at >= automation.armed_at]
    if not since:
        return _stop("not_since_armed", armed_at=automation.armed_at.isoformat(timespec="seconds"))
    passing = [batch for batch in since if _filters(event_type, config, batch) is None]
    if not passing:
        last = _filters(event_type, config, since[-1])
        return Answer(False, (last or Verdict()).reason or Reason("condition_not_met"))
    if config.get("baseline") == "runs":
        return _against_runs(event_type, config, run, passing[-MAX_BATCHES:])
    facts = _whole_series(run, source, name, first_seq=since[0].seq, batch=passing[-1])
    return _closest(event_type, config, facts)


def _source(config: Mapping[str, Any], run: Run, name: str) -> str | None:
    """The source whose series of this name the rule watches, or None when there is none (R21)."""
    known = set(MetricSummary.objects.filter(run=run, name=name).values_list("source", flat=True))
    wanted = Source.SYSTEM if config["metric"].startswith(SYSTEM_PREFIX) else config["source"]
    if wanted == "auto":
        return next((source for source in (Source.HISTORY, Source.SYSTEM) if source in known), None)
    return wanted if wanted in known else None


def _never_logged(run: Run, name: str) -> Answer:
    known = sorted(set(MetricSummary.objects.filter(run=run).values_list("name", flat=True)))
    return _stop("never_logged", metric=name, nearest=difflib.get_close_matches(name, known, n=3, cutoff=0.4))


def _filters(event_type: MetricEventType, config: dict[str, Any], batch: MetricBatch) -> Verdict | None:
    """The verdict of the filters alone: None where they let the batch through."""
    facts = MetricFacts(
        run_name=batch.run_name,
        run_user=batch.run_user,
        run_status=batch.run_status,
        steps=(),
        timestamps=(),
        values=(),
        positions=(),
        track=Track(()),
        resolved=True,
    )
    verdict = event_type.decide(config, facts)
    # Past the filters and the killed run an empty batch stops at having no finite value.
    return None if verdict.reason and verdict.reason.code == "no_finite_value" else verdict


def _whole_series(run: Run, source: str, name: str, *, first_seq: int, batch: MetricBatch) -> MetricFacts:
    """The run's series as one batch that begins at batch `first_seq`: the same windows, one evaluation."""
    whole = metrics.series(run, source, name)
    before = metrics.in_batch(run.pk, source, [name], seq=first_seq)[name]
    if whole is None:
        whole = metrics.Series(array("q"), array("d"), array("d"))
    start = before.first_index
    values = whole.values[start:]
    finite = [value for value in whole.values if math.isfinite(value)]
    return MetricFacts(
        run_name=batch.run_name,
        run_user=batch.run_user,
        run_status=RunStatus.RUNNING,
        steps=whole.steps[start:],
        timestamps=whole.timestamps[start:],
        values=values,
        positions=[i for i, value in enumerate(values) if math.isfinite(value)],
        track=Track(finite, new=before.finite_before),
        resolved=True,
    )


def _closest(event_type: MetricEventType, config: dict[str, Any], facts: MetricFacts) -> Answer:
    """Why no value of the series met the condition: window, or the closest approach."""
    verdict = event_type.decide(config, facts)
    if verdict.hits:
        reason = event_type.describe(config, facts, verdict.hits[0])
        return _stop("matches_now", why=event_type.explain(reason.as_json()))
    if verdict.reason and verdict.reason.code != "condition_not_met":
        return Answer(False, verdict.reason)
    best = _best(event_type, config, facts)
    if best is None:
        return _stop("not_evaluated")
    strength, end = best
    step = facts.steps[facts.positions[end - facts.track.new]]
    account = event_type.account(config, facts, end).data
    counterfactual = event_type.would_fire(config, strength)
    return _stop(
        "closest" if counterfactual else "closest_only",
        condition=event_type.filter_text(config),
        value=account["value"],
        window=account["window"],
        step=step,
        would_fire=counterfactual,
    )


def _best(
    event_type: MetricEventType, config: dict[str, Any], facts: MetricFacts
) -> tuple[float, int] | None:
    """The greatest strength that was held as often as asked in a row, and the end where."""
    track, hold = facts.track, config["hold"]
    first = track.first_end(reach=event_type.reach(config), warmup=config["warmup"], hold=hold)
    best: tuple[float, int] | None = None
    streak: list[float] = []
    for end in range(first, len(track.values)):
        strength = event_type.strength(config, event_type.exact(config, facts, end))
        streak = [*streak, strength][-hold:]
        # NaN is no strength: a streak that holds one never counts.
        if len(streak) < hold or end < track.new or any(math.isnan(one) for one in streak):
            continue
        weakest = min(streak)
        if best is None or weakest > best[0]:
            best = weakest, end
    return best


def _against_runs(
    event_type: MetricEventType, config: dict[str, Any], run: Run, batches: list[MetricBatch]
) -> Answer:
    """Each batch against its own baseline; the closest approach of all."""
    answers: list[tuple[float, Answer]] = []
    for batch in batches:
        batch.run = run
        name = metric_name(config)
        facts = event_type.gather(BatchView(batch, [name]), config)
        answer = _closest(event_type, config, replace(facts, resolved=True))
        if answer.reason.code not in {"closest", "closest_only"}:
            answers.append((math.inf if answer.reason.code == "matches_now" else -math.inf, answer))
        elif (best := _best(event_type, config, facts)) is not None:
            answers.append((best[0], answer))
    return max(answers, key=lambda pair: pair[0])[1]


def _sentence(reason: Reason, event_type: EventType[Any]) -> str:
    sentence = _sentences().get(reason.code)
    if sentence is None:
        return event_type.explain(reason.as_json())
    data = {
        name: ", ".join(f"“{item}”" for item in value) if isinstance(value, list) else value
        for name, value in reason.data.items()
    }
    if reason.code == "never_logged" and not reason.data["nearest"]:
        return _("the run never logged “%(metric)s”, nor anything like it") % data
    return sentence % data


def _sentences() -> dict[str, str]:
    return {
        "disabled": _("the automation is disabled"),
        "other_scope": _("it watches %(scope)s, and this is not in it"),
        "other_kind": _("it watches another kind of thing: %(event)s"),
        "delivery_failed": _("it fired, but the delivery failed: %(problem)s"),
        "never_happened": _("it never happened here: %(event)s"),
        "not_since_armed": _("nothing happened since the rule was armed at %(armed_at)s"),
        "never_logged": _("the run never logged “%(metric)s”; it did log %(nearest)s"),
        "matches_now": _("it matches (%(why)s) and waits for its worker"),
        "not_evaluated": _("no window could be evaluated"),
        "closest": _(
            "the condition %(condition)s was never met: the closest was %(value)s at step %(step)s; it would "
            "fire with %(would_fire)s"
        ),
        "closest_only": _(
            "the condition %(condition)s was never met: the closest was %(value)s at step %(step)s"
        ),
    }
