"""Deciding: what waits in lanes and events, once each, in order.

Rules are asked outside any transaction. Then one short transaction moves the cursor from where it was
seen; if somebody else moved it, the work is thrown away. So every change is decided exactly once, by
any number of workers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from automations import candidates, firing
from automations.batches import Ahead, BatchView
from automations.events.base import EVENTS
from automations.firing import Decision
from automations.models import Automation, Event
from runs import batches, clock
from runs.models import Lane, MetricBatch, Run, RunStatusChange
from runs.services import lanes

log = logging.getLogger("tripline.evaluation")

# Numbers looked at before the lane's row is read again.
_STRETCH = 200

LaneChange = RunStatusChange | MetricBatch


def evaluate_lane(run_id: int) -> None:
    """Decide everything that waits in a run's lane, in the order of its numbers."""
    while lane := lanes.waiting(run_id):
        if not _evaluate_stretch(lane):
            return  # another worker is in this lane


def _evaluate_stretch(lane: Lane) -> bool:
    cursor = lane.cursor
    changes = _waiting(lane)
    if not changes:  # numbers without a row cannot be; step over them rather than stand still
        log.error("lane of run %s has no change after %s", lane.run_id, cursor)
        return _advance(lane.run, cursor, to=lane.head)
    quiet = cursor  # the last change up to which no rule fired
    ahead = Ahead(changes)
    for change in changes:
        decisions = _decide(change, ahead)
        if not decisions and isinstance(change, MetricBatch):
            quiet = change.seq
            continue
        if not _settle(lane.run, cursor, change=change, decisions=decisions):
            return False
        cursor = quiet = change.seq
    return quiet == cursor or _advance(lane.run, cursor, to=quiet)


def _waiting(lane: Lane) -> list[LaneChange]:
    """The next changes of the lane, in order."""
    upto = min(lane.head, lane.cursor + _STRETCH)
    found: list[LaneChange] = [*batches.between(lane.run_id, lane.cursor, upto)]
    if len(found) < upto - lane.cursor:  # every number is one change
        changes = RunStatusChange.objects.filter(run=lane.run_id, seq__gt=lane.cursor, seq__lte=upto)
        found = sorted([*found, *changes], key=lambda change: change.seq)
    for change in found:
        change.run = lane.run
    return found


def _decide(change: LaneChange, ahead: Ahead) -> list[Decision]:
    """The decisions of all rules that fire on this change."""
    if isinstance(change, RunStatusChange):
        return _asked(candidates.for_status_change(change), change)
    rules = candidates.for_batch(change)
    watched = [rule.routing_key for rule in rules]
    return _asked(rules, BatchView(change, watched, ahead)) if rules else []


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


def _settle(run: Run, cursor: int, *, change: LaneChange, decisions: list[Decision]) -> bool:
    """Move the cursor and record what was decided, in one transaction; False if it had moved."""
    with transaction.atomic():
        if not _advance(run, cursor, to=change.seq):
            return False
        event = None
        if isinstance(change, RunStatusChange):
            event = Event.objects.get(origin=f"run_status:{change.pk}")
            Event.objects.filter(pk=event.pk).update(decided_at=clock.now())
        for decision in decisions:
            firing.record(decision, event)
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
        for decision in decisions:
            firing.record(decision, event)
    return True
