"""The pace of an outlet, how many of its messages are in flight, and what its receiver's silence means.

Everything here happens while the outlet is locked. Locks are taken in this order: outlet, integration,
deliveries, executions. A receiver that does not answer gets one message at a
time and pauses between them, so that it holds up no sender for the others; one that says it is gone, or has
failed for days, is disabled and its messages are held.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from django.db import transaction

from automations import backoff, disabling, doorbell, notices
from automations.actions.base import ACTIONS, Outcome
from automations.models import Delivery, DeliveryState, Integration, Outlet, Secret
from runs import clock, statements
from runs.statements import Columns

GONE = 410
# Answers that speak of the receiver rather than of the message.
_BUSY = frozenset({429, 503})
LONGEST_BUSY = timedelta(minutes=5)
# Nothing arrived for so long: nobody is there any more.
FAILING_AT_MOST = timedelta(days=5)
# Not by two failures with nothing between them.
FAILING_AT_LEAST = 5
# So many messages change their state in one transaction.
PORTION = 2000
# How many e-mails are handed to the mail server at the same time.
_MAIL_CONCURRENCY = 2
# Seconds by which clocks of different machines may differ.
_EARLY = 0.25


def lock(integration_id: int | None) -> Outlet | None:
    """The outlet's row, locked until the transaction ends; None when its integration is gone."""
    outlet = _locked(integration_id)
    if outlet is None and (integration_id is None or _integration(integration_id)):
        # None is as good an id as any: there is one outlet without an integration.
        Outlet.objects.get_or_create(integration_id=integration_id)  # type: ignore[misc]
        outlet = _locked(integration_id)
    if outlet is not None and integration_id is not None:
        # A statement of its own: one that waits for a lock gives what it joins as it was before the wait.
        outlet.integration = _integration(integration_id)
    return outlet


def _locked(integration_id: int | None) -> Outlet | None:
    where, parameters = of(integration_id)
    statement = f"SELECT {_OUTLET.text} FROM automations_outlet o WHERE o.{where}"  # noqa: S608 (names of ours)
    locking = statements.locking(statement, how="FOR NO KEY UPDATE")
    return next((_OUTLET.read(row) for row in statements.rows(locking, parameters)), None)


def of(integration_id: int | None) -> tuple[str, list[int]]:
    """The condition for what belongs to an integration, in statements that are written out."""
    if integration_id is None:
        return "integration_id IS NULL", []
    return "integration_id = %s", [integration_id]


def _integration(integration_id: int) -> Integration | None:
    found = statements.rows(_READ_INTEGRATION, [integration_id])
    return _INTEGRATION.read(found[0]) if found else None


def read_secrets(integration: Integration) -> None:
    """Those that its messages need, at once."""
    wanted = {name: pk for name in _SECRETS if (pk := getattr(integration, f"{name}_id"))}
    if not wanted:
        return
    rows = statements.rows(f"{_READ_SECRETS} IN ({statements.places(len(wanted))})", list(wanted.values()))
    secrets = {secret.pk: secret for secret in map(_SECRET.read, rows)}
    for name, pk in wanted.items():
        setattr(integration, name, secrets[pk])


_OUTLET = Columns(Outlet, "o")
_INTEGRATION, _SECRET = Columns(Integration, "i"), Columns(Secret, "s")
_SECRETS = ("access_token", "signing_secret", "signing_secret_previous")
_READ_INTEGRATION = f"SELECT {_INTEGRATION.text} FROM automations_integration i WHERE i.id = %s"  # noqa: S608
_READ_SECRETS = f"SELECT {_SECRET.text} FROM automations_secret s WHERE s.id"  # noqa: S608


def is_disabled(outlet: Outlet) -> bool:
    return outlet.integration is not None and not outlet.integration.healthy


def concurrency(outlet: Outlet) -> int:
    return outlet.integration.concurrency if outlet.integration else _MAIL_CONCURRENCY


def room(outlet: Outlet, now: datetime) -> int:
    """How many more messages may be in flight. A lease that ran out is nobody's any more."""
    where, parameters = of(outlet.integration_id)
    statement = f"{_IN_FLIGHT} AND {where}"
    ((claims,),) = statements.rows(statement, [statements.stored(now), *parameters])
    return min(outlet.window, concurrency(outlet)) - int(claims)


_IN_FLIGHT = "SELECT COUNT(DISTINCT lease) FROM automations_delivery WHERE lease IS NOT NULL AND next_at > %s"


def opens_at(outlet: Outlet, now: datetime) -> datetime | None:
    """When something may be sent again, None for now."""
    closed = [moment for moment in (outlet.paced_until, outlet.paused_until) if moment and moment > now]
    return max(closed, default=None)


def ring_when_open(outlet: Outlet, now: datetime) -> None:
    """Have somebody come back then: one for each such moment, however many ask."""
    opening = opens_at(outlet, now)
    if opening is None:
        return
    left = (opening - now).total_seconds()
    # Whoever was told, and is here a little early by another machine's clock, is told again.
    if outlet.rung_for == opening and left > _EARLY:
        return
    Outlet.objects.filter(pk=outlet.pk).update(rung_for=opening)
    transaction.on_commit(partial(doorbell.ring_drain, outlet.integration_id, after=left), robust=True)


def keep_pace(outlet: Outlet, now: datetime) -> None:
    """A message goes out now: the next one not before its time."""
    if outlet.integration is None:
        return
    limits = (outlet.integration.rate, ACTIONS[outlet.integration.type].max_rate)
    if rates := [rate for rate in limits if rate]:
        outlet.paced_until = now + timedelta(seconds=1 / min(rates))
        outlet.save(update_fields=["paced_until"])


def learn(outlet: Outlet, outcome: Outcome, now: datetime) -> None:
    """What an attempt says about the receiver."""
    before = [getattr(outlet, name) for name in _LEARNT]
    outlet.failures = 0 if outcome.ok else outlet.failures + 1
    outlet.failing_since = None if outcome.ok else outlet.failing_since or now
    if outcome.silent:
        _fall_silent(outlet, now)
    else:
        outlet.silences = 0
        outlet.window = min(outlet.window + 1, concurrency(outlet))
    if outcome.status in _BUSY and outcome.retry_after:
        _pause(outlet, now + min(timedelta(seconds=outcome.retry_after), LONGEST_BUSY))
    if before != [getattr(outlet, name) for name in _LEARNT]:
        outlet.save(update_fields=_LEARNT)


_LEARNT = ("paused_until", "window", "silences", "failing_since", "failures")


def _fall_silent(outlet: Outlet, now: datetime) -> None:
    outlet.window = 1
    # Those that were in flight together are one silence.
    if not outlet.silences or outlet.paused_until is None or outlet.paused_until <= now:
        outlet.silences = min(outlet.silences + 1, backoff.MOST_SILENCES)
        _pause(outlet, now + timedelta(seconds=backoff.pause(outlet.silences)))


def _pause(outlet: Outlet, until: datetime) -> None:
    outlet.paused_until = max(outlet.paused_until or until, until)


def why_disable(outlet: Outlet, outcome: Outcome, now: datetime) -> str:
    """Why nothing more should be sent to the integration until somebody looks at it, as a code, or ""."""
    if outlet.integration is None or outcome.ok:
        return ""
    if outcome.status == GONE:
        return disabling.GONE
    lasts = outlet.failing_since is not None and now - outlet.failing_since >= FAILING_AT_MOST
    if lasts and outlet.failures >= FAILING_AT_LEAST:
        return f"{disabling.SILENT}:{FAILING_AT_MOST.days}"
    return ""


def disable(outlet: Outlet, reason: str, now: datetime) -> None:
    """Disable the integration, hold what waits for it, and have the team's admins told."""
    integration = outlet.integration
    if integration is None:
        return  # the mail server is the operator's, and nobody could enable it again
    integration.disabled_at, integration.disabled_reason = now, reason
    enabled = Integration.objects.filter(pk=integration.pk, disabled_at=None)
    if enabled.update(disabled_at=now, disabled_reason=reason):
        notices.integration_disabled(integration, now)
    hold(integration.pk)


def hold(integration_id: int) -> None:
    """What waits, and is in nobody's hands, is held until the integration is enabled again."""
    waiting = Delivery.objects.filter(integration=integration_id, state=DeliveryState.PENDING, lease=None)
    waiting.update(state=DeliveryState.HELD, next_at=None)


def release(integration_id: int) -> None:
    """Put what was held back into the queue, in portions: nobody waits long for the lock.

    The sweep does the rest for whoever dies in between.
    """
    held = Delivery.objects.filter(integration=integration_id, state=DeliveryState.HELD).order_by("pk")
    while portion := list(held.values_list("pk", flat=True)[:PORTION]):
        with transaction.atomic():
            outlet = lock(integration_id)
            if outlet is None or is_disabled(outlet):
                return
            rows = held.filter(pk__in=portion).order_by()
            rows.update(state=DeliveryState.PENDING, next_at=clock.now())
            transaction.on_commit(partial(doorbell.ring_drain, integration_id), robust=True)


def start_afresh(outlet: Outlet) -> None:
    """Somebody enabled it: what was learnt before counts no more."""
    outlet.paused_until = outlet.failing_since = None
    outlet.window, outlet.silences, outlet.failures = 1, 0, 0
    outlet.save(update_fields=_LEARNT)
