"""Trying an integration: one marked message, sent at once and once, and kept in the history."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.db import transaction
from django.utils.translation import gettext as _

from automations import delivery
from automations.actions.base import ACTIONS, Occasion, Outcome
from automations.claims import LEASE_MARGIN, Claim
from automations.models import Action, Delivery, Execution, ExecutionState, Integration
from automations.occasions import speaking_to, test_mark
from automations.verdicts import Reason
from runs import cause, clock
from runs.models import User


def try_integration(integration: Integration, *, actor: User) -> Outcome:
    """What came back. An e-mail goes to `actor`. Disabled ones are tried too: do they work again?"""
    return delivery.try_once(_recorded(integration, actor))


@transaction.atomic
def _recorded(integration: Integration, actor: User) -> Claim:
    """The message, claimed by us before it is sent: what it leads to can name its cause."""
    now = clock.now()
    with speaking_to(integration.team):
        text = _("This is a test message from Tripline.")
        action = _saying(text, integration, actor)
        occasion = Occasion({}, mark=test_mark(), audience=f"team:{integration.team_id}")
        body = ACTIONS[action.type].render(action, occasion)
    reason = Reason("trial", {"actor": actor.username, "integration": integration.name})
    execution = Execution.objects.create(
        automation_name=integration.name,
        is_test=True,
        dedup_key=f"trial:{uuid.uuid4().hex}",
        state=ExecutionState.PENDING,
        explanation=reason.as_json(),
        snapshot={
            "event": {},
            "actions": [{"type": action.type, "integration": integration.name, **action.config}],
        },
        organization=integration.team.organization,
        team=integration.team,
        created_at=now,
    )
    lease = uuid.uuid4()
    message = Delivery.objects.create(
        execution=execution,
        integration=integration,
        type=integration.type,
        body=body,
        cause=cause.following("", execution.pk),
        created_at=now,
        lease=lease,
        next_at=now + timedelta(seconds=integration.timeout) + LEASE_MARGIN,
    )
    return Claim(lease, [message])


def _saying(text: str, integration: Integration, actor: User) -> Action:
    """An unsaved action that says so, whatever its type calls title and text."""
    contents = {
        "payload": {"test": True, "text": text},
        "title": "Tripline",
        "subject": "Tripline",
        "message": text,
        "to": [actor.username],
    }
    form = ACTIONS[integration.type].config_form
    config = form.parse({name: contents[name] for name in form.base_fields if name in contents})
    return Action(type=integration.type, integration=integration, config=config)
