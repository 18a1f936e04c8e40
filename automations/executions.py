"""When an execution has ended: its state follows from its deliveries'."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from automations.models import UNSETTLED, DeliveryState, ExecutionState
from runs import statements


def settle(execution_ids: Iterable[int], now: datetime) -> None:
    """Finished when every delivery arrived or was superseded, failed when one finally did not.

    One whose deliveries still wait stays as it is. In the transaction that settled a delivery.
    """
    pks = sorted(set(execution_ids))
    places = statements.places(len(pks))
    # Locked, so that of two last deliveries the second sees the first; in one order, so that none waits
    # for one that waits for it.
    lock = f"SELECT id FROM automations_execution WHERE id IN ({places}) ORDER BY id"  # noqa: S608
    statements.rows(statements.locking(lock, how="FOR NO KEY UPDATE"), pks)
    states: dict[int, set[str]] = {pk: set() for pk in pks}
    read = f"SELECT execution_id, state FROM automations_delivery WHERE execution_id IN ({places})"  # noqa: S608
    for pk, state in statements.rows(read, pks):
        states[pk].add(state)
    for pk, found in states.items():
        if not found & set(UNSETTLED):
            state = ExecutionState.FAILED if DeliveryState.FAILED in found else ExecutionState.FINISHED
            statements.run(_END, [state.value, statements.stored(now), pk])


_END = "UPDATE automations_execution SET state = %s, finished_at = %s WHERE id = %s"
