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
from automations.models import Delivery, DeliveryState, Integration, Outlet
from runs import clock

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
    if not _waiting(integration_id, clock.now()).exists():
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
    integration = outlets.with_secrets(outlet.integration.pk) if outlet.integration else None
    for delivery in claim.deliveries:
        delivery.integration = integration
    _mark(claim, now)
    outlets.keep_pace(outlet, now)
    _call_help(outlet, now, room=room - 1)
    return claim


def _waiting(integration_id: int | None, now: datetime) -> QuerySet[Delivery]:
    rows = Delivery.objects.filter(integration=integration_id, state=DeliveryState.PENDING, next_at__lte=now)
    return rows.select_related("execution").defer("execution__snapshot").order_by("next_at", "pk")


def _first(outlet: Outlet, now: datetime) -> Delivery | None:
    """The oldest whose turn has come."""
    for _look in range(_LOOK_AT):
        delivery = _waiting(outlet.integration_id, now).first()
        if delivery is None or turns.admit(delivery, now):
            return delivery
    transaction.on_commit(partial(doorbell.ring_drain, outlet.integration_id), robust=True)
    return None


def _companions(first: Delivery, now: datetime) -> list[Delivery]:
    """Others that wait and go out in the same message."""
    most = ACTIONS[first.type].merges if first.type in ACTIONS else 1
    if most == 1:
        return []
    others = _waiting(first.integration_id, now).filter(type=first.type).exclude(pk=first.pk)
    return list(others[: most - 1])


def _mark(claim: Claim, now: datetime) -> None:
    until = now + timedelta(seconds=_longest(claim)) + LEASE_MARGIN
    rows = Delivery.objects.filter(pk__in=[delivery.pk for delivery in claim.deliveries])
    rows.update(lease=claim.lease, next_at=until)


def _longest(claim: Claim) -> float:
    """Seconds that an attempt may take."""
    known = ACTIONS[claim.first.type].longest if claim.first.type in ACTIONS else None
    timeout = claim.integration.timeout if claim.integration else _TIMEOUT_WITHOUT_INTEGRATION
    return known or timeout


def _call_help(outlet: Outlet, now: datetime, *, room: int) -> None:
    """There is more, and room for another sender; or there is more, and a pause first."""
    if not _waiting(outlet.integration_id, now).exists():
        return
    if outlets.opens_at(outlet, now):
        outlets.ring_when_open(outlet, now)
    elif room > 0:
        transaction.on_commit(partial(doorbell.ring_drain, outlet.integration_id), robust=True)


def release_leases() -> int:
    """Make due at once whatever a sender had claimed; only for a process that knows it is alone."""
    claimed = Delivery.objects.filter(state=DeliveryState.PENDING, lease__isnull=False)
    return claimed.update(lease=None, next_at=clock.now())
