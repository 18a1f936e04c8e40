"""Whose turn it is among messages of one action about one thing (`Delivery.order`).

Everything here happens while the outlet is locked. A message whose turn has not come loses its `next_at`,
so that nobody looks at it again until the one before it is through (`pass_on`).
"""

from __future__ import annotations

from datetime import datetime

from django.db.models import Max, QuerySet

from automations import executions
from automations.models import UNSETTLED, Action, Delivery, DeliveryState, Event, Order
from runs.names import NAME_LENGTH


def key(action: Action, event: Event, order: str) -> str:
    """Messages with the same key wait for each other; "" where there is nothing to wait for.

    Ordered ones by collection or run; of the latest only, each alias and each tag counts alone: the latest
    move of `production` overtakes none of `staging`.
    """
    if order == Order.ANY:
        return ""
    if event.run_id:
        subject = f"run:{event.run_id}"
    elif event.collection_id:
        subject = f"collection:{event.collection_id}"
    else:
        return ""
    # Without the action's place in its rule: who edits the rule must not let an old message slip through.
    parts = [action.integration_id, action.automation_id, subject]
    if order == Order.LATEST_ONLY:
        parts.append(event.data.get("alias") or event.data.get("tag") or "")
    return "/".join(map(str, parts))[:NAME_LENGTH]


def admit(delivery: Delivery, now: datetime) -> bool:
    """Whether a due message may go out now. One that may not is superseded, or put aside until its turn."""
    if delivery.order == Order.ANY:
        return True
    if delivery.order == Order.LATEST_ONLY and (newest := _newest(delivery)) > delivery.order_seq:
        # With it all that are overtaken, but for the one in flight.
        older = _same(delivery).filter(state__in=UNSETTLED, order_seq__lt=newest)
        _supersede(older.exclude(lease__isnull=False, next_at__gt=now), now)
        # Its sender may have died with it in hand, and another waits for that.
        pass_on(delivery, now)
        return False
    if _before(delivery, now).exists():
        Delivery.objects.filter(pk=delivery.pk).update(next_at=None, lease=None)
        return False
    if delivery.order == Order.LATEST_ONLY:
        older = _same(delivery).filter(state__in=UNSETTLED, order_seq__lt=delivery.order_seq)
        _supersede(older, now)
    return True


def pass_on(delivery: Delivery, now: datetime) -> None:
    """A message is out of somebody's hands: the one that waits behind it is due."""
    if delivery.order == Order.ANY:
        return
    unsettled = _same(delivery).filter(state__in=UNSETTLED)
    if delivery.order == Order.ORDERED:
        first = unsettled.order_by("order_seq", "pk").first()
    else:
        first = unsettled.filter(next_at=None).order_by("-order_seq", "-pk").first()
    if first and first.state == DeliveryState.PENDING and first.next_at is None:
        Delivery.objects.filter(pk=first.pk).update(next_at=now)


def _same(delivery: Delivery) -> QuerySet[Delivery]:
    # The index holds only what has a key.
    return Delivery.objects.filter(order_key=delivery.order_key).exclude(order_key="")


def _newest(delivery: Delivery) -> int:
    """Whatever became of the newest one: an older must not be the last that arrives."""
    newest: int = _same(delivery).aggregate(newest=Max("order_seq"))["newest"]
    return newest


def _before(delivery: Delivery, now: datetime) -> QuerySet[Delivery]:
    """What it waits for: every earlier one to end, or (the latest only) the one in flight to be answered."""
    if delivery.order == Order.ORDERED:
        return _same(delivery).filter(order_seq__lt=delivery.order_seq, state__in=UNSETTLED)
    in_flight = _same(delivery).filter(lease__isnull=False, next_at__gt=now)
    return in_flight.exclude(pk=delivery.pk)


def _supersede(rows: QuerySet[Delivery], now: datetime) -> None:
    found = list(rows.values_list("pk", "execution_id"))
    if not found:
        return
    Delivery.objects.filter(pk__in=[pk for pk, _execution in found]).update(
        state=DeliveryState.SUPERSEDED, next_at=None, lease=None, finished_at=now
    )
    executions.settle((execution for _pk, execution in found), now)
