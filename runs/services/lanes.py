"""Taking numbers in a run's lane: commit order is number order, because the lane row is locked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from runs import clock
from runs.models import Lane, Run

# How long a lane may wait before the sweep rings for it: its own doorbell should come sooner.
RING_AFTER = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Place:
    """What was accepted: its number in the run's lane and the moment by the database's clock."""

    lane: Lane
    seq: int
    received_at: datetime


def lock(run: Run) -> Lane:
    """Lock the run's lane until the transaction ends; `lane.run` is the run as it is now."""
    lane = Lane.objects.select_for_update().get(pk=run.pk)
    # A statement of its own: in PostgreSQL one that waits for a lock gives the rows that it joins as they
    # were before the wait.
    lane.run = Run.objects.select_related("user", "project__team__organization").get(pk=run.pk)
    return lane


def take(lane: Lane) -> Place:
    """The next number of a locked lane. Acceptance times never run backwards within a lane."""
    now = clock.now()
    received_at = max(now, lane.received_at or now)
    if lane.cursor == lane.head:
        lane.ring_at = received_at + RING_AFTER
    lane.head += 1
    lane.received_at = received_at
    lane.save(update_fields=["head", "received_at", "ring_at"])
    return Place(lane=lane, seq=lane.head, received_at=received_at)
