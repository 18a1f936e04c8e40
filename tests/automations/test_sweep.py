"""Every doorbell can fail to ring. The sweep rings for what was left behind, and does not hammer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from automations import evaluation
from automations.delivery import drain
from automations.models import Delivery, Event, Execution
from automations.services import targets
from automations.services.rules import ActionDraft
from automations.sweep import sweep
from registry.services.versions import create_version
from runs.models import Lane
from tests import cast
from tests.cast import Cast, Clock, fired, log, new_run, rule, threshold

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("noop_is_sent")]

Rings = list[tuple[str, int | None]]


def heard(rings: Rings) -> Rings:
    """What rang since the last time somebody listened."""
    found = list(rings)
    rings.clear()
    return found


def test_a_lane_is_rung_for_when_its_own_bell_should_have_come(
    penguins: Cast, clock: Clock, rings: Rings
) -> None:
    automation = rule(penguins.project, "run_metric_threshold", threshold())
    run = new_run(penguins.project)
    log(run, "loss", [0.9])
    heard(rings)
    sweep()
    assert heard(rings) == []
    clock.move(seconds=6)
    sweep()
    assert heard(rings) == [("evaluate_lane", run.pk)]
    sweep()
    assert heard(rings) == [], "somebody may be at it"
    clock.move(seconds=31)
    sweep()
    assert heard(rings) == [("evaluate_lane", run.pk)]

    evaluation.evaluate_lane(run.pk)
    assert fired(automation) == 1
    clock.move(minutes=10)
    drain(None)
    sweep()
    assert heard(rings) == []


def test_a_lane_that_was_idle_for_long_gets_its_five_seconds(
    penguins: Cast, clock: Clock, rings: Rings
) -> None:
    rule(penguins.project, "run_metric_threshold", threshold())
    run = new_run(penguins.project)
    cast.decide()
    clock.move(hours=1)
    log(run, "loss", [0.1])
    heard(rings)
    sweep()
    assert heard(rings) == []
    clock.move(seconds=6)
    sweep()
    assert heard(rings) == [("evaluate_lane", run.pk)]


def test_an_artifact_event_is_rung_for(penguins: Cast, clock: Clock, rings: Rings) -> None:
    create_version(cast.collection(penguins.project), actor=None)
    events = list(Event.objects.order_by("pk").values_list("pk", flat=True))
    heard(rings)
    sweep()
    assert heard(rings) == []
    clock.move(seconds=6)
    sweep()
    assert heard(rings) == [("evaluate_event", pk) for pk in events]
    sweep()
    assert heard(rings) == []
    cast.decide()
    clock.move(minutes=10)
    sweep()
    assert heard(rings) == []


def test_deliveries_that_are_due_are_rung_for_once_per_integration(
    penguins: Cast, clock: Clock, rings: Rings
) -> None:
    first, second, third = (
        cast.webhook(penguins.team, f"https://example.com/{name}", name=name) for name in "abc"
    )
    actions = [*cast.sends(first), *cast.sends(second), *cast.sends(third), ActionDraft("noop")]
    rule(penguins.project, "run_metric_threshold", threshold(), actions=actions)
    for _run in range(2):
        log(new_run(penguins.project), "loss", [0.9])
    cast.decide()
    Delivery.objects.filter(integration=second).update(next_at=clock.move(minutes=1))
    clock.move(minutes=-1)
    targets.set_integration_enabled(third, enabled=False)
    heard(rings)
    sweep()
    assert sorted(heard(rings), key=str) == [("drain", first.pk), ("drain", None)]
    clock.move(minutes=1)
    sweep()
    assert ("drain", second.pk) in heard(rings)


def test_with_every_bell_lost_the_sweep_alone_brings_everything_through(
    penguins: Cast, clock: Clock, rings: Rings
) -> None:
    on_value = rule(penguins.project, "run_metric_threshold", threshold(), name="value")
    on_alias = rule(penguins.project, "alias_added", {"alias": "latest"}, name="alias")
    for _run in range(3):
        log(new_run(penguins.project), "loss", [0.9])
    create_version(cast.collection(penguins.project), actor=None)
    answers: dict[str, Callable[[Any], None]] = {
        "evaluate_lane": evaluation.evaluate_lane,
        "evaluate_event": evaluation.evaluate_event,
        "drain": drain,
    }
    for _sweep in range(3):
        heard(rings)
        clock.move(seconds=6)
        sweep()
        for task, argument in heard(rings):
            answers[task](argument)
    assert (fired(on_value), fired(on_alias)) == (3, 1)
    assert set(Execution.objects.values_list("state", flat=True)) == {"finished"}
    assert not Lane.objects.exclude(cursor=1, head=1).exclude(cursor=2, head=2).exists()


def test_the_sweep_also_looks_for_runs_that_fell_silent(penguins: Cast, clock: Clock) -> None:
    from runs.services.runs import heartbeat

    run = new_run(penguins.project)
    heartbeat(run, actor=None)
    for _sweep in range(62):
        clock.move(seconds=5)
        sweep()
    run.refresh_from_db()
    assert run.status == "crashed"
