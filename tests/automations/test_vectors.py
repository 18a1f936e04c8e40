"""The vectors of the semantics, by their numbers, as far as the present event types go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from automations.models import Event
from registry.services.collections import create_collection, set_alias
from registry.services.versions import create_version, link_version
from runs.models import RunStatus
from runs.services.runs import set_status, update_run
from tests import cast
from tests.cast import Cast, Clock, fired, log, new_run, rule, skipped, steps, threshold

pytestmark = pytest.mark.django_db


def fires_at(who: Cast, condition: dict[str, object], values: Sequence[float]) -> list[int]:
    """The steps, counted from 1, at which a rule that limits nothing fires on a run that logs these."""
    automation = rule(who.project, "run_metric_threshold", condition, period=0)
    log(new_run(who.project), str(condition["metric"]), values, first_step=1)
    cast.decide()
    return steps(automation)


def test_v1_an_average_over_five_fires_on_the_fifth_value(penguins: Cast) -> None:
    condition = threshold("accuracy", "above", 0.6, aggregation="average")
    assert fires_at(penguins, condition, [0.5, 0.6, 0.6, 0.6, 0.8]) == [5]


@pytest.mark.parametrize(("comparison", "expected"), [("above", []), ("above_or_equal", [5])])
def test_v2_an_average_of_exactly_the_threshold_is_not_above_it(
    penguins: Cast, comparison: str, expected: list[int]
) -> None:
    condition = threshold("accuracy", comparison, 0.6, aggregation="average")
    assert fires_at(penguins, condition, [0.5, 0.6, 0.6, 0.6, 0.7]) == expected


def test_v3_a_window_that_is_not_full_is_not_evaluated(penguins: Cast) -> None:
    condition = threshold("accuracy", "above", 0.6, aggregation="average")
    assert fires_at(penguins, condition, [0.9] * 4) == []
    assert fires_at(penguins, {**condition, "metric": "recall"}, [0.9] * 5) == [5]


@pytest.mark.parametrize(("aggregation", "expected"), [("max", [5]), ("min", [])])
def test_v4_the_maximum_reaches_ten_and_the_minimum_does_not(
    penguins: Cast, aggregation: str, expected: list[int]
) -> None:
    condition = threshold("reward", "above_or_equal", 10, aggregation=aggregation)
    assert fires_at(penguins, condition, [1, 2, 3, 4, 10]) == expected


@pytest.mark.parametrize(
    ("status", "fires"), [(RunStatus.FAILED, 1), (RunStatus.CRASHED, 1), (RunStatus.KILLED, 0)]
)
def test_v12_a_failed_and_a_crashed_run_fire_and_a_killed_one_never(
    penguins: Cast, status: RunStatus, fires: int
) -> None:
    states = ["running", "finished", "failed"]
    on_status = rule(penguins.project, "run_status", {"statuses": states}, name="status", period=0)
    on_value = rule(penguins.project, "run_metric_threshold", threshold(), name="value", period=0)
    run = new_run(penguins.project)
    cast.decide()
    assert fired(on_status) == 1, "the creation as running is a change, whatever comes later"

    set_status(run, status, actor=penguins.ada)
    log(run, "loss", [0.9])
    cast.decide()

    assert fired(on_status) == 1 + fires
    assert fired(on_value) == fires, "what a killed run logs is stored and not evaluated"
    assert run.batches.count() == 1


def test_v13_a_run_that_finishes_within_a_day_of_starting_is_skipped(penguins: Cast, clock: Clock) -> None:
    automation = rule(penguins.project, "run_status", {"statuses": ["running", "finished"]})
    run = new_run(penguins.project)
    clock.move(hours=1)
    set_status(run, RunStatus.FINISHED, actor=penguins.ada)
    cast.decide()
    assert fired(automation) == 1
    (held_back,) = skipped(automation)
    assert held_back.count == 1

    clock.move(hours=23)
    set_status(run, RunStatus.RUNNING, actor=penguins.ada)
    cast.decide()
    assert fired(automation) == 2


def test_v14_two_runs_that_meet_the_threshold_are_two_executions(penguins: Cast) -> None:
    automation = rule(penguins.project, "run_metric_threshold", threshold())
    first, second = new_run(penguins.project), new_run(penguins.project)
    for run in (first, second):
        log(run, "loss", [0.9])
    cast.decide()
    assert [execution.run for execution in automation.executions.order_by("pk")] == [first, second]


def test_v16_latest_moves_with_each_new_version_and_each_move_is_an_event(penguins: Cast) -> None:
    automation = rule(penguins.project, "alias_added", {"alias": "^latest$"})
    collection = cast.collection(penguins.project)
    old, _created = create_version(collection, actor=penguins.ada)
    new, _created = create_version(collection, actor=penguins.ada)
    cast.decide()

    assert fired(automation) == 2
    assert not old.aliases.exists()
    assert [alias.name for alias in new.aliases.all()] == ["latest"]
    move = Event.objects.filter(type="alias_added").latest("pk")
    assert (move.data["previous_version"], move.data["artifact_version_string"]) == ("v0", "v1")


def test_v17_a_registry_rule_sees_a_collection_made_afterwards_and_not_the_source(penguins: Cast) -> None:
    registry = cast.registry()
    automation = rule(registry, "alias_added", {"alias": "^production$"})
    source = cast.collection(penguins.project)
    version, _created = create_version(source, actor=penguins.ada)
    later = create_collection(registry, "made-later", actor=penguins.ada)

    set_alias(source, "production", version, actor=penguins.ada)
    cast.decide()
    assert Event.objects.filter(type="alias_added", data__alias="production").count() == 1
    assert fired(automation) == 0, "an alias in the project does not concern the registry"

    link_version(later, version, aliases=["production"], actor=penguins.ada)
    cast.decide()
    assert fired(automation) == 1


def test_v18_the_name_at_acceptance_counts_and_so_does_the_creator(penguins: Cast) -> None:
    by_name = rule(
        penguins.project, "run_metric_threshold", threshold(run_name="^exp-"), name="name", period=0
    )
    by_user = rule(penguins.project, "run_metric_threshold", threshold(user="max"), name="user", period=0)
    run = new_run(penguins.project, user=penguins.ada, name="foo")
    log(run, "loss", [0.9], first_step=1)
    update_run(run, name="exp-1")
    log(run, "loss", [0.9], first_step=2)
    update_run(run, name="bar")  # after its acceptance, before anybody decides
    cast.decide()

    assert steps(by_name) == [2]
    assert fired(by_user) == 0
    log(new_run(penguins.project, user=penguins.max), "loss", [0.9])
    cast.decide()
    assert fired(by_user) == 1


def test_v19_values_of_two_runs_never_fill_one_window(penguins: Cast) -> None:
    condition = threshold("accuracy", "above", 0.6, aggregation="average", window=3)
    automation = rule(penguins.project, "run_metric_threshold", condition)
    high, low = new_run(penguins.project), new_run(penguins.project)
    for _turn in range(3):
        log(high, "accuracy", [0.9])
        log(low, "accuracy", [0.1])
    cast.decide()
    assert [execution.run for execution in automation.executions.all()] == [high]


SERIES = [0.1, 0.9, 0.9, 0.9, 0.1, 0.7, 0.7, 0.7, 0.1, 0.1, 0.8, 0.8, 0.8, 0.8, 0.2]


def one_by_one(series: list[float]) -> list[list[float]]:
    return [[value] for value in series]


def in_fours(series: list[float]) -> list[list[float]]:
    return [series[start : start + 4] for start in range(0, len(series), 4)]


@pytest.mark.parametrize("workers_come", ["at once", "late"])
@pytest.mark.parametrize("split", [one_by_one, in_fours, lambda series: [series]])
@pytest.mark.parametrize("period", [0, 86_400, None])
def test_v20_every_split_of_a_series_fires_at_the_same_steps(
    penguins: Cast,
    clock: Clock,
    split: Callable[[list[float]], list[list[float]]],
    workers_come: str,
    period: int | None,
) -> None:
    condition = threshold("loss", "above", 0.6, aggregation="average", window=3, warmup=1, hold=2)
    automation = rule(penguins.project, "run_metric_threshold", condition, period=period)
    run = new_run(penguins.project)
    for number, values in enumerate(split(SERIES)):
        answers = [log(run, "loss", values, key=f"batch-{number}") for _twice in range(2)]
        assert [answer.duplicate for answer in answers] == [False, True]
        if workers_come == "at once":
            cast.decide()
    clock.move(hours=48)
    cast.decide()
    # Without the first value, averages over three are above 0.6 at 3, 4, 7, 12 and 13.
    assert steps(automation) == ([4, 13] if period == 0 else [4])
    assert clock() - run.batches.latest("seq").received_at == timedelta(hours=48)
