"""The sweep rings for whatever a lost message left behind, and looks for runs that fell silent."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Exists, F, OuterRef

from automations import claims, doorbell, outlets
from automations.models import Delivery, DeliveryState, Event, Integration
from automations.services import backtests
from runs import clock
from runs.models import Lane
from runs.services.runs import crash_silent_runs

# At most so many of a kind per sweep: the next one comes soon.
BATCH = 1000
# How long until the sweep rings again for a row that it rang for.
RING_AGAIN = timedelta(seconds=30)


def sweep() -> None:
    now = clock.now()
    _ring_for_lanes(now)
    _ring_for_events(now)
    _ring_for_deliveries(now)
    backtests.sweep(now)
    crash_silent_runs()


def _ring_for_deliveries(now: datetime) -> None:
    """One look for each integration, however many messages wait for it."""
    mine = Delivery.objects.filter(integration=OuterRef("pk"))
    enabled = Integration.objects.filter(disabled_at=None)
    waiting = enabled.filter(Exists(mine.filter(state=DeliveryState.PENDING, next_at__lte=now)))
    for integration_id in waiting.order_by("pk").values_list("pk", flat=True):
        doorbell.ring_drain(integration_id)
    if claims.due(now).filter(integration=None).exists():
        doorbell.ring_drain(None)
    held = enabled.filter(Exists(mine.filter(state=DeliveryState.HELD)))
    for integration_id in list(held.values_list("pk", flat=True)):
        outlets.release(integration_id)


def _ring_for_lanes(now: datetime) -> None:
    waiting = Lane.objects.filter(cursor__lt=F("head"), ring_at__lte=now).order_by("ring_at")
    runs = list(waiting.values_list("pk", flat=True)[:BATCH])
    Lane.objects.filter(pk__in=runs).update(ring_at=now + RING_AGAIN)
    for run_id in runs:
        doorbell.ring_lane(run_id)


def _ring_for_events(now: datetime) -> None:
    waiting = Event.objects.filter(decided_at=None, ring_at__lte=now).order_by("ring_at")
    events = list(waiting.values_list("pk", flat=True)[:BATCH])
    Event.objects.filter(pk__in=events).update(ring_at=now + RING_AGAIN)
    for event_id in events:
        doorbell.ring_event(event_id)
