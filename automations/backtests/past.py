"""A rule on artifacts over the events that are kept: each is decided once more, as it was then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from automations.events.base import EVENTS
from automations.models import Automation, Event

# So far back among all events one looks, for so many of the rule's type; and so many matches are told.
_LOOK_BACK, _MOST, TOLD = 100_000, 5000, 20


@dataclass(frozen=True, slots=True)
class Match:
    """An event on which it would have fired, and why, in the active language."""

    event: Event
    text: str


@dataclass(frozen=True, slots=True)
class Past:
    """How many changes of the type its scope saw, on how many it would have fired, and the newest of them."""

    seen: int
    fired: int
    newest: Sequence[Match]


def past(rule: Automation, *, since: datetime) -> Past:
    """What a checked rule, which need not be saved, would have done since then."""
    event_type: Any = EVENTS[rule.event_type]
    seen = [event for event in _events(rule, since) if rule.scope_key in event.data["scopes"]]
    fired = []
    for event in seen:
        facts = event_type.gather(event, rule.config)
        if event_type.decide(rule.config, facts).hits:
            fired.append((event, facts))
    newest = [
        Match(event, event_type.explain(event_type.describe(rule.config, facts, 0).as_json()))
        for event, facts in fired[:TOLD]
    ]
    return Past(len(seen), len(fired), newest)


def _events(rule: Automation, since: datetime) -> QuerySet[Event]:
    last = Event.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    found = Event.objects.filter(pk__gt=last - _LOOK_BACK, type=rule.event_type, received_at__gte=since)
    return found.order_by("-pk")[:_MOST]
