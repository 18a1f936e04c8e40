"""Integrations that do not take messages: disabled, or failing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from django.db.models import Count, Q, QuerySet
from django.urls import reverse
from django.utils.translation import gettext as _

from automations import access
from automations.models import Attempt, DeliveryState, Integration
from runs import access as runs_access
from runs.access import Person
from runs.models import Role

# So many are shown, those of the longest trouble first.
LOOK_AT = 50


@dataclass(frozen=True, slots=True)
class Troubled:
    """An integration that is disabled (else failing), since when, and why. `link` is where one mends it."""

    integration: Integration
    is_disabled: bool
    since: datetime
    why: str
    waiting: int
    link: str


def troubled(person: Person) -> list[Troubled]:
    """Those of the person's teams, the longest trouble first."""
    mine = access.integrations(person).select_related("team")
    found = [*_disabled(person, mine), *_failing(person, mine)]
    return sorted(found, key=lambda each: each.since)[:LOOK_AT]


def _disabled(person: Person, mine: QuerySet[Integration]) -> Iterator[Troubled]:
    disabled = mine.filter(disabled_at__isnull=False).order_by("disabled_at")
    held = Q(deliveries__state=DeliveryState.HELD)
    for integration in disabled.annotate(held=Count("deliveries", filter=held))[:LOOK_AT]:
        yield Troubled(
            integration,
            is_disabled=True,
            since=cast(datetime, integration.disabled_at),
            why=integration.why_disabled,
            waiting=integration.held,
            link=_link(person, integration),
        )


def _failing(person: Person, mine: QuerySet[Integration]) -> Iterator[Troubled]:
    """Those whose last message did not arrive."""
    failing = mine.filter(disabled_at=None, outlet__failing_since__isnull=False).select_related("outlet")
    pending = Q(deliveries__state=DeliveryState.PENDING)
    rows = failing.annotate(waiting=Count("deliveries", filter=pending)).order_by("outlet__failing_since")
    for integration in rows[:LOOK_AT]:
        yield Troubled(
            integration,
            is_disabled=False,
            since=cast(datetime, integration.outlet.failing_since),
            why=_last_trouble(integration),
            waiting=integration.waiting,
            link=_link(person, integration),
        )


def _last_trouble(integration: Integration) -> str:
    """What the last attempt met with, secrets redacted."""
    last = Attempt.objects.filter(delivery__integration=integration).order_by("-pk").first()
    if last is None:
        return ""
    return last.error or _("It answered with status %(status)s.") % {"status": last.status_code}


def _link(person: Person, integration: Integration) -> str:
    """The page where this person can mend it, "" when they cannot."""
    if person.is_staff and runs_access.has_role(person, integration.team, Role.ADMIN):
        return reverse("admin:automations_integration_change", args=[integration.pk])
    return ""
