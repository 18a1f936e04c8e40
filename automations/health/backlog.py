"""What waits at each stage: how much, and since when. A few counts over partial indexes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, F, Min, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from automations.claims import due as due_at
from automations.models import Attempt, Delivery, DeliveryState, Event, Outlet
from runs.models import Lane, MetricBatch, RunStatusChange

# Of a long queue the oldest is sought among so many, those that were to be rung for first.
LOOK_AT = 5_000
# An integration that has been tried within this time moves, however long its queue is.
PATIENCE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queue. `since` is when its oldest came, None when nothing waits."""

    key: str
    label: str | Promise
    count: int
    since: datetime | None

    def age(self, now: datetime) -> float:
        """Seconds; 0 when nothing waits."""
        return max(0.0, (now - self.since).total_seconds()) if self.since else 0.0


@dataclass(frozen=True, slots=True)
class Stuck:
    """Messages that are due and that nobody tries: how many, of how many integrations, since when."""

    count: int
    integrations: int
    since: datetime


def everything(now: datetime) -> list[Waiting]:
    """Every queue, in the order of the way that a change takes."""
    return [lanes(), events(), due(now), abandoned(now), later(now), held()]


def lanes() -> Waiting:
    """Runs with changes that are not decided."""
    waiting = Lane.objects.filter(cursor__lt=F("head"))
    oldest = (
        waiting.order_by("ring_at")
        .annotate(since=Coalesce(_next_of(MetricBatch), _next_of(RunStatusChange)))
        .values("since")[:LOOK_AT]
        .aggregate(Min("since"))
    )
    return Waiting("lanes", _("Runs with undecided changes"), waiting.count(), oldest["since__min"])


def _next_of(source: type[MetricBatch] | type[RunStatusChange]) -> Subquery:
    """When the lane's first undecided change was accepted, if it is one of these."""
    next_one = source.objects.filter(run=OuterRef("pk"), seq=OuterRef("cursor") + 1)
    return Subquery(next_one.values("received_at")[:1])


def events() -> Waiting:
    """Artifact events that are not decided; those of runs wait in their lane."""
    waiting = Event.objects.filter(decided_at=None, ring_at__isnull=False)
    oldest = waiting.order_by("ring_at").values("received_at")[:LOOK_AT].aggregate(Min("received_at"))
    return Waiting("events", _("Undecided artifact events"), waiting.count(), oldest["received_at__min"])


def due(now: datetime) -> Waiting:
    """Messages whose time has come, and that nobody has in hand."""
    rows = due_at(now).filter(lease=None)
    return _deliveries("due", _("Messages that are due"), rows, "next_at")


def abandoned(now: datetime) -> Waiting:
    """Messages in flight whose sender has not come back in time."""
    rows = Delivery.objects.filter(state=DeliveryState.PENDING, lease__isnull=False, next_at__lte=now)
    return _deliveries("abandoned", _("Messages whose sender is lost"), rows, "next_at")


def later(now: datetime) -> Waiting:
    """Messages that wait for their next try, or for their turn behind another."""
    rows = Delivery.objects.filter(state=DeliveryState.PENDING, lease=None).exclude(next_at__lte=now)
    return _deliveries("later", _("Messages that are tried again later"), rows, "created_at")


def held() -> Waiting:
    """Messages of integrations that are disabled."""
    # By way of the integrations, which are few.
    rows = Delivery.objects.filter(integration__disabled_at__isnull=False, state=DeliveryState.HELD)
    return _deliveries("held", _("Messages held for a disabled integration"), rows, "created_at")


def _deliveries(key: str, label: Promise, rows: QuerySet[Delivery], since: str) -> Waiting:
    found: dict[str, Any] = rows.order_by().aggregate(count=Count("pk"), since=Min(since))
    return Waiting(key, label, found["count"], found["since"])


def stuck(now: datetime) -> Stuck | None:
    """What is due for longer than `PATIENCE` to integrations that nobody has tried meanwhile."""
    overdue = due_at(now - PATIENCE).filter(lease=None).order_by()
    found = list(overdue.values_list("integration").annotate(Count("pk"), Min("next_at")))
    moving = _moving(now) if found else set()
    standing = [(count, since) for integration, count, since in found if integration not in moving]
    if not standing:
        return None
    return Stuck(sum(count for count, _since in standing), len(standing), min(s for _count, s in standing))


def _moving(now: datetime) -> set[int | None]:
    """The integrations that somebody is sending to, or was a moment ago, or that have a pause; None is for
    those without."""
    in_flight = Delivery.objects.filter(state=DeliveryState.PENDING, lease__isnull=False, next_at__gt=now)
    moving = set(in_flight.order_by().values_list("integration", flat=True).distinct())
    newest = Attempt.objects.order_by("-pk").values_list("delivery__integration", "started_at", "duration")
    since = now - PATIENCE
    resting = Outlet.objects.filter(Q(paused_until__gt=since) | Q(paced_until__gt=since))
    moving |= set(resting.values_list("integration", flat=True))
    return moving | set(_tried_since(now - PATIENCE, newest[:LOOK_AT]))


def _tried_since(
    moment: datetime, attempts: Iterable[tuple[int | None, datetime, float]]
) -> Iterable[int | None]:
    for integration, started_at, duration in attempts:
        if started_at + timedelta(seconds=duration) > moment:
            yield integration
