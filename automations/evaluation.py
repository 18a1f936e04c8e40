"""Deciding: what waits in lanes and events, once each, in order.

Rules are asked outside any transaction. Then one short transaction moves the cursor from where it was
seen; if somebody else moved it, the work is thrown away. So every change is decided exactly once, by
any number of workers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from automations import candidates, firing, outbox
from automations.batches import Ahead, BatchView, StretchView
from automations.events.base import EVENTS
from automations.firing import Decision
from automations.models import Automation, Event
from runs import batches, clock
from runs.models import Lane, MetricBatch, Run, RunStatusChange
from runs.services import lanes

log = logging.getLogger("tripline.evaluation")

# Numbers looked at before the lane's row is read again.
_STRETCH = 200

# Changes this close together say that more will come; how often one waits for it before the cursor moves.
_CLOSE = timedelta(milliseconds=50)
_PAUSES = 10

# Seconds after which a firing is written down though others of the same lane may follow at once.
_SOON = 0.05

LaneChange = RunStatusChange | MetricBatch


def evaluate_lane(run_id: int, *, patience: float = 0.0) -> None:
    """Decide everything that waits in a run's lane, in the order of its numbers.

    With `patience`, a lane that goes on being filled is given so many seconds for more, a few times over:
    to decide many changes together costs little more than one. What fires is recorded at once.
    """
    while lane := lanes.waiting(run_id):
        if not _evaluate_stretch(lane, patience):
            return  # another worker is in this lane


def _evaluate_stretch(lane: Lane, patience: float) -> bool:
    cursor, decided, ahead = lane.cursor, _Decided(), Ahead()
    for changes in _portions(lane, patience):
        ahead.go_on(changes)
        for change in changes:
            decided.add(change, _decide(change, ahead))
            if decided.must_be_told or (decided.is_worth_telling and change is changes[-1]):
                if not _settle(lane.run, cursor, decided=decided):
                    return False
                cursor, decided = decided.upto, _Decided()
    return decided.upto <= cursor or _advance(lane.run, cursor, to=decided.upto)


@dataclass
class _Decided:
    """What was decided since the cursor moved last: written down together, and nothing waits long for it."""

    upto: int = 0
    decisions: list[Decision] = field(default_factory=list)
    status_changes: list[RunStatusChange] = field(default_factory=list)
    # Of the first that must be told (`time.monotonic`).
    since: float = 0.0

    def add(self, change: LaneChange, decisions: Sequence[Decision]) -> None:
        self.upto = change.seq
        self.decisions += decisions
        if isinstance(change, RunStatusChange):
            self.status_changes.append(change)
        self.since = self.since or (time.monotonic() if self.is_worth_telling else 0.0)

    @property
    def is_worth_telling(self) -> bool:
        return bool(self.decisions or self.status_changes)

    @property
    def must_be_told(self) -> bool:
        return self.is_worth_telling and time.monotonic() - self.since > _SOON


def _portions(lane: Lane, patience: float) -> Iterator[list[LaneChange]]:
    """What waits in a lane, and while it is left waiting for the last of it, what came meanwhile.

    A lane that still waits is not rung for, and nothing is written for it.
    """
    changes = _waiting(lane, after=lane.cursor)
    if not changes:  # numbers without a row cannot be; step over them rather than stand still
        log.error("lane of run %s has no change after %s", lane.run_id, lane.cursor)
        _advance(lane.run, lane.cursor, to=lane.head)
    yield changes
    before: list[LaneChange] = (
        [*batches.between(lane.run_id, lane.cursor - 1, lane.cursor)] if patience else []
    )
    for _pause in range(_PAUSES if patience else 0):
        if not _goes_on([*before, *changes]) or lanes.others_wait(lane.run_id):
            return
        time.sleep(patience)
        before = changes
        newer = lanes.waiting(lane.run_id)
        found = _waiting(newer, after=changes[-1].seq) if newer else []
        if not found:
            return
        changes = found
        yield changes


def _goes_on(changes: Sequence[LaneChange]) -> bool:
    """Whether the lane is being filled: its last two changes came close together."""
    return len(changes) > 1 and changes[-1].received_at - changes[-2].received_at < _CLOSE


def _waiting(lane: Lane, *, after: int) -> list[LaneChange]:
    """The next changes of the lane, in order."""
    upto = min(lane.head, after + _STRETCH)
    found: list[LaneChange] = [*batches.between(lane.run_id, after, upto)]
    if len(found) < upto - after:  # every number is one change
        changes = RunStatusChange.objects.filter(run=lane.run_id, seq__gt=after, seq__lte=upto)
        found = sorted([*found, *changes], key=lambda change: change.seq)
    for change in found:
        change.run = lane.run
    return found


def _decide(change: LaneChange, ahead: Ahead) -> list[Decision]:
    """The decisions of all rules that fire on this change."""
    if isinstance(change, RunStatusChange):
        found = _asked(candidates.for_status_change(change), change)
        return [replace(each, event=outbox.event_of(change)) for each in found]
    rules = candidates.for_batch(change)
    watched = frozenset(rule.routing_key for rule in rules)
    asked = [rule for rule in rules if _may_fire(rule, ahead.stretch(change, watched))]
    return _asked(asked, BatchView(change, watched, ahead)) if asked else []


def _may_fire(rule: Automation, stretch: StretchView) -> bool:
    """False where it is certain, by one look at several batches, that the rule fires on none of them."""
    event_type = EVENTS[rule.event_type]
    return not stretch.tells or stretch.once(rule, lambda batches: event_type.may_fire(batches, rule.config))


def _asked(rules: Iterable[Automation], change: Any) -> list[Decision]:
    """What each rule says of a change; those that fire."""
    decisions = []
    for automation in rules:
        event_type = EVENTS[automation.event_type]
        facts = event_type.gather(change, automation.config)
        verdict = event_type.decide(automation.config, facts)
        if verdict.hits:
            decisions.append(Decision(automation, event_type, change, facts, verdict.hits))
    return decisions


@transaction.atomic
def _advance(run: Run, cursor: int, *, to: int) -> bool:
    return lanes.advance(run.pk, cursor, to=to)


def _settle(run: Run, cursor: int, *, decided: _Decided) -> bool:
    """Move the cursor and record what was decided, in one transaction; False if it had moved."""
    with transaction.atomic():
        if not _advance(run, cursor, to=decided.upto):
            return False
        if decided.status_changes:
            outbox.mark_decided(decided.status_changes)
        firing.record(decided.decisions)
    return True


def evaluate_event(event_id: int) -> None:
    """Decide one artifact event and all others of its collection that wait, in their order.

    So messages that wait for each other are made in it, by any number of workers.
    """
    event = _undecided().filter(pk=event_id).first()
    if event is None:
        return  # decided already, or it waits in its run's lane
    if event.collection_id is None:
        _decide_event(event)
        return
    waiting = _undecided().filter(collection=event.collection_id).order_by("sequence")
    while stretch := list(waiting[:_STRETCH]):
        for each in stretch:
            if not _decide_event(each):
                return  # another worker is in this collection, and comes to the rest


def _undecided() -> QuerySet[Event]:
    return Event.objects.select_related("organization").filter(decided_at=None, run=None)


def _decide_event(event: Event) -> bool:
    """False when somebody else has decided it meanwhile."""
    decisions = _asked(candidates.for_event(event), event) if event.type in EVENTS else []
    with transaction.atomic():
        if Event.objects.filter(pk=event.pk, decided_at=None).update(decided_at=clock.now()) != 1:
            return False
        firing.record([replace(each, event=event) for each in decisions])
    return True
