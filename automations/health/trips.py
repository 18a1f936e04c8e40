"""How far each canary came, read from its rows: logged, decided, tried, received."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from django.conf import settings

from automations.events.base import EVENTS
from automations.models import Attempt, Delivery, Execution, InboxRequest
from automations.services.canary import EVENT_TYPE
from runs.models import MetricBatch, Run

# So many of the newest are looked at: they reach further back than `patience`.
LOOK_AT = 20


@dataclass(frozen=True, slots=True)
class Trip:
    """One canary; a time is None until it came so far. `answer` is what its last try met with."""

    logged_at: datetime
    decided_at: datetime | None = None
    tried_at: datetime | None = None
    received_at: datetime | None = None
    answer: str = ""
    # Without an answer: why. It may name addresses.
    error: str = ""
    # Somebody waits for the answer: a try is written down when it has ended.
    in_flight: bool = False

    @property
    def seconds(self) -> float | None:
        """From acceptance to receipt."""
        if self.received_at is None:
            return None
        return max(0.0, (self.received_at - self.logged_at).total_seconds())

    @property
    def stopped_at(self) -> str:
        """The stage that has not let it through, "" when all have."""
        if self.received_at:
            return ""
        if self.decided_at is None:
            return "deciding"
        return "receiving" if self.tried_at or self.in_flight else "delivering"


def patience() -> timedelta:
    """A canary that takes longer has stopped where it is; who sends them quickly wants to know quickly."""
    return timedelta(seconds=min(30.0, max(5.0, settings.TRIPLINE_CANARY_EVERY)))


def newest(now: datetime) -> list[Trip]:
    """The newest canaries, newest first."""
    batches = _batches()
    keys = {EVENTS[EVENT_TYPE].dedup_key(batch, 0): batch for batch in batches}
    executions = {
        execution.dedup_key: execution
        for execution in Execution.objects.filter(
            automation__project__team__organization__is_internal=True, dedup_key__in=list(keys)
        ).only("dedup_key", "created_at")
    }
    sent = _deliveries([execution.pk for execution in executions.values()], now)
    receipts = _receipts()
    return [_trip(batch, executions.get(key), sent, receipts) for key, batch in keys.items()]


def decisive(trips: Sequence[Trip], now: datetime) -> Trip | None:
    """The newest that has come through, or that had time enough to.

    When it waits behind one that was tried in vain, that one: its receiver is what holds both up.
    """
    finished = [trip for trip in trips if trip.received_at or now - trip.logged_at > patience()]
    newest = finished[0] if finished else None
    if newest is None or newest.stopped_at != "delivering":
        return newest
    in_vain = takewhile(lambda trip: trip.received_at is None, finished)
    return next((trip for trip in in_vain if trip.stopped_at == "receiving"), newest)


def _batches() -> list[MetricBatch]:
    runs = Run.objects.filter(project__team__organization__is_internal=True).order_by("-pk")[:2]
    rows = MetricBatch.objects.filter(run__in=[run.pk for run in runs]).select_related("run")
    # Not "-run", which is that model's own order, turned round.
    return list(rows.order_by("-run_id", "-seq")[:LOOK_AT])


@dataclass(frozen=True, slots=True)
class _Sent:
    webhook_id: str
    attempts: list[Attempt]
    in_flight: bool


def _deliveries(executions: Sequence[int], now: datetime) -> dict[int, _Sent]:
    """What was sent, by execution."""
    rows = Delivery.objects.filter(execution__in=executions).defer("body")
    attempts: dict[int, list[Attempt]] = {}
    for attempt in (
        Attempt.objects.filter(delivery__execution__in=executions)
        .only("delivery_id", "started_at", "status_code", "error")
        .order_by("number")
    ):
        attempts.setdefault(attempt.delivery_id, []).append(attempt)
    return {
        row.execution_id: _Sent(
            row.webhook_id,
            attempts.get(row.pk, []),
            in_flight=row.lease is not None and row.next_at is not None and row.next_at > now,
        )
        for row in rows
    }


def _receipts() -> dict[str, datetime]:
    """When what arrived in the inbox arrived, by webhook id."""
    rows = InboxRequest.objects.filter(inbox__team__organization__is_internal=True).order_by("received_at")
    return {
        headers.get("Webhook-Id", ""): moment
        for headers, moment in rows.values_list("headers", "received_at")
    }


def _trip(
    batch: MetricBatch,
    execution: Execution | None,
    sent: dict[int, _Sent],
    receipts: dict[str, datetime],
) -> Trip:
    delivery = sent.get(execution.pk) if execution else None
    if execution is None or delivery is None:
        return Trip(batch.received_at, decided_at=execution.created_at if execution else None)
    last = delivery.attempts[-1] if delivery.attempts else None
    return Trip(
        logged_at=batch.received_at,
        decided_at=execution.created_at,
        tried_at=delivery.attempts[0].started_at if delivery.attempts else None,
        received_at=receipts.get(delivery.webhook_id),
        answer=str(last.status_code or "") if last else "",
        error=last.error if last else "",
        in_flight=delivery.in_flight,
    )
