"""Sending what is due: claim by lease, try once, write down what happened.

A claim is a conditional update that sets the sender's own lease; a result is written only while the
lease is still the sender's. A sender that dies leaves a row whose `next_at` comes again.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.db.models import F, Q, QuerySet

from automations import backoff, doorbell
from automations.actions.base import ACTIONS, Outcome
from automations.models import Attempt, Delivery, DeliveryState, Execution, ExecutionState
from runs import clock

log = logging.getLogger("tripline.delivery")

# Beyond the integration's own timeout: after that long a claimed delivery is taken to be abandoned.
LEASE_MARGIN = timedelta(seconds=30)


def due(now: datetime) -> QuerySet[Delivery]:
    """Deliveries whose time has come and whose integration is not disabled."""
    enabled = Q(integration=None) | Q(integration__disabled_at=None)
    return Delivery.objects.filter(enabled, state=DeliveryState.PENDING, next_at__lte=now)


def drain(integration_id: int | None) -> None:
    """Send everything that is due to one integration, oldest first, until nothing is."""
    while (delivery := _claim(integration_id)) is not None:
        _settle(delivery, _tried(delivery))


def try_once(delivery: Delivery) -> Outcome:
    """One attempt, now and final: for a delivery that holds a lease already."""
    outcome = replace(_tried(delivery), permanent=True)
    _settle(delivery, outcome)
    return outcome


def _claim(integration_id: int | None) -> Delivery | None:
    """Take one due delivery for this sender alone, or None when nothing is due."""
    while True:
        now = clock.now()
        waiting = due(now).filter(integration=integration_id).order_by("next_at", "pk")
        delivery = waiting.select_related(
            "integration__access_token",
            "integration__signing_secret",
            "integration__signing_secret_previous",
        ).first()
        if delivery is None:
            return None
        lease = uuid.uuid4()
        timeout = timedelta(seconds=delivery.integration.timeout if delivery.integration else 10)
        row = Delivery.objects.filter(pk=delivery.pk, state=DeliveryState.PENDING, next_at=delivery.next_at)
        with transaction.atomic():
            claimed = row.update(lease=lease, next_at=now + timeout + LEASE_MARGIN)
        if claimed:
            delivery.lease = lease
            return delivery


def _tried(delivery: Delivery) -> Outcome:
    """One attempt. Whatever an action raises is an outcome: this is the boundary to the outside."""
    try:
        return ACTIONS[delivery.type].send(delivery)
    except Exception as error:
        log.exception("delivery %s", delivery.webhook_id)
        return Outcome(ok=False, error=f"{type(error).__name__} inside Tripline; see its log.")


def _settle(delivery: Delivery, outcome: Outcome) -> None:
    """Write the attempt and the delivery's new state, while the lease is still ours."""
    now = clock.now()
    tries = delivery.tries + 1
    delay = (
        None
        if outcome.ok or outcome.permanent
        else backoff.next_delay(tries, retry_after=outcome.retry_after)
    )
    state = DeliveryState.SUCCEEDED if outcome.ok else DeliveryState.FAILED
    if delay is not None:
        state = DeliveryState.PENDING
    with transaction.atomic():
        mine = Delivery.objects.filter(pk=delivery.pk, lease=delivery.lease)
        written = mine.update(
            lease=None,
            state=state,
            tries=tries,
            attempt_count=F("attempt_count") + 1,
            next_at=None if delay is None else now + timedelta(seconds=delay),
            finished_at=None if delay is not None else now,
        )
        if not written:
            return  # taken to be dead, and somebody else has it now
        Attempt.objects.create(
            delivery=delivery,
            number=delivery.attempt_count + 1,
            started_at=now - timedelta(seconds=outcome.duration),
            duration=outcome.duration,
            request=dict(outcome.request),
            status_code=outcome.status,
            response=outcome.response,
            error=outcome.error,
        )
        if delay is None:
            settle_execution(delivery.execution_id, now)


def settle_execution(execution_id: int, now: datetime) -> None:
    """An execution is finished when every delivery arrived, failed when one finally did not."""
    # Locked, so that of two last deliveries the second sees the first.
    execution = Execution.objects.select_for_update().get(pk=execution_id)
    states = set(execution.deliveries.values_list("state", flat=True))
    if states & {DeliveryState.PENDING, DeliveryState.HELD}:
        return
    failed = DeliveryState.FAILED in states
    state = ExecutionState.FAILED if failed else ExecutionState.FINISHED
    Execution.objects.filter(pk=execution.pk).update(state=state, finished_at=now)


def release_leases() -> int:
    """Make due at once whatever a sender had claimed; only for a process that knows it is alone."""
    claimed = Delivery.objects.filter(state=DeliveryState.PENDING, lease__isnull=False)
    return claimed.update(lease=None, next_at=clock.now())


def requeue(deliveries: QuerySet[Delivery]) -> int:
    """Send failed deliveries again, under the same ids and in a new round of the schedule.

    Returns how many. One statement each for them and for their executions.
    """
    now = clock.now()
    with transaction.atomic():
        # What could not be rendered has no body: there is nothing to send.
        failed = deliveries.filter(state=DeliveryState.FAILED).exclude(body="").order_by()
        executions = list(failed.values_list("execution_id", flat=True).distinct())
        integrations = list(failed.values_list("integration_id", flat=True).distinct())
        count = Delivery.objects.filter(pk__in=failed.values("pk")).update(
            state=DeliveryState.PENDING, tries=0, next_at=now, finished_at=None
        )
        Execution.objects.filter(pk__in=executions).update(state=ExecutionState.PENDING, finished_at=None)
        for integration_id in integrations:
            transaction.on_commit(partial(doorbell.ring_drain, integration_id), robust=True)
    return count
