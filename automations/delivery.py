"""Sending what is due: claim by lease, try once, write down what happened.

A claim sets the sender's own lease under the outlet's lock (`claims`); a result is written only while the
lease is still the sender's. A sender that dies leaves a row whose `next_at` comes again.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from automations import backoff, claims, doorbell, executions, outlets, turns
from automations.actions.base import ACTIONS, Outcome
from automations.claims import Claim
from automations.models import Attempt, Delivery, DeliveryState, Execution, ExecutionState, Outlet
from runs import clock, statements

log = logging.getLogger("tripline.delivery")

# Seconds after which a sender lets the other outlets have a turn.
_SLICE = 2.0
# A try that comes so soon (seconds) is rung for; the sweep finds the later ones early enough.
_SOON = 60.0


def drain(integration_id: int | None) -> None:
    """Send what is due to one integration, oldest first, until nothing may go out now."""
    began = time.monotonic()
    while (claim := claims.take(integration_id)) is not None:
        _settle(claim, _tried(claim))
        if time.monotonic() - began > _SLICE:
            doorbell.ring_drain(integration_id)
            return


def try_once(claim: Claim) -> Outcome:
    """One attempt, now and final; what a trial meets says nothing of how real messages fare."""
    outcome = replace(_tried(claim), permanent=True)
    with transaction.atomic():
        now = clock.now()
        outlets.lock(claim.first.integration_id)
        if Delivery.objects.filter(pk=claim.first.pk, lease=claim.lease).exists():
            _write_down(claim.first, outcome, now=now, disabled=False, age=_age(claim))
            executions.settle([claim.first.execution_id], now)
    # Others may have waited for its place.
    doorbell.ring_drain(claim.first.integration_id)
    return outcome


def _tried(claim: Claim) -> Outcome:
    """One attempt. Whatever an action raises is an outcome: this is the boundary to the outside."""
    if claim.first.type not in ACTIONS:
        return Outcome(ok=False, error="This kind of action is not installed any more.", permanent=True)
    action = ACTIONS[claim.first.type]
    try:
        if len(claim.deliveries) > 1:
            return action.send_merged(claim.deliveries)
        return action.send(claim.first)
    except Exception as error:
        log.exception("delivery %s", claim.first.webhook_id)
        return Outcome(ok=False, error=f"{type(error).__name__} inside Tripline; see its log.")


@transaction.atomic
def _settle(claim: Claim, outcome: Outcome) -> None:
    """Write the attempt and the new state of what was sent, while the lease is still ours."""
    now = clock.now()
    # The integration may have been deleted meanwhile: its messages are those of the outlet without one.
    outlet = outlets.lock(claim.first.integration_id) or outlets.lock(None)
    held = {pk for (pk,) in statements.rows(_HELD, [statements.uuid(claim.lease)])}
    sent = [delivery for delivery in claim.deliveries if delivery.pk in held]
    if not sent:
        return  # taken to be dead, and somebody else has it now
    disabled, age = outlet is not None and _judge(outlet, outcome, now), _age(claim)
    for delivery in sent:
        _write_down(delivery, outcome, now=now, disabled=disabled, age=age)
    executions.settle((delivery.execution_id for delivery in sent), now)
    for delivery in sent:
        turns.pass_on(delivery, now)


def _judge(outlet: Outlet, outcome: Outcome, now: datetime) -> bool:
    """What the attempt says about the receiver; True when nothing more is sent to it for now."""
    outlets.learn(outlet, outcome, now)
    if reason := outlets.why_disable(outlet, outcome, now):
        outlets.disable(outlet, reason, now)
    return outlets.is_disabled(outlet)


def _age(claim: Claim) -> timedelta:
    """How long ago the attempt began: since it ended the sender may have waited for others who write."""
    return timedelta(seconds=time.monotonic() - claim.taken)


def _write_down(
    delivery: Delivery, outcome: Outcome, *, now: datetime, disabled: bool, age: timedelta
) -> None:
    tries = delivery.tries + 1
    delay = _delay(delivery, outcome, tries)
    # Who says it is gone gets it when somebody has enabled the integration again.
    is_held = disabled and (delay is not None or outcome.status == outlets.GONE)
    if is_held:
        state, next_at = DeliveryState.HELD, None
    elif delay is not None:
        state, next_at = DeliveryState.PENDING, now + timedelta(seconds=delay)
        _ring_soon(delivery, delay)
    else:
        state, next_at = DeliveryState.SUCCEEDED if outcome.ok else DeliveryState.FAILED, None
    ended = state in {DeliveryState.SUCCEEDED, DeliveryState.FAILED}
    moments = [statements.stored(next_at), statements.stored(now if ended else None)]
    statements.run(_WRITE, [state.value, tries, *moments, delivery.pk])
    attempt = {
        "delivery_id": delivery.pk,
        "number": delivery.attempt_count + 1,
        "started_at": statements.stored(now - age),
        "duration": outcome.duration,
        "request": statements.json(dict(outcome.request)),
        "status_code": outcome.status,
        "response": outcome.response,
        "error": outcome.error,
    }
    statements.insert(statements.insertion(Attempt, list(attempt)), list(attempt.values()))
    _log(delivery, outcome, state)


_HELD = "SELECT id FROM automations_delivery WHERE lease = %s"
_WRITE = (
    "UPDATE automations_delivery SET lease = NULL, state = %s, tries = %s, attempt_count = attempt_count + 1,"
    " next_at = %s, finished_at = %s WHERE id = %s"
)


def _delay(delivery: Delivery, outcome: Outcome, tries: int) -> float | None:
    """Seconds until the next try; None when there is none."""
    if outcome.ok or outcome.permanent:
        return None
    schedule = settings.TRIPLINE_RETRY_SCHEDULE or ACTIONS[delivery.type].schedule
    return backoff.next_delay(tries, schedule, retry_after=outcome.retry_after)


def _ring_soon(delivery: Delivery, delay: float) -> None:
    if delay <= _SOON:
        ring = partial(doorbell.ring_drain, delivery.integration_id, after=delay)
        transaction.on_commit(ring, robust=True)


def _log(delivery: Delivery, outcome: Outcome, state: DeliveryState) -> None:
    log.log(
        logging.INFO if outcome.ok else logging.WARNING,
        "%s by %s: %s after %.3f s",
        delivery.webhook_id,
        delivery.type,
        outcome.status or outcome.error or "ok",
        outcome.duration,
        extra={
            "event": delivery.execution.event_id,
            "execution": delivery.execution_id,
            "delivery": delivery.pk,
            "integration": delivery.integration_id,
            "attempt": delivery.attempt_count + 1,
            "state": state.value,
        },
    )


def requeue(deliveries: QuerySet[Delivery]) -> int:
    """Send failed deliveries again, under the same ids and in a new round of the schedule.

    Returns how many. A constant number of statements for each portion of them.
    """
    # What could not be rendered has no body: there is nothing to send.
    failed = deliveries.filter(state=DeliveryState.FAILED).exclude(body="").order_by("pk")
    rows = failed.values_list("pk", "execution_id", "integration_id")
    count, last = 0, 0
    while portion := list(rows.filter(pk__gt=last)[: outlets.PORTION]):
        last = portion[-1][0]
        count += _requeue([pk for pk, *_rest in portion], {to for *_rest, to in portion})
    return count


@transaction.atomic
def _requeue(pks: list[int], integration_ids: set[int | None]) -> int:
    # In the order in which senders lock them.
    rows = Delivery.objects.select_for_update(no_key=True).filter(pk__in=pks, state=DeliveryState.FAILED)
    found = dict(rows.order_by("pk").values_list("pk", "execution_id"))
    executions_of = Execution.objects.filter(pk__in=set(found.values()))
    list(executions_of.select_for_update(no_key=True).order_by("pk").values_list("pk"))
    Delivery.objects.filter(pk__in=found).update(
        state=DeliveryState.PENDING, tries=0, next_at=clock.now(), finished_at=None
    )
    executions_of.update(state=ExecutionState.PENDING, finished_at=None)
    for integration_id in integration_ids:
        transaction.on_commit(partial(doorbell.ring_drain, integration_id), robust=True)
    return len(found)
