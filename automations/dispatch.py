"""From a decision to messages on their way: executions are saved, and each action is rendered once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from django.db import transaction

from automations import doorbell, executions, turns
from automations.actions.base import ACTIONS
from automations.models import (
    Action,
    Attempt,
    Delivery,
    DeliveryState,
    Event,
    Execution,
    ExecutionState,
    Integration,
    Order,
    Secret,
)
from automations.occasions import occasion_of, speaking_to, team_of
from automations.template import TemplateError
from runs import cause, statements
from runs.models import Team
from runs.statements import Columns


def send_actions(firings: Sequence[tuple[Execution, Event]]) -> None:
    """Save executions, each about an event, and put their messages on their way; a shadow sends none.

    A constant number of statements, however many there are, of however many automations.
    """
    actions = _actions({execution.automation_id for execution, _event in firings})
    for execution, event in firings:
        _prepare(execution, event, actions[execution.automation_id])
    Execution.objects.bulk_create([execution for execution, _event in firings])
    deliveries = [
        _rendered(execution, action, event)
        for execution, event in firings
        if execution.state != ExecutionState.SHADOW
        for action in actions[execution.automation_id]
    ]
    Delivery.objects.bulk_create([delivery for delivery, _problem in deliveries])
    _fail(deliveries)
    waiting = {row.integration_id for row, _problem in deliveries if row.state == DeliveryState.PENDING}
    for integration_id in waiting:
        transaction.on_commit(partial(doorbell.ring_drain, integration_id), robust=True)


def _actions(automation_ids: Collection[int | None]) -> Mapping[int | None, list[Action]]:
    """The actions of these automations, in their order, with what a message needs."""
    found: dict[int | None, list[Action]] = {pk: [] for pk in automation_ids}
    statement = (
        f"{_READ_ACTIONS} WHERE a.automation_id IN ({statements.places(len(found))})"
        " ORDER BY a.automation_id, a.position"
    )
    for row in statements.rows(statement, list(found)):
        action, integration, *needed = statements.split(row, [_ACTION, *_AROUND.values()])
        action.integration = integration
        if integration:
            integration.team, integration.access_token, integration.signing_secret = needed
        found[action.automation_id].append(action)
    return found


_ACTION = Columns(Action, "a")
_AROUND: dict[str, Columns[Any]] = {
    "automations_integration i ON i.id = a.integration_id": Columns(Integration, "i"),
    "runs_team t ON t.id = i.team_id": Columns(Team, "t"),
    "automations_secret token ON token.id = i.access_token_id": Columns(Secret, "token"),
    "automations_secret sign ON sign.id = i.signing_secret_id": Columns(Secret, "sign"),
}
_READ_ACTIONS = (
    f"SELECT {', '.join(part.text for part in (_ACTION, *_AROUND.values()))} FROM automations_action a"  # noqa: S608
    + "".join(f" LEFT JOIN {join}" for join in _AROUND)
)


def _prepare(execution: Execution, event: Event, actions: Sequence[Action]) -> None:
    if execution.state == ExecutionState.SHADOW:
        actions = ()
        execution.finished_at = execution.created_at
    elif all(ACTIONS[action.type].immediate for action in actions):
        execution.state, execution.finished_at = ExecutionState.FINISHED, execution.created_at
    execution.snapshot = {
        "event": {name: value for name, value in event.data.items() if name != "scopes"},
        "actions": [_as_it_was(action) for action in actions],
    }


def _as_it_was(action: Action) -> dict[str, Any]:
    target = {"integration": action.integration.name} if action.integration else {}
    return {"type": action.type, **target, **action.config}


def _rendered(execution: Execution, action: Action, event: Event) -> tuple[Delivery, str]:
    """The message, rendered once: what every attempt sends; and why it could not be, or "".

    One that cannot be rendered fails alone: the rule's other actions, and other rules, go on.
    """
    now = execution.created_at
    action_type = ACTIONS[action.type]
    # A test is no news: it overtakes nothing, and nothing overtakes it.
    order = Order.ANY if execution.is_test else action_type.order(action.config)
    delivery = Delivery(
        execution=execution,
        action=action,
        integration=action.integration,
        type=action.type,
        order=order,
        order_key=turns.key(action, event, order),
        order_seq=event.sequence,
        cause=cause.following(event.cause, execution.pk),
        created_at=now,
        next_at=now,
    )
    if action_type.immediate:
        return _ended(delivery, DeliveryState.SUCCEEDED, now), ""
    try:
        with speaking_to(team_of(event, action)):
            delivery.body = action_type.render(action, occasion_of(execution, event, action))
    except TemplateError as error:
        return _ended(delivery, DeliveryState.FAILED, now), f"{error}."
    return delivery, ""


def _ended(delivery: Delivery, state: DeliveryState, now: datetime) -> Delivery:
    delivery.state, delivery.next_at, delivery.finished_at = state, None, now
    return delivery


def _fail(deliveries: Sequence[tuple[Delivery, str]]) -> None:
    """The attempt that tells why a message could not be rendered."""
    failed = [(delivery, problem) for delivery, problem in deliveries if problem]
    if not failed:
        return
    Attempt.objects.bulk_create(
        Attempt(delivery=row, number=1, started_at=row.created_at, duration=0.0, error=problem)
        for row, problem in failed
    )
    pks = [row.pk for row, _problem in failed]
    Delivery.objects.filter(pk__in=pks).update(attempt_count=1)
    executions.settle((row.execution_id for row, _problem in failed), failed[0][0].created_at)
