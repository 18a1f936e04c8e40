"""The pace of an outlet, how many of its messages are in flight, and what its receiver's silence means.

Everything here happens while the outlet is locked. A receiver that does not answer gets one message at a
time and pauses between them, so that it holds up no sender for the others; one that says it is gone, or has
failed for days, is disabled and its messages are held.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.utils.translation import gettext as _

from automations import backoff, doorbell, notices
from automations.actions.base import ACTIONS, Outcome
from automations.models import Delivery, DeliveryState, Integration, Outlet
from automations.occasions import speaking_to

GONE = 410
# Answers that speak of the receiver rather than of the message.
_BUSY = frozenset({429, 503})
LONGEST_BUSY = timedelta(minutes=5)
# Nothing arrived for so long: nobody is there any more.
FAILING_AT_MOST = timedelta(days=5)
# How many e-mails are handed to the mail server at the same time.
_MAIL_CONCURRENCY = 2


def lock(integration_id: int | None) -> Outlet | None:
    """The outlet's row, locked until the transaction ends; None when its integration is gone."""
    outlet = _locked(integration_id)
    if outlet is None and _is_there(integration_id):
        # None is as good an id as any: there is one outlet without an integration.
        Outlet.objects.get_or_create(integration_id=integration_id)  # type: ignore[misc]
        outlet = _locked(integration_id)
    return outlet


def _locked(integration_id: int | None) -> Outlet | None:
    rows = Outlet.objects.select_for_update(of=("self",), no_key=True)
    return (
        rows.select_related(
            "integration__access_token",
            "integration__signing_secret",
            "integration__signing_secret_previous",
        )
        .filter(integration=integration_id)
        .first()
    )


def _is_there(integration_id: int | None) -> bool:
    return integration_id is None or Integration.objects.filter(pk=integration_id).exists()


def is_disabled(outlet: Outlet) -> bool:
    return outlet.integration is not None and not outlet.integration.healthy


def concurrency(outlet: Outlet) -> int:
    return outlet.integration.concurrency if outlet.integration else _MAIL_CONCURRENCY


def room(outlet: Outlet, now: datetime) -> int:
    """How many more messages may be in flight. A lease that ran out is nobody's any more."""
    in_flight = Delivery.objects.filter(integration=outlet.integration_id, lease__isnull=False)
    claims = in_flight.filter(next_at__gt=now).order_by().values("lease").distinct().count()
    return min(outlet.window, concurrency(outlet)) - claims


def is_paused(outlet: Outlet, now: datetime) -> bool:
    return outlet.open_at is not None and outlet.open_at > now


def ring_when_open(outlet: Outlet, now: datetime) -> None:
    """Have somebody come back when the pause is over: one for each pause, however many ask."""
    if outlet.open_at is None or outlet.rung_for == outlet.open_at:
        return
    Outlet.objects.filter(pk=outlet.pk).update(rung_for=outlet.open_at)
    after = (outlet.open_at - now).total_seconds()
    ring = partial(doorbell.ring_drain, outlet.integration_id, after=after)
    transaction.on_commit(ring, robust=True)


def keep_pace(outlet: Outlet, now: datetime) -> None:
    """A message goes out now: the next one not before its time."""
    if outlet.integration is None:
        return
    limits = (outlet.integration.rate, ACTIONS[outlet.integration.type].max_rate)
    if rates := [rate for rate in limits if rate]:
        outlet.open_at = now + timedelta(seconds=1 / min(rates))
        outlet.save(update_fields=["open_at"])


def learn(outlet: Outlet, outcome: Outcome, now: datetime) -> None:
    """What an attempt says about the receiver."""
    before = (outlet.open_at, outlet.window, outlet.silences, outlet.failing_since)
    if outcome.ok:
        outlet.failing_since = None
    else:
        outlet.failing_since = outlet.failing_since or now
    if outcome.silent:
        _fall_silent(outlet, now)
    else:
        outlet.silences = 0
        outlet.window = min(outlet.window + 1, concurrency(outlet))
    if outcome.status in _BUSY and outcome.retry_after:
        wanted = now + min(timedelta(seconds=outcome.retry_after), LONGEST_BUSY)
        outlet.open_at = max(outlet.open_at or now, wanted)
    if before != (outlet.open_at, outlet.window, outlet.silences, outlet.failing_since):
        outlet.save(update_fields=["open_at", "window", "silences", "failing_since"])


def _fall_silent(outlet: Outlet, now: datetime) -> None:
    outlet.window = 1
    # Those that were in flight together are one silence.
    if not is_paused(outlet, now) or not outlet.silences:
        outlet.silences += 1
        outlet.open_at = now + timedelta(seconds=backoff.pause(outlet.silences))


def why_disable(outlet: Outlet, outcome: Outcome, now: datetime) -> str:
    """Why nothing more should be sent to the integration until somebody looks at it, or ""."""
    if outlet.integration is None or outcome.ok:
        return ""
    with speaking_to(outlet.integration.team):
        if outcome.status == GONE:
            return _("It answered 410 Gone.")
        if outlet.failing_since and now - outlet.failing_since >= FAILING_AT_MOST:
            return _("Nothing arrived for %(days)d days.") % {"days": FAILING_AT_MOST.days}
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
    hold([integration.pk])


def hold(integration_ids: Iterable[int]) -> None:
    """What waits, and is in nobody's hands, is held until the integration is enabled again."""
    waiting = Delivery.objects.filter(integration__in=list(integration_ids), state=DeliveryState.PENDING)
    waiting.filter(lease=None).update(state=DeliveryState.HELD, next_at=None)


def start_afresh(integration: Integration) -> None:
    """Somebody enabled it: what was learnt before counts no more."""
    Outlet.objects.filter(integration=integration).update(
        open_at=None, window=1, silences=0, failing_since=None
    )
