"""What Tripline itself has to tell a team: in the history, and by e-mail to the team's admins."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils.translation import gettext as _

from automations import doorbell
from automations.actions.base import ACTIONS, Occasion
from automations.models import Action, Delivery, Execution, ExecutionState, Integration
from automations.occasions import speaking_to
from automations.verdicts import Reason
from runs.models import Member, Role

INTEGRATION_DISABLED = "integration_disabled"


def integration_disabled(integration: Integration, now: datetime) -> None:
    """In the transaction that disables it: an entry in the history, and a message on its way."""
    admins = _admins(integration)
    why = {"integration": integration.name, "reason": integration.disabled_reason}
    execution = Execution.objects.create(
        automation_name=integration.name,
        event_type=INTEGRATION_DISABLED,
        dedup_key=f"{INTEGRATION_DISABLED}:{integration.pk}:{now.isoformat()}",
        state=ExecutionState.PENDING if admins else ExecutionState.FINISHED,
        explanation=Reason(INTEGRATION_DISABLED, why).as_json(),
        organization=integration.team.organization,
        team=integration.team,
        created_at=now,
        finished_at=None if admins else now,
    )
    if admins:
        _mail(execution, integration, admins)
        transaction.on_commit(partial(doorbell.ring_drain, None), robust=True)


def _admins(integration: Integration) -> list[str]:
    """Who can do something about it and can be reached."""
    if not settings.EMAIL_HOST and settings.EMAIL_BACKEND.endswith("smtp.EmailBackend"):
        return []
    people = Member.objects.filter(team=integration.team, role=Role.ADMIN, user__is_active=True)
    return list(people.exclude(user__email="").values_list("user__username", flat=True))


def _mail(execution: Execution, integration: Integration, admins: list[str]) -> None:
    page = reverse("admin:automations_integration_change", args=[integration.pk])
    with speaking_to(integration.team):
        subject = _("Tripline disabled the integration “${name}”")
        message = _(
            "Nothing is sent to “%(name)s” (%(host)s) any more. What is meant for it is held, and goes out "
            "when somebody enables it again."
        ) % {"name": integration.name, "host": integration.host or integration.type}
        config = {"to": admins, "subject": subject, "message": ""}
        occasion = Occasion(
            {"name": integration.name},
            why=f"{message} {integration.why_disabled}",
            link=settings.TRIPLINE_BASE_URL + page,
            audience=f"team:{integration.team_id}",
        )
        body = ACTIONS["email"].render(Action(type="email", config=config), occasion)
    Delivery.objects.create(
        execution=execution,
        type="email",
        body=body,
        created_at=execution.created_at,
        next_at=execution.created_at,
    )
