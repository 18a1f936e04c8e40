"""A decision reads everything as of the acceptance of the change, whenever a worker gets to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from automations.models import Automation, Execution
from runs.models import Project, Run, RunStatus
from runs.services.projects import create_project
from runs.services.runs import delete_run, set_status, update_run
from tests import cast
from tests.cast import Cast, Clock, fired, log, new_run, rule, steps, threshold

pytestmark = pytest.mark.django_db


# --- The run --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("accepted_as", "renamed_to", "fires"), [("exp-1", "foo", 1), ("foo", "exp-1", 0)])
def test_the_name_at_acceptance_counts_for_values_and_for_states(
    penguins: Cast, accepted_as: str, renamed_to: str, fires: int
) -> None:
    on_value = rule(penguins.project, "run_metric_threshold", threshold(run_name="^exp-"), name="value")
    on_nan = rule(penguins.project, "run_metric_nonfinite", {"run_name": "^exp-"}, name="nan")
    on_end = rule(penguins.project, "run_status", {"statuses": ["finished"], "run_name": "^exp-"}, name="end")
    run = new_run(penguins.project, name=accepted_as)
    log(run, "loss", [0.9, "NaN"])
    set_status(run, RunStatus.FINISHED, actor=None)
    update_run(run, name=renamed_to)
    cast.decide()
    assert [fired(automation) for automation in (on_value, on_nan, on_end)] == [fires] * 3
    events = Execution.objects.filter(automation=on_value).values_list("event__data__run_name", flat=True)
    assert list(events) == [accepted_as] * fires, "the message names it as it was"


def test_the_username_at_acceptance_counts(penguins: Cast) -> None:
    before = rule(penguins.project, "run_metric_threshold", threshold(user="ada"), name="before")
    after = rule(penguins.project, "run_metric_threshold", threshold(user="ada-lovelace"), name="after")
    run = new_run(penguins.project, user=penguins.ada)
    log(run, "loss", [0.9], first_step=1)
    penguins.ada.username = "ada-lovelace"
    penguins.ada.save()
    log(run, "loss", [0.9], first_step=2)
    cast.decide()
    assert (steps(before), steps(after)) == ([1], [2])


def test_a_run_killed_after_a_value_was_accepted_fires_and_one_revived_does_not(penguins: Cast) -> None:
    every = rule(penguins.project, "run_metric_threshold", threshold(), name="every", period=0)
    change = {"metric": "loss", "direction": "any", "threshold": 1, "aggregation": "none"}
    jumps = rule(penguins.project, "run_metric_change", change, name="jumps", period=0)
    run = new_run(penguins.project)
    log(run, "loss", [0.1, 0.9])
    set_status(run, RunStatus.KILLED, actor=None)
    log(run, "loss", [0.1, 0.9])
    set_status(run, RunStatus.RUNNING, actor=None)
    log(run, "loss", [0.2])
    cast.decide()
    assert steps(every) == [1]
    assert steps(jumps) == [1]
    log(run, "loss", [0.9])
    cast.decide()
    assert steps(every) == [1, 5], "values of its killed time are stored and go on filling windows"
    assert steps(jumps) == [1, 5]


# --- The z-score's baseline -----------------------------------------------------------------------


def zscore(window: int = 10, **options: Any) -> dict[str, Any]:
    return {"metric": "loss", "direction": "above", "threshold": 2, "window": window, **options}


def others(project: Project, values: Iterable[float | str], *, source: str = "history") -> list[Run]:
    runs = []
    for value in values:
        runs.append(new_run(project))
        log(runs[-1], "loss", [value], source=source)
    return runs


def explanation(automation: Automation, run: Run) -> dict[str, Any]:
    """Why it fired first on a run."""
    execution = Execution.objects.filter(automation=automation, run=run).earliest("pk")
    return dict(execution.explanation["data"])


def spread(automation: Automation, run: Run, value: float = 0.9) -> list[float]:
    """What a value of the run was compared with, newest run first; nothing where it did not fire."""
    Execution.objects.filter(automation=automation).delete()
    log(run, "loss", [value])
    cast.decide()
    return list(explanation(automation, run)["window"]) if fired(automation) else []


PAIRS = [0.4, 0.6] * 5


def test_what_others_log_after_the_acceptance_does_not_count(penguins: Cast, clock: Clock) -> None:
    automation = rule(penguins.project, "run_metric_zscore", zscore(), period=0)
    runs = others(penguins.project, PAIRS)
    run = new_run(penguins.project)
    clock.move(seconds=1)
    log(run, "loss", [0.9])
    clock.move(seconds=1)
    for other in runs:
        for value in (5.0, 6.0, "NaN"):
            log(other, "loss", [value])
    others(penguins.project, [7.0] * 3)
    cast.decide()

    assert steps(automation) == [0]
    data = explanation(automation, run)
    assert data["window"] == PAIRS[::-1]
    assert data["runs"] == [other.pk for other in reversed(runs)]
    assert (data["mean"], round(data["deviation"], 12), round(data["value"], 9)) == (0.5, 0.1, 4.0)
    clock.move(seconds=1)
    log(run, "loss", [0.9])
    cast.decide()
    assert steps(automation) == [0], "now it counts, and 0.9 is nothing special any more"


def test_what_others_logged_at_the_same_moment_counts(penguins: Cast, clock: Clock) -> None:
    automation = rule(penguins.project, "run_metric_zscore", zscore(), period=0)
    runs = others(penguins.project, PAIRS)
    log(runs[0], "loss", [0.6])
    assert spread(automation, new_run(penguins.project)) == [*PAIRS[:0:-1], 0.6]


def test_of_many_values_logged_after_the_acceptance_the_last_one_before_it_is_found(
    penguins: Cast, clock: Clock
) -> None:
    """By a search over the batches' numbers, whatever lies between them."""
    automation = rule(penguins.project, "run_metric_zscore", zscore(2), period=0)
    busy, _still = others(penguins.project, [0.4, 0.6])
    for value in (0.41, 0.42, "NaN", "Infinity"):
        log(busy, "loss", [value])
        set_status(busy, RunStatus.FINISHED, actor=None)
        set_status(busy, RunStatus.RUNNING, actor=None)
    clock.move(seconds=1)
    run = new_run(penguins.project)
    log(run, "loss", [0.9])
    for _second in range(40):
        clock.move(seconds=1)
        log(busy, "loss", [5.0])
    cast.decide()
    assert explanation(automation, run)["window"] == [0.6, 0.42]


@pytest.mark.parametrize(
    ("window", "runs", "fires"), [(30, 9, 0), (30, 10, 1), (10, 9, 0), (10, 10, 1), (4, 3, 0), (4, 4, 1)]
)
def test_fewer_than_ten_runs_or_than_the_window_are_no_baseline(
    penguins: Cast, window: int, runs: int, fires: int
) -> None:
    automation = rule(penguins.project, "run_metric_zscore", zscore(window))
    others(penguins.project, [0.4, 0.6, *[0.5] * (runs - 2)])
    log(new_run(penguins.project), "loss", [0.9])
    cast.decide()
    assert fired(automation) == fires


def test_the_newest_runs_count_whatever_their_state_each_with_its_latest_finite_value(
    penguins: Cast,
) -> None:
    automation = rule(penguins.project, "run_metric_zscore", zscore(4), period=0)
    runs = others(penguins.project, [9.0, 0.1, 0.2, 0.3, 0.4])
    others(penguins.project, ["NaN", "Infinity"])  # newer, but without a finite value
    log(runs[3], "loss", [0.33, "NaN"])
    set_status(runs[1], RunStatus.KILLED, actor=None)
    set_status(runs[2], RunStatus.FAILED, actor=None)
    new_run(penguins.project)  # newer, but without a value at all
    log(runs[0], "loss", [9.5])  # an old run stays old, whenever it logs
    assert spread(automation, new_run(penguins.project)) == [0.4, 0.33, 0.2, 0.1]


def test_the_run_itself_is_never_among_those_it_is_compared_with(penguins: Cast) -> None:
    automation = rule(penguins.project, "run_metric_zscore", zscore(4), period=0)
    runs = others(penguins.project, [0.1, 0.2, 0.3, 0.4, 0.5])
    assert spread(automation, runs[2], 9.0) == [0.5, 0.4, 0.2, 0.1]
    assert spread(automation, runs[4], 99.0) == [0.4, 9.0, 0.2, 0.1]


def test_runs_deleted_before_the_acceptance_do_not_count_and_those_deleted_later_do(
    penguins: Cast, clock: Clock
) -> None:
    automation = rule(penguins.project, "run_metric_zscore", zscore(4), period=0)
    runs = others(penguins.project, [0.1, 0.2, 0.3, 0.4, 0.5])
    delete_run(runs[4])
    clock.move(seconds=1)
    run = new_run(penguins.project)
    log(run, "loss", [0.9])
    clock.move(seconds=1)
    delete_run(runs[3])
    delete_run(runs[2])
    cast.decide()
    assert explanation(automation, run)["window"] == [0.4, 0.3, 0.2, 0.1]


def test_only_runs_of_the_same_project_and_values_of_the_same_source_count(penguins: Cast) -> None:
    automation = rule(penguins.team, "run_metric_zscore", zscore(4, source="history"), period=0)
    others(create_project(penguins.team, "dive"), [5.0] * 4)
    others(penguins.project, [6.0] * 4, source="system")
    run = new_run(penguins.project)
    assert spread(automation, run) == []
    others(penguins.project, [0.1, 0.2, 0.3, 0.4])
    assert spread(automation, run) == [0.4, 0.3, 0.2, 0.1]


def test_run_filters_say_who_may_trigger_and_leave_the_baseline_alone(penguins: Cast) -> None:
    automation = rule(penguins.project, "run_metric_zscore", zscore(4, user="ada"), period=0)
    others(penguins.project, [0.1, 0.2, 0.3, 0.4])
    assert spread(automation, new_run(penguins.project, user=penguins.max)) == []
    mine = new_run(penguins.project, user=penguins.ada)
    assert spread(automation, mine, 9.0) == [0.9, 0.4, 0.3, 0.2], "the run of Max is one of them"


@pytest.mark.parametrize("workers_come", ["at once", "late"])
@pytest.mark.parametrize("together", [True, False])
def test_each_value_of_a_streak_is_compared_as_of_its_own_acceptance(
    penguins: Cast, clock: Clock, workers_come: str, together: bool
) -> None:
    """It was true at each of three values, though not by what was known at the third."""
    held = rule(penguins.project, "run_metric_zscore", zscore(hold=3), name="held", period=0)
    each = rule(penguins.project, "run_metric_zscore", zscore(), name="each", period=0)
    runs = others(penguins.project, PAIRS)
    run = new_run(penguins.project)
    clock.move(seconds=1)
    log(run, "loss", [0.9, 0.9] if together else [0.9])
    if not together:
        log(run, "loss", [0.9])
    if workers_come == "at once":
        cast.decide()
    clock.move(seconds=1)
    for other, value in zip(runs, [0.2, 1.0] * 5, strict=True):
        log(other, "loss", [value])
    clock.move(seconds=1)
    log(run, "loss", [2.0])
    cast.decide()
    assert steps(each) == [0, 1, 2]
    assert steps(held) == [2]


def test_a_streak_is_broken_by_a_value_that_was_not_true_at_its_own_time(
    penguins: Cast, clock: Clock
) -> None:
    held = rule(penguins.project, "run_metric_zscore", zscore(hold=2), name="held", period=0)
    each = rule(penguins.project, "run_metric_zscore", zscore(), name="each", period=0)
    runs = others(penguins.project, [0.2, 1.0] * 5)
    run = new_run(penguins.project)
    clock.move(seconds=1)
    log(run, "loss", [0.9])
    clock.move(seconds=1)
    for other, value in zip(runs, PAIRS, strict=True):
        log(other, "loss", [value])
    log(run, "loss", [0.9])
    cast.decide()
    assert (steps(each), steps(held)) == ([1], [])
    log(run, "loss", [0.9])
    cast.decide()
    assert (steps(each), steps(held)) == ([1, 2], [2])
