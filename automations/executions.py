"""When an execution has ended: its state follows from its deliveries'."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from automations.models import UNSETTLED, Delivery, DeliveryState, Execution, ExecutionState


def settle(execution_ids: Iterable[int], now: datetime) -> None:
    """Finished when every delivery arrived or was superseded, failed when one finally did not.

    One whose deliveries still wait stays as it is. In the transaction that settled a delivery.
    """
    # Locked, so that of two last deliveries the second sees the first; in one order, so that none waits
    # for one that waits for it.
    rows = Execution.objects.select_for_update(no_key=True).filter(pk__in=set(execution_ids)).order_by("pk")
    states: dict[int, set[str]] = {pk: set() for pk in rows.values_list("pk", flat=True)}
    for pk, state in Delivery.objects.filter(execution__in=states).values_list("execution_id", "state"):
        states[pk].add(state)
    ended = {pk: found for pk, found in states.items() if not found & set(UNSETTLED)}
    failed = [pk for pk, found in ended.items() if DeliveryState.FAILED in found]
    finished = [pk for pk in ended if pk not in failed]
    for state, ids in ((ExecutionState.FAILED, failed), (ExecutionState.FINISHED, finished)):
        if ids:
            Execution.objects.filter(pk__in=ids).update(state=state, finished_at=now)
