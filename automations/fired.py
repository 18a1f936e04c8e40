"""What pages say of executions: why, about what, and what came of their messages, for one reader."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.db.models import Prefetch, Q, QuerySet
from django.utils.translation import gettext_lazy

from automations import access, wording
from automations.api.history import sentence
from automations.events.base import EVENTS
from automations.models import Action, Attempt, Delivery, DeliveryState, Execution
from automations.notices import INTEGRATION_DISABLED
from runs.access import Person
from runs.models import Project


@dataclass(frozen=True, slots=True)
class Fired:
    """An execution for a reader: why, about what, and what came of its messages."""

    execution: Execution
    why: str
    event: str
    subject: str
    subject_url: str
    deliveries: Sequence[Sent] = ()

    @property
    def can_be_sent_again(self) -> bool:
        return any(sent.delivery.state == DeliveryState.FAILED for sent in self.deliveries)


@dataclass(frozen=True, slots=True)
class Sent:
    """A message: where to (without a name where the reader does not see it), and each try."""

    delivery: Delivery
    action: str
    body: str = ""
    attempts: Sequence[Try] = ()


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt; what was sent (secrets redacted) as it is read, headers and body apart."""

    attempt: Attempt
    request: str
    body: str
    response: str


def read(executions: QuerySet[Execution], person: Person, *, attempts: bool = False) -> list[Fired]:
    """In the queryset's order; `attempts` with what was sent and answered."""
    messages = Delivery.objects.order_by("pk").select_related("integration", "action")
    if attempts:
        tries = Prefetch("attempts", queryset=Attempt.objects.order_by("number"))
        messages = messages.prefetch_related(tries)
    else:
        messages = messages.defer("body")
    found = list(
        executions.select_related("run__project__team", "automation").prefetch_related(
            Prefetch("deliveries", queryset=messages)
        )
    )
    used = {sent.integration_id for each in found for sent in each.deliveries.all() if sent.integration_id}
    seen = set(access.integrations(person).filter(pk__in=used).values_list("pk", flat=True))
    return [_fired(each, seen, attempts=attempts) for each in found]


def by_id(pks: Sequence[int]) -> dict[int, Fired]:
    """Without their messages."""
    found = Execution.objects.filter(pk__in=pks).select_related("run__project__team")
    return {each.pk: _fired(each, None, attempts=False) for each in found}


def _fired(execution: Execution, seen: set[int] | None, *, attempts: bool) -> Fired:
    subject, url = subject_of(execution)
    deliveries = [] if seen is None else execution.deliveries.all()
    return Fired(
        execution,
        why=sentence(execution),
        event=event_label(execution.event_type),
        subject=subject,
        subject_url=url,
        deliveries=[
            _sent(each, seen or set()) if attempts else Sent(each, _action_words(each, seen or set()))
            for each in deliveries
        ],
    )


def _sent(delivery: Delivery, seen: set[int]) -> Sent:
    tries = [_try(attempt) for attempt in delivery.attempts.all()]
    return Sent(delivery, _action_words(delivery, seen), readable(delivery.body), tries)


def _try(attempt: Attempt) -> Try:
    request = {name: value for name, value in attempt.request.items() if name != "body"}
    return Try(
        attempt,
        request=json.dumps(request, indent=2, ensure_ascii=False) if request else "",
        body=readable(str(attempt.request.get("body", ""))),
        response=readable(attempt.response),
    )


def readable(text: str) -> str:
    """As it is, but indented where it is JSON."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _action_words(delivery: Delivery, seen: set[int]) -> str:
    """From the rule's action, or where that is gone from what is known of the message."""
    if delivery.action is not None:
        delivery.action.integration = delivery.integration
        return wording.action_words(delivery.action, seen)
    return wording.action_words(Action(type=delivery.type, integration=delivery.integration), seen)


_OF_ITSELF = {
    INTEGRATION_DISABLED: gettext_lazy("An integration is disabled"),
    "": gettext_lazy("An integration is tried by hand"),
}


def event_label(event_type: str) -> str:
    """The label of an event type, or of what Tripline observes of itself."""
    if event_type in EVENTS:
        return str(EVENTS[event_type].label)
    return str(_OF_ITSELF.get(event_type, event_type))


def subject_of(execution: Execution) -> tuple[str, str]:
    """The run or the artifact, by the name it had for the event, and its page ("" when it is gone)."""
    then: dict[str, Any] = execution.snapshot.get("event", {})
    if run := execution.run:
        return run.name, "" if run.deleted_at else run.page
    if name := then.get("artifact_version") or then.get("artifact_collection_name"):
        return str(name), urlsplit(str(then.get("artifact_url", ""))).path
    return str(then.get("run_name") or ""), ""


def in_project(executions: QuerySet[Execution], project: Project) -> QuerySet[Execution]:
    """What rules did about a project; the event may be pruned by now, so each link counts."""
    return executions.filter(team=project.team_id).filter(
        Q(run__project=project)
        | Q(event__project=project)
        | Q(automation__project=project)
        | Q(automation__collection__project=project)
    )
