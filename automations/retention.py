"""How long history is kept: events 30 days, attempts 90, executions 365, idempotency keys 8, backtests 1.

Metrics and artifacts are kept for ever. Rows go in bounded portions, so that nobody waits for a lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Model, Q, QuerySet

from automations.models import Attempt, Backtest, Event, Execution, ExecutionState
from runs import clock
from runs.models import MetricBatch, Organization

EVENTS = timedelta(days=30)
ATTEMPTS = timedelta(days=90)
EXECUTIONS = timedelta(days=365)
KEYS = timedelta(days=8)
BACKTESTS = timedelta(days=1)

PORTION = 1000


def prune() -> dict[str, int]:
    """Delete what is older than its retention; what still waits is kept. Returns counts by noun."""
    now = clock.now()
    # An execution that waits is not history yet, nor is anything of it.
    waiting = Q(state=ExecutionState.PENDING)
    return {
        "executions": _delete(Execution.objects.filter(created_at__lt=now - EXECUTIONS).exclude(waiting)),
        "attempts": _delete(
            Attempt.objects.filter(started_at__lt=now - ATTEMPTS).exclude(
                delivery__execution__state=ExecutionState.PENDING
            )
        ),
        "events": _delete_events(before=now - EVENTS),
        "idempotency keys": _forget_keys(now),
        "backtests": _delete(Backtest.objects.filter(created_at__lt=now - BACKTESTS)),
    }


def _delete_events(before: datetime) -> int:
    """Each feed loses its beginning and nothing else: what is left of it has no hole (`automations.feed`)."""
    old = Q(received_at__lt=before, decided_at__isnull=False)
    count = 0
    for organization in Organization.objects.all():
        events = Event.objects.filter(organization=organization)
        kept = events.filter(~old).order_by("sequence").values_list("sequence", flat=True).first()
        # In the order of their numbers, which is that of their keys.
        count += _delete(events.filter(old) if kept is None else events.filter(old, sequence__lt=kept))
    return count


def _portions(rows: QuerySet[Model]) -> Iterator[list[int]]:
    while found := list(rows.order_by("pk").values_list("pk", flat=True)[:PORTION]):
        yield found


def _delete(rows: QuerySet[Model]) -> int:
    count = 0
    for portion in _portions(rows):
        with transaction.atomic():
            # Asked again: somebody may have sent one of them anew meanwhile.
            _all, deleted = rows.filter(pk__in=portion).delete()
        count += deleted.get(rows.model._meta.label, 0)
    return count


def _forget_keys(now: datetime) -> int:
    old = MetricBatch.objects.filter(key__isnull=False, received_at__lt=now - KEYS)
    count = 0
    for portion in _portions(old):
        with transaction.atomic():
            count += old.filter(pk__in=portion).update(key=None)
    return count
