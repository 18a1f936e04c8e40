"""In 24 hours an automation fires at most once per run (R52)."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from automations.models import Execution, Mode, RunLimit
from automations.services.rules import save_automation, set_mode
from registry.services.versions import create_version
from runs.models import RunStatus
from runs.services.runs import set_status
from tests import cast
from tests.cast import Cast, Clock, fired, log, new_run, rule, skipped, steps, threshold

pytestmark = pytest.mark.django_db

DAY = 86_400


def test_further_matches_are_one_skipped_row_with_a_count(penguins: Cast, clock: Clock) -> None:
    automation = rule(penguins.project, "run_metric_threshold", threshold())
    run = new_run(penguins.project)
    for _batch in range(3):
        log(run, "loss", [0.9, 0.1, 0.9])
        cast.decide()
        clock.move(hours=1)
    assert steps(automation) == [0]
    (row,) = skipped(automation)
    assert row.count == 5
    assert row.run == run
    data = row.explanation["data"]
    assert (data["first_step"], data["last_step"], data["count"]) == (2, 8, 5)
    assert row.deliveries.count() == 0


def test_the_period_rolls_from_the_acceptance_of_the_change_that_fired(penguins: Cast, clock: Clock) -> None:
    automation = rule(penguins.project, "run_metric_threshold", threshold())
    run = new_run(penguins.project)
    log(run, "loss", [0.9])  # accepted now, decided ten hours later
    clock.move(hours=10)
    cast.decide()
    clock.move(seconds=14 * 3600 - 1)
    log(run, "loss", [0.9])
    clock.move(seconds=1)
    log(run, "loss", [0.9])
    cast.decide()
    assert steps(automation) == [0, 2]
    assert [row.count for row in skipped(automation)] == [1]


def test_each_period_has_its_own_skipped_row(penguins: Cast, clock: Clock) -> None:
    automation = rule(penguins.project, "run_metric_threshold", threshold())
    run = new_run(penguins.project)
    for _day in range(3):
        log(run, "loss", [0.9, 0.9])
        clock.move(hours=24)
    cast.decide()
    assert steps(automation) == [0, 2, 4]
    assert [row.explanation["data"]["first_step"] for row in skipped(automation)] == [1, 3, 5]


def test_each_run_and_each_rule_is_counted_alone(penguins: Cast) -> None:
    automations = [rule(penguins.project, "run_metric_threshold", threshold()) for _rule in range(2)]
    for _run in range(3):
        log(new_run(penguins.project), "loss", [0.9, 0.9])
    cast.decide()
    for automation in automations:
        assert fired(automation) == 3
        assert [row.count for row in skipped(automation)] == [1, 1, 1]


@pytest.mark.parametrize("hours", [24, 24 * 365 * 20])
def test_without_a_period_it_fires_once_ever_per_run(penguins: Cast, clock: Clock, hours: int) -> None:
    automation = rule(penguins.project, "run_metric_threshold", threshold(), period=None)
    run = new_run(penguins.project)
    log(run, "loss", [0.9])
    clock.move(hours=hours)
    log(run, "loss", [0.9])
    cast.decide()
    assert steps(automation) == [0]
    assert [row.count for row in skipped(automation)] == [1]


def test_period_zero_fires_on_every_match_up_to_a_hundred_in_a_batch(penguins: Cast) -> None:
    automation = rule(penguins.project, "run_metric_threshold", threshold(), period=0)
    run = new_run(penguins.project)
    log(run, "loss", [0.9] * 250)
    log(run, "loss", [0.9] * 100)
    cast.decide()
    assert steps(automation) == [*range(100), *range(250, 350)]
    (row,) = skipped(automation)
    assert row.count == 150
    assert (row.explanation["data"]["first_step"], row.explanation["data"]["last_step"]) == (100, 249)


@pytest.mark.parametrize(("per_status", "fires", "held_back"), [(False, 1, 3), (True, 2, 2)])
def test_each_state_can_be_counted_alone(
    penguins: Cast, per_status: bool, fires: int, held_back: int
) -> None:
    automation = rule(
        penguins.project, "run_status", {"statuses": ["running", "failed"]}, per_status=per_status
    )
    run = new_run(penguins.project)
    for status in ("crashed", "running", "failed"):
        set_status(run, RunStatus(status), actor=None)
    cast.decide()
    assert fired(automation) == fires
    assert sum(row.count for row in skipped(automation)) == held_back


def test_editing_disabling_and_renaming_do_not_reset_the_limit(penguins: Cast) -> None:
    automation = rule(penguins.project, "run_metric_threshold", threshold())
    run = new_run(penguins.project)
    log(run, "loss", [0.9])
    cast.decide()

    set_mode(automation, Mode.DISABLED)
    set_mode(automation, Mode.ACTIVE)
    automation.name = "another name"
    automation.config = threshold(value=0.5)
    save_automation(automation, scope=penguins.project)
    log(run, "loss", [0.9])
    cast.decide()
    assert steps(automation) == [0]
    assert [row.count for row in skipped(automation)] == [1]


def test_an_action_that_fails_has_fired_all_the_same(penguins: Cast) -> None:
    hook = cast.webhook(penguins.team, "https://example.com/hook")
    automation = rule(penguins.project, "run_metric_threshold", threshold(), actions=cast.sends(hook))
    run = new_run(penguins.project)
    log(run, "loss", [0.9])
    cast.decide()
    Execution.objects.update(state="failed")
    log(run, "loss", [0.9])
    cast.decide()
    assert fired(automation) == 1


def test_artifact_events_are_not_limited(penguins: Cast) -> None:
    automation = rule(penguins.project, "alias_added", {"alias": "latest"})
    fish = cast.collection(penguins.project)
    for _version in range(3):
        create_version(fish, actor=None)
    cast.decide()
    assert fired(automation) == 3
    assert not RunLimit.objects.exists()


@pytest.mark.parametrize("period", [1, DAY, 10**9])
def test_a_long_period_is_kept_to(penguins: Cast, clock: Clock, period: int) -> None:
    automation = rule(penguins.project, "run_metric_threshold", threshold(), period=period)
    run = new_run(penguins.project)
    log(run, "loss", [0.9])
    log(run, "loss", [0.9])
    cast.decide()
    assert fired(automation) == 1
    limit = RunLimit.objects.get()
    assert limit.fired_at == run.status_changes.get().received_at
    clock.move(seconds=period - 1)
    log(run, "loss", [0.9])
    cast.decide()
    assert fired(automation) == 1
    clock.move(seconds=1)
    log(run, "loss", [0.9])
    cast.decide()
    assert fired(automation) == 2
    limit.refresh_from_db()
    assert limit.fired_at == clock()


@pytest.mark.parametrize("period", [-1, 10**12, 2**63])
def test_an_impossible_period_is_refused_by_field(penguins: Cast, period: int) -> None:
    with pytest.raises(ValidationError) as refusal:
        rule(penguins.project, "run_metric_threshold", threshold(), period=period)
    assert list(refusal.value.message_dict) == ["period"]
