"""Recording what was decided: executions, their deliveries, and what the daily limit held back (R52).

Called inside the transaction that settles the change.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from automations import dispatch, outbox
from automations.events.base import EventType
from automations.models import Automation, Event, Execution, ExecutionState, Mode, RunLimit
from automations.verdicts import Reason
from runs import cause, clock, statements
from runs.models import MetricBatch
from runs.statements import Columns

# With period 0 every match fires, but one batch at most so many times; the rest is counted.
MAX_PER_BATCH = 100
# An event to which so many of our own messages led, one after the other, fires nothing more.
MAX_DEPTH = 5
# So many executions are written at once.
_PORTION = 500


@dataclass(frozen=True, slots=True)
class Decision:
    """A rule that fires on a change, at these hits.

    `event` is None for metrics, whose event is made when one fires.
    """

    automation: Automation
    event_type: EventType[Any]
    change: Any
    facts: Any
    hits: Sequence[int]
    event: Event | None = None

    @property
    def config(self) -> dict[str, Any]:
        return dict(self.automation.config)

    def step(self, hit: int) -> int | None:
        steps = getattr(self.facts, "steps", None)
        return None if steps is None else int(steps[hit])


@dataclass(frozen=True, slots=True)
class Firing:
    """One execution to come: a rule fires at this hit."""

    decision: Decision
    hit: int

    @property
    def dedup_key(self) -> str:
        return self.decision.event_type.dedup_key(self.decision.change, self.hit)


def record(decisions: Sequence[Decision]) -> None:
    """Write down what was decided, in its order.

    A number of statements that does not grow with the rules that fire, but for what their limits need.
    """
    there = _existing({decision.automation.pk for decision in decisions}) if decisions else ()
    asked = [decision for decision in decisions if decision.automation.pk in there]
    _fire([Firing(decision, hit) for decision in asked for hit in _let_through(decision)])


def _existing(automation_ids: Collection[int]) -> set[int]:
    """A rule may have been deleted since it was asked.

    If that happens right now, the foreign key fails, nothing of this transaction is written, and the change
    is decided again without the rule.
    """
    places = statements.places(len(automation_ids))
    statement = f"SELECT id FROM automations_automation WHERE id IN ({places})"  # noqa: S608
    return {pk for (pk,) in statements.rows(statement, list(automation_ids))}


def _let_through(decision: Decision) -> Sequence[int]:
    """The hits at which it really fires; what holds back the others is written down."""
    if cause.depth(_cause(decision)) >= MAX_DEPTH:
        _hold_back(decision, decision.hits, key="loop", reason=Reason("loop", {"depth": MAX_DEPTH}))
    elif _is_muted(decision):
        _hold_back(decision, decision.hits, key=f"muted:{_muted_until(decision)}", reason=_muted(decision))
    elif not decision.event_type.limited:
        return decision.hits[:1]
    elif decision.automation.period == 0:
        return _not_too_many(decision)
    else:
        return _once(decision)
    return ()


def _cause(decision: Decision) -> str:
    """What led to the change; a metric batch carries it until its event is made."""
    return decision.event.cause if decision.event else str(decision.change.batch.cause)


def _is_muted(decision: Decision) -> bool:
    until = decision.automation.muted_until
    return decision.automation.mode == Mode.MUTED and (until is None or decision.change.received_at < until)


def _muted_until(decision: Decision) -> str:
    until = decision.automation.muted_until
    return until.isoformat() if until else "–"


def _muted(decision: Decision) -> Reason:
    return Reason("muted", {"until": _muted_until(decision)})


def _not_too_many(decision: Decision) -> Sequence[int]:
    if rest := decision.hits[MAX_PER_BATCH:]:
        key = f"capped:{decision.event_type.dedup_key(decision.change, 0)}"
        _hold_back(decision, rest, key=key, reason=Reason("capped", {"cap": MAX_PER_BATCH}))
    return decision.hits[:MAX_PER_BATCH]


def _once(decision: Decision) -> Sequence[int]:
    """Once per run and period: the first hit fires if the period is over, all others are counted."""
    limit = _limit(decision)
    fires = 1 if _take(limit, decision) else 0
    if rest := decision.hits[fires:]:
        fired_at = decision.change.received_at if fires else limit.fired_at
        period = decision.automation.period
        data = {"fired_at": fired_at.isoformat(timespec="seconds")}
        reason = Reason("limited_once", data)
        if period is not None:
            reason = Reason("limited", {**data, "period": period})
        _hold_back(decision, rest, key=f"limited:{fired_at.isoformat()}", reason=reason)
    return decision.hits[:fires]


def _take(limit: RunLimit, decision: Decision) -> bool:
    """True for exactly one of any number of racing decisions: the database counts the rows changed."""
    now: datetime = decision.change.received_at
    if limit.fired_at == _NEVER:
        condition = {"fired_at": _NEVER}
    elif decision.automation.period is None:
        return False
    else:
        since = _minus(now, decision.automation.period)
        if limit.fired_at > since:
            return False
        condition = {"fired_at__lte": since}
    return RunLimit.objects.filter(pk=limit.pk, **condition).update(fired_at=now) == 1


_NEVER = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _minus(moment: datetime, seconds: int) -> datetime:
    try:
        return moment - timedelta(seconds=seconds)
    except OverflowError:
        return _NEVER


def _limit(decision: Decision) -> RunLimit:
    """The limit's row of this automation and run, locked."""
    status = decision.event_type.limit_bucket(decision.facts) if decision.automation.per_status else ""
    place = [decision.automation.pk, decision.change.run.pk, status]
    while not (found := statements.rows(statements.locking(_READ_LIMIT), place)):
        row = RunLimit(**dict(zip(_LIMITED, place, strict=True)), fired_at=_NEVER)
        RunLimit.objects.bulk_create([row], ignore_conflicts=True)
    return _RUN_LIMIT.read(found[0])


_LIMITED = ("automation_id", "run_id", "status")
_RUN_LIMIT = Columns(RunLimit, "l")
_READ_LIMIT = (
    f"SELECT {_RUN_LIMIT.text} FROM automations_runlimit l"  # noqa: S608 (names of ours)
    " WHERE l.automation_id = %s AND l.run_id = %s AND l.status = %s"
)


def _fire(firings: Sequence[Firing]) -> None:
    """An execution for each, and its deliveries; deciding the same thing again changes nothing."""
    for start in range(0, len(firings), _PORTION):
        new = _not_known(firings[start : start + _PORTION])
        if not new:
            continue
        events = _events(new)
        now = clock.now()
        executions = [_execution_of(firing, each, now) for firing, each in zip(new, events, strict=True)]
        dispatch.send_actions(list(zip(executions, events, strict=True)))


def _not_known(firings: Sequence[Firing]) -> list[Firing]:
    rules = {firing.decision.automation.pk for firing in firings}
    keys = {firing.dedup_key for firing in firings}
    statement = (
        "SELECT automation_id, dedup_key FROM automations_execution"  # noqa: S608
        f" WHERE automation_id IN ({statements.places(len(rules))})"
        f" AND dedup_key IN ({statements.places(len(keys))})"
    )
    known = set(statements.rows(statement, [*rules, *keys]))
    return [each for each in firings if (each.decision.automation.pk, each.dedup_key) not in known]


def _events(firings: Sequence[Firing]) -> list[Event]:
    """The event of each; what waited in the lane as values becomes one for each hit, in their order."""
    made = iter(_metric_events([firing for firing in firings if firing.decision.event is None]))
    return [firing.decision.event or next(made) for firing in firings]


def _metric_events(firings: Sequence[Firing]) -> list[Event]:
    events = []
    for decision, hit in ((firing.decision, firing.hit) for firing in firings):
        batch: MetricBatch = decision.change.batch
        told = outbox.run_data(batch.run, batch)
        data = {**told, **decision.event_type.event_data(decision.config, decision.facts, hit)}
        event = outbox.run_event(batch.run, type=decision.event_type.key, data=data)
        event.cause = batch.cause
        event.received_at = batch.received_at
        event.decided_at = clock.now()
        events.append(event)
    return outbox.publish(events) if events else []


def _execution_of(firing: Firing, event: Event, now: datetime) -> Execution:
    decision = firing.decision
    shadow = decision.automation.mode == Mode.SHADOW
    why = decision.event_type.describe(decision.config, decision.facts, firing.hit)
    return _execution(
        decision,
        dedup_key=firing.dedup_key,
        state=ExecutionState.SHADOW if shadow else ExecutionState.PENDING,
        explanation=why.as_json(),
        event=event,
        now=now,
    )


def _execution(
    decision: Decision,
    *,
    dedup_key: str,
    state: ExecutionState,
    explanation: dict[str, Any],
    event: Event | None,
    now: datetime,
) -> Execution:
    run = getattr(decision.change, "run", None)
    team = event.team if event else run.project.team if run else None
    return Execution(
        automation=decision.automation,
        automation_name=decision.automation.name,
        event_type=decision.event_type.key,
        event=event,
        dedup_key=dedup_key,
        state=state,
        explanation=explanation,
        organization=event.organization if event else team.organization if team else None,
        team=team,
        registry=event.registry if event else None,
        run=run,
        version=event.version if event else None,
        created_at=now,
    )


def _hold_back(decision: Decision, hits: Sequence[int], *, key: str, reason: Reason) -> None:
    """Count matches that did not fire in one skipped execution, with first and last step (R52)."""
    run = getattr(decision.change, "run", None)
    subject = f"run:{run.pk}" if run else f"change:{decision.change.pk}"
    dedup_key = f"skipped:{subject}:{key}"
    held = statements.rows(statements.locking(_HELD_BACK), [decision.automation.pk, dedup_key])
    count = len(hits)
    data = {**reason.data, "count": count, "last_step": decision.step(hits[-1])}
    if not held:
        data["first_step"] = decision.step(hits[0])
        execution = _execution(
            decision,
            dedup_key=dedup_key,
            state=ExecutionState.SKIPPED,
            explanation=Reason(reason.code, data).as_json(),
            event=decision.change if isinstance(decision.change, Event) else None,
            now=clock.now(),
        )
        execution.count = count
        execution.finished_at = execution.created_at
        execution.save(force_insert=True)
        return
    ((pk, before, explanation),) = held
    data = {**json.loads(explanation)["data"], **data, "count": before + count}
    statements.run(_HOLD_BACK, [count, statements.json({"code": reason.code, "data": data}), pk])


_HELD_BACK = (
    'SELECT id, "count", explanation FROM automations_execution WHERE automation_id = %s AND dedup_key = %s'
)
_HOLD_BACK = 'UPDATE automations_execution SET "count" = "count" + %s, explanation = %s WHERE id = %s'
