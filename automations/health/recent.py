"""How it went lately: latencies and outcomes of the newest rows, found by their primary key.

Looked at are the last five minutes, or what the newest `LOOK_AT` rows of a kind cover of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus

from django.db.models import OuterRef, Subquery

from automations.models import Attempt, Delivery, DeliveryState, Event

WINDOW = timedelta(minutes=5)
LOOK_AT = 2_000
QUANTILES = (0.5, 0.9, 0.99, 1.0)


@dataclass(frozen=True, slots=True)
class Span:
    """Rows of one kind: how many there were in the seconds that were looked at."""

    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Recent:
    """Latencies in seconds, by what lies between; outcomes counted."""

    spans: Mapping[str, Span]
    latencies: Mapping[str, Sequence[float]]
    attempts: Mapping[str, int] = field(default_factory=dict)
    deliveries: Mapping[str, int] = field(default_factory=dict)


def look(now: datetime) -> Recent:
    since = now - WINDOW
    events = list(
        Event.objects.order_by("-pk").values_list("received_at", "decided_at")[:LOOK_AT],
    )
    decided = [(accepted, done) for accepted, done in events if done and done > since]
    first = Attempt.objects.filter(delivery=OuterRef("pk"), number=1).values("started_at")[:1]
    newest = Delivery.objects.order_by("-pk").annotate(first_at=Subquery(first))
    rows = list(newest.values_list("created_at", "first_at", "finished_at", "state")[:LOOK_AT])
    sent = [row for row in rows if row[0] > since]
    tries = list(
        Attempt.objects.order_by("-pk").values_list("started_at", "status_code", "error")[:LOOK_AT],
    )
    tried = [(status, error) for started, status, error in tries if started > since]
    succeeded = DeliveryState.SUCCEEDED
    return Recent(
        spans={
            "events": _span(len(decided), [row[0] for row in events], now),
            "deliveries": _span(len(sent), [row[0] for row in rows], now),
            "attempts": _span(len(tried), [row[0] for row in tries], now),
        },
        latencies={
            "decision": [_seconds(*pair) for pair in decided],
            "first_attempt": [_seconds(made, first_at) for made, first_at, _end, _state in sent if first_at],
            "success": [
                _seconds(made, end) for made, _first, end, state in sent if end and state == succeeded
            ],
        },
        attempts=Counter(outcome(status, error) for status, error in tried),
        deliveries=Counter(state for *_times, state in sent),
    )


def _span(count: int, moments: Sequence[datetime], now: datetime) -> Span:
    window = WINDOW.total_seconds()
    covered = (now - moments[-1]).total_seconds() if len(moments) == LOOK_AT else window
    return Span(count, min(window, max(0.0, covered)))


def _seconds(start: datetime, end: datetime) -> float:
    return max(0.0, (end - start).total_seconds())


def outcome(status: int | None, error: str) -> str:
    """How an attempt ended: `succeeded`, `no_answer`, or the class of the refusal (`4xx`)."""
    if status is None:
        return "no_answer" if error else "succeeded"
    return "succeeded" if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES else f"{status // 100}xx"


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not exceeded by this share of them."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
