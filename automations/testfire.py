"""Firing an automation by hand: its actions go out as they would, marked as a test.

With a past event the message is the one that this event made, or would have made; without one, an example
is made up. A test does not count for the daily limit and says so: in the header `Tripline-Test`, in the
title of a Slack message or an e-mail, and in the history.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from automations import dispatch
from automations.access import Scope
from automations.events.base import EVENTS
from automations.events.metrics import MetricEventType
from automations.models import Automation, Event, Execution, ExecutionState
from automations.services.rules import team_of_scope
from automations.verdicts import Reason
from registry.models import Collection, Registry
from runs import clock
from runs.models import Organization, Project, User


@transaction.atomic
def fire_by_hand(automation: Automation, *, actor: User, event: Event | None = None) -> Execution:
    """Send the automation's actions now; returns the execution, whose deliveries are on their way.

    Raises `ValidationError` for an event of another type, or of somewhere that it does not watch.
    """
    if event is not None:
        _check(event, automation)
    scope = automation.scope
    execution = Execution(
        automation=automation,
        automation_name=automation.name,
        event_type=automation.event_type,
        event=event,
        is_test=True,
        dedup_key=f"test:{uuid.uuid4().hex}",
        state=ExecutionState.PENDING,
        explanation=_explanation(automation, event, actor),
        organization=_organization(scope),
        team=event.team if event else team_of_scope(scope),
        registry=event.registry if event else _registry(scope),
        run=event.run if event else None,
        version=event.version if event else None,
        created_at=clock.now(),
    )
    dispatch.send_actions([(execution, event or _example(automation, actor))])
    return execution


def _check(event: Event, automation: Automation) -> None:
    if event.type != automation.event_type:
        raise ValidationError({"event": _("This event is of another type than the automation's.")})
    # What its own rules never send there, a test does not send there either.
    if automation.scope_key not in event.data["scopes"]:
        raise ValidationError({"event": _("This event happened where the automation does not watch.")})


def _explanation(automation: Automation, event: Event | None, actor: User) -> dict[str, Any]:
    """The real one, where the event has fired this automation before."""
    known = Execution.objects.filter(automation=automation, event=event, is_test=False)
    before = known.order_by("-pk").first() if event else None
    return before.explanation if before else Reason("test", {"actor": actor.username}).as_json()


def _example(automation: Automation, actor: User) -> Event:
    """An unsaved event with a value for every variable of the type."""
    event_type = EVENTS[automation.event_type]
    scope = automation.scope
    samples = {**_run_samples(), **_artifact_samples(scope), **_place_samples(scope)}
    metric = automation.config.get("metric") or "loss"
    samples |= {"event_author": actor.username, "metric_name": metric, "metric_filter": metric}
    if isinstance(event_type, MetricEventType):
        samples["metric_filter"] = event_type.filter_text(automation.config)
    wanted = {name.removesuffix(".*") for name in event_type.all_variables()}
    return Event(
        pk=0,
        sequence=0,
        type=automation.event_type,
        organization=_organization(scope),
        team=team_of_scope(scope),
        registry=_registry(scope),
        data={name: value for name, value in samples.items() if name in wanted},
        received_at=clock.now(),
    )


def _place_samples(scope: Scope) -> dict[str, Any]:
    team, registry = team_of_scope(scope), _registry(scope)
    project = scope.project if isinstance(scope, Collection) else scope
    anywhere = "" if registry else "example-project"
    return {
        "team_name": team.name if team else "",
        "entity_name": team.name if team else str(_organization(scope)),
        "project_name": project.name if isinstance(project, Project) else anywhere,
        "registry_name": registry.name if registry else "",
    }


def _run_samples() -> dict[str, Any]:
    return {
        "run_id": "example1",
        "run_name": "example-run",
        "run_url": f"{settings.TRIPLINE_BASE_URL}/example/run",
        "run_status": "running",
        "metric_value": 0.5,
        "metric_values": [0.4, 0.5],
        "step": 41,
    }


def _artifact_samples(scope: Scope) -> dict[str, Any]:
    name = scope.name if isinstance(scope, Collection) else "example-model"
    return {
        "artifact_collection_name": name,
        "artifact_version": f"{name}:v3",
        "artifact_version_string": "v3",
        "artifact_version_index": 3,
        "artifact_digest": "0" * 64,
        "artifact_url": f"{settings.TRIPLINE_BASE_URL}/artifacts/example",
        "artifact_metadata": {},
        "previous_version": "v2",
        "alias": "production",
        "tag": "example",
    }


def _registry(scope: Scope) -> Registry | None:
    return scope.registry if isinstance(scope, Collection) else scope if isinstance(scope, Registry) else None


def _organization(scope: Scope) -> Organization:
    if isinstance(scope, Organization):
        return scope
    if team := team_of_scope(scope):
        return team.organization
    registry = _registry(scope)
    return registry.organization if registry else Organization.default()
