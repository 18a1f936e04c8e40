"""Integrations that do not take messages: disabled, or failing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from django.db.models import Count, Min, Q, QuerySet
from django.urls import reverse
from django.utils.translation import gettext as _

from automations import access
from automations.models import Attempt, Delivery, DeliveryState, Integration
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
            why=integration.disabled_reason,
            waiting=integration.held,
            link=_link(person, integration),
        )


def _failing(person: Person, mine: QuerySet[Integration]) -> Iterator[Troubled]:
    """Those with messages that were tried in vain and are tried again."""
    again = Delivery.objects.filter(state=DeliveryState.PENDING, tries__gt=0, integration__disabled_at=None)
    rows = again.filter(integration__in=mine.order_by().values("pk")).order_by()
    found = rows.values_list("integration").annotate(Count("pk"), since=Min("created_at"))
    counted = {pk: (count, since) for pk, count, since in found.order_by("since")[:LOOK_AT]}
    for integration in mine.filter(pk__in=counted):
        count, since = counted[integration.pk]
        yield Troubled(
            integration,
            is_disabled=False,
            since=since,
            why=_last_trouble(again.filter(integration=integration)),
            waiting=count,
            link=_link(person, integration),
        )


def _last_trouble(deliveries: QuerySet[Delivery]) -> str:
    """What the last attempt met with, secrets redacted."""
    last = Attempt.objects.filter(delivery__in=deliveries).order_by("-pk").first()
    if last is None:
        return ""
    return last.error or _("It answered with status %(status)s.") % {"status": last.status_code}


def _link(person: Person, integration: Integration) -> str:
    """The page where this person can mend it, "" when they cannot."""
    if person.is_staff and runs_access.has_role(person, integration.team, Role.ADMIN):
        return reverse("admin:automations_integration_change", args=[integration.pk])
    return ""
