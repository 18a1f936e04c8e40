"""Taking what is due for one sender alone, under the outlet's lock: pace, number in flight, order."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.db.models import Q, QuerySet

from automations import doorbell, outlets, turns
from automations.actions.base import ACTIONS
from automations.models import Delivery, DeliveryState, Execution, Integration, Outlet
from runs import clock, statements
from runs.statements import Columns

# Beyond the integration's own timeout: after that long a claimed delivery is taken to be abandoned.
LEASE_MARGIN = timedelta(seconds=30)
_TIMEOUT_WITHOUT_INTEGRATION = 10
# So many that wait for their turn are put aside in one transaction; the next claim goes on.
_LOOK_AT = 100


@dataclass(frozen=True, slots=True)
class Claim:
    """Deliveries that go out together, in one sender's hands until the lease runs out."""

    lease: uuid.UUID
    deliveries: Sequence[Delivery]
    # By `time.monotonic`: the attempt begins at once.
    taken: float = field(default_factory=time.monotonic)

    @property
    def first(self) -> Delivery:
        return self.deliveries[0]

    @property
    def integration(self) -> Integration | None:
        return self.first.integration


def due(now: datetime) -> QuerySet[Delivery]:
    """Deliveries whose time has come and whose integration is not disabled."""
    enabled = Q(integration=None) | Q(integration__disabled_at=None)
    return Delivery.objects.filter(enabled, state=DeliveryState.PENDING, next_at__lte=now)


def take(integration_id: int | None) -> Claim | None:
    """What goes out next through an outlet, or None when nothing may now."""
    if not _is_due(integration_id, clock.now()):
        return None  # asked without the lock first: most rings come too late
    with transaction.atomic():
        outlet = outlets.lock(integration_id)
        return _take(outlet, clock.now()) if outlet else None


def _take(outlet: Outlet, now: datetime) -> Claim | None:
    if outlet.integration is not None and outlets.is_disabled(outlet):
        outlets.hold(outlet.integration.pk)
        return None
    if outlets.opens_at(outlet, now):
        outlets.ring_when_open(outlet, now)
        return None
    room = outlets.room(outlet, now)
    if room < 1:
        return None  # those who are sending go on with it
    first = _first(outlet, now)
    if first is None:
        return None
    claim = Claim(uuid.uuid4(), [first, *_companions(first, now)])
    if outlet.integration is not None:
        outlets.read_secrets(outlet.integration)
    for delivery in claim.deliveries:
        delivery.integration = outlet.integration
    _mark(claim, now)
    outlets.keep_pace(outlet, now)
    _call_help(outlet, now, room=room - 1)
    return claim


def _is_due(integration_id: int | None, now: datetime) -> bool:
    where, parameters = outlets.of(integration_id)
    statement = f"SELECT 1 FROM automations_delivery d {_WAITS} AND d.{where} LIMIT 1"  # noqa: S608
    return bool(statements.rows(statement, [statements.stored(now), *parameters]))


def _waiting(integration_id: int | None, now: datetime, *, most: int, type: str = "") -> list[Delivery]:
    """So many that are due, the oldest first; `type`: of this kind alone."""
    where, parameters = outlets.of(integration_id)
    only, kind = ("AND d.type = %s", [type]) if type else ("", [])
    statement = f"{_READ} {_WAITS} AND d.{where} {only} ORDER BY d.next_at, d.id LIMIT %s"
    found = statements.rows(statement, [statements.stored(now), *parameters, *kind, most])
    deliveries = []
    for row in found:
        delivery, execution = statements.split(row, [_DELIVERY, _EXECUTION])
        delivery.execution = execution
        deliveries.append(delivery)
    return deliveries


_DELIVERY, _EXECUTION = Columns(Delivery, "d"), Columns(Execution, "e", leave_out=["snapshot"])
_READ = (
    f"SELECT {_DELIVERY.text}, {_EXECUTION.text} FROM automations_delivery d"  # noqa: S608 (names of ours)
    " JOIN automations_execution e ON e.id = d.execution_id"
)
_WAITS = "WHERE d.state = 'pending' AND d.next_at <= %s"


def _first(outlet: Outlet, now: datetime) -> Delivery | None:
    """The oldest whose turn has come."""
    for _look in range(_LOOK_AT):
        found = _waiting(outlet.integration_id, now, most=1)
        if not found:
            return None
        if turns.admit(found[0], now):
            return found[0]
    transaction.on_commit(partial(doorbell.ring_drain, outlet.integration_id), robust=True)
    return None


def _companions(first: Delivery, now: datetime) -> list[Delivery]:
    """Others that wait and go out in the same message."""
    most = ACTIONS[first.type].merges if first.type in ACTIONS else 1
    if most == 1:
        return []
    others = _waiting(first.integration_id, now, most=most, type=first.type)
    return [each for each in others if each.pk != first.pk][: most - 1]


def _mark(claim: Claim, now: datetime) -> None:
    until = now + timedelta(seconds=_longest(claim)) + LEASE_MARGIN
    mark = [statements.uuid(claim.lease), statements.stored(until)]
    statements.run_each(_MARK, [[*mark, delivery.pk] for delivery in claim.deliveries])


_MARK = "UPDATE automations_delivery SET lease = %s, next_at = %s WHERE id = %s"


def _longest(claim: Claim) -> float:
    """Seconds that an attempt may take."""
    known = ACTIONS[claim.first.type].longest if claim.first.type in ACTIONS else None
    timeout = claim.integration.timeout if claim.integration else _TIMEOUT_WITHOUT_INTEGRATION
    return known or timeout


def _call_help(outlet: Outlet, now: datetime, *, room: int) -> None:
    """There is more, and room for another sender; or there is more, and a pause first."""
    if not _is_due(outlet.integration_id, now):
        return
    if outlets.opens_at(outlet, now):
        outlets.ring_when_open(outlet, now)
    elif room > 0:
        transaction.on_commit(partial(doorbell.ring_drain, outlet.integration_id), robust=True)


def release_leases() -> int:
    """Make due at once whatever a sender had claimed; only for a process that knows it is alone."""
    claimed = Delivery.objects.filter(state=DeliveryState.PENDING, lease__isnull=False)
    return claimed.update(lease=None, next_at=clock.now())
