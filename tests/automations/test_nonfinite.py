"""The first NaN or infinity of a run (semantics, section 4.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from automations.models import Event, Execution
from runs.models import RunStatus
from runs.services.runs import set_status
from tests import cast
from tests.cast import Cast, Clock, fired, log, log_points, new_run, rule, skipped, steps

pytestmark = pytest.mark.django_db

Values = Sequence[float | str]


def watch(who: Cast, **config: Any) -> Any:
    return rule(who.project, "run_metric_nonfinite", config, name=str(config), period=0)


def named(automation: Any) -> list[tuple[str, Any, int]]:
    """The metric, its value and the step of each firing."""
    reasons = [execution.explanation["data"] for execution in automation.executions.order_by("pk")]
    return [(data["metric"], data["value"], data["step"]) for data in reasons]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("metric", ["loss", None])
def test_each_of_the_three_fires_and_is_named(penguins: Cast, metric: str | None, value: str) -> None:
    automation = watch(penguins, metric=metric)
    log(new_run(penguins.project), "loss", [1, value, 2])
    cast.decide()
    assert named(automation) == [("loss", value, 1)]
    event = Event.objects.get(type="run_metric_nonfinite")
    assert (event.data["metric_name"], event.data["metric_value"], event.data["step"]) == ("loss", value, 1)
    assert event.data["metric_values"] == [1, value]


@pytest.mark.parametrize("split", [[9], [1] * 9, [2, 3, 4], [4, 5]])
@pytest.mark.parametrize("late", [False, True])
def test_only_the_first_in_a_run_counts_in_every_batching(
    penguins: Cast, split: list[int], late: bool
) -> None:
    automation = watch(penguins, metric="loss")
    values: Values = [1, 2, "NaN", "NaN", 1, "Infinity", 1, "NaN", 2]
    for _run in range(2):
        run, start = new_run(penguins.project), 0
        for number, size in enumerate(split):
            for _twice in range(2):
                log(run, "loss", values[start : start + size], key=f"{number}")
            start += size
            if not late:
                cast.decide()
    cast.decide()
    assert steps(automation) == [2, 2]
    assert skipped(automation) == []


def test_of_any_metric_only_the_first_in_a_run_counts(penguins: Cast) -> None:
    anything, named_rule = watch(penguins), watch(penguins, metric="grad")
    run = new_run(penguins.project)
    log(run, "loss", [1, "NaN"])
    log(run, "grad", ["NaN"])
    log(run, "cpu", ["NaN"], source="system")
    cast.decide()
    assert named(anything) == [("loss", "NaN", 1)]
    assert named(named_rule) == [("grad", "NaN", 2)]


POINTS: list[dict[str, Any]] = [
    {"z": 1, "a": 1},
    {"a": 1},
    {"z": "NaN", "b": "Infinity"},
    {"a": "NaN"},
]


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("split", [[4], [1, 1, 1, 1], [2, 2], [3, 1]])
def test_of_several_metrics_the_one_that_was_logged_first_is_named(
    penguins: Cast, split: list[int], timed: bool
) -> None:
    """Of two in one point the first by name: nothing else tells them apart."""
    automation = watch(penguins)
    points: list[Mapping[str, Any]] = [
        {"values": values, **({"timestamp": 1e9 + number} if timed else {})}
        for number, values in enumerate(POINTS)
    ]
    run = new_run(penguins.project)
    for size in split:
        log_points(run, points[:size])
        points = points[size:]
    cast.decide()
    assert named(automation) == [("b", "Infinity", 2)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("auto", [("system.cpu", "NaN", 0)]),
        ("system", [("system.cpu", "NaN", 0)]),
        ("history", [("loss", "NaN", 0)]),
    ],
)
def test_without_a_name_the_source_says_which_metrics_are_meant(
    penguins: Cast, source: str, expected: list[tuple[str, str, int]]
) -> None:
    automation = watch(penguins, source=source)
    run = new_run(penguins.project)
    log(run, "cpu", ["NaN"], source="system")
    log(run, "loss", ["NaN"])
    log(run, "mem", ["NaN"], source="system")
    cast.decide()
    assert named(automation) == expected


def test_with_a_name_the_source_is_resolved_as_for_every_metric(penguins: Cast) -> None:
    rules = [watch(penguins, metric="cpu", source=source) for source in ("auto", "history", "system")]
    prefixed = watch(penguins, metric="system.cpu")
    run = new_run(penguins.project)
    log(run, "cpu", [1])
    log(run, "cpu", ["NaN"], source="system")
    cast.decide()
    assert [fired(automation) for automation in (*rules, prefixed)] == [0, 0, 1, 1]
    log(run, "cpu", ["NaN"])
    cast.decide()
    assert [fired(automation) for automation in (*rules, prefixed)] == [1, 1, 1, 1]


# --- Warm-up and hold -----------------------------------------------------------------------------


WARM_UP_AND_HOLD: list[tuple[dict[str, int], list[int]]] = [
    ({}, [0]),
    ({"warmup": 1}, [2]),
    ({"warmup": 3}, [3]),
    ({"warmup": 4}, [6]),
    ({"warmup": 9}, []),
    ({"hold": 2}, [3]),
    ({"hold": 3}, [8]),
    ({"hold": 4}, []),
    ({"hold": 2, "warmup": 3}, [7]),
    ({"hold": 3, "warmup": 7}, []),
]


@pytest.mark.parametrize("split", [[9], [1] * 9, [3, 1, 3, 2]])
def test_warm_up_and_hold_count_every_logged_value(penguins: Cast, split: list[int]) -> None:
    values: Values = ["NaN", 1, "NaN", "Infinity", 1, 1, "NaN", "NaN", "-Infinity"]
    rules = {
        metric: [watch(penguins, metric=metric, **options) for options, _steps in WARM_UP_AND_HOLD]
        for metric in ("loss", None)
    }
    run, start = new_run(penguins.project), 0
    for size in split:
        log(run, "loss", values[start : start + size], first_step=start)
        log(run, "other", [1, 2, 3])
        start += size
    cast.decide()
    expected = [at for _options, at in WARM_UP_AND_HOLD]
    assert {metric: [steps(one) for one in some] for metric, some in rules.items()} == {
        "loss": expected,
        None: expected,
    }


def test_a_streak_is_of_one_metric(penguins: Cast) -> None:
    automation = watch(penguins, hold=2)
    run = new_run(penguins.project)
    for metric in ("a", "b", "a", "b"):
        log(run, metric, ["NaN"])
        if metric == "b":
            log(run, "a", [1.0])
    cast.decide()
    assert named(automation) == [("b", "NaN", 4)]


# --- Before the rule, and of a killed run ---------------------------------------------------------


@pytest.mark.parametrize("metric", ["loss", None])
def test_what_diverged_before_the_rule_was_armed_is_not_the_first_any_more(
    penguins: Cast, clock: Clock, metric: str | None
) -> None:
    old, young = new_run(penguins.project), new_run(penguins.project)
    log(old, "loss", [1, "NaN"])
    clock.move(seconds=1)
    automation = watch(penguins, metric=metric)
    for run in (old, young):
        log(run, "loss", ["NaN"])
    cast.decide()
    assert [execution.run for execution in automation.executions.all()] == [young]


def test_a_streak_may_begin_before_the_rule_was_armed(penguins: Cast, clock: Clock) -> None:
    run = new_run(penguins.project)
    log(run, "loss", ["NaN"])
    clock.move(seconds=1)
    automation = watch(penguins, metric="loss", hold=2)
    log(run, "loss", ["NaN"])
    cast.decide()
    assert steps(automation) == [1]


def test_what_a_killed_run_logs_fires_nothing_and_was_the_first_all_the_same(penguins: Cast) -> None:
    automation = watch(penguins, metric="loss")
    dead, alive = new_run(penguins.project), new_run(penguins.project)
    set_status(dead, RunStatus.KILLED, actor=None)
    for run in (dead, alive):
        log(run, "loss", ["NaN"])
    set_status(dead, RunStatus.RUNNING, actor=None)
    log(dead, "loss", ["NaN"])
    cast.decide()
    assert [execution.run for execution in automation.executions.all()] == [alive]
    assert dead.batches.count() == 2


@pytest.mark.parametrize(
    ("filters", "fires"), [({"user": "ada"}, 1), ({"user": "max"}, 0), ({"run_name": "^x"}, 0)]
)
def test_run_filters_apply(penguins: Cast, filters: dict[str, str], fires: int) -> None:
    automation = watch(penguins, **filters)
    log(new_run(penguins.project, user=penguins.ada, name="night"), "loss", ["NaN"])
    cast.decide()
    assert fired(automation) == fires


def test_the_daily_limit_counts_it_like_every_run_event(penguins: Cast) -> None:
    """It fires once per run by itself; the limit is there for a rule that changes its mind."""
    automation = rule(penguins.project, "run_metric_nonfinite", {"metric": "loss"})
    run = new_run(penguins.project)
    log(run, "loss", ["NaN"])
    log(run, "loss", ["NaN"])
    cast.decide()
    assert fired(automation) == 1
    assert Execution.objects.filter(automation=automation).count() == 1, "later ones are no matches"
