"""The vectors of the semantics about changes, z-scores, tags, links and NaN, by their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from automations.events.base import EVENTS
from automations.models import Automation, Execution
from registry.services.collections import create_collection
from registry.services.versions import create_version, link_version, tag_version
from runs.models import Run
from runs.services.runs import delete_run
from tests import cast
from tests.cast import Cast, Clock, fired, log, new_run, rule, steps, threshold

pytestmark = pytest.mark.django_db

FIVE = [0.70, 0.72, 0.74, 0.76, 0.78]


def change(metric: str, direction: str, amount: float, **options: Any) -> dict[str, Any]:
    """A change between windows of 10 and 50, relative unless said."""
    return {"metric": metric, "direction": direction, "threshold": amount, **options}


def zscore(direction: str, limit: float, **options: Any) -> dict[str, Any]:
    return {"metric": "accuracy", "direction": direction, "threshold": limit, **options}


def changes_at(who: Cast, conditions: Iterable[dict[str, Any]], values: Sequence[float]) -> list[list[int]]:
    """For each condition the steps, counted from 1, at which it fires on one run that logs these values."""
    conditions = list(conditions)
    automations = [rule(who.project, "run_metric_change", condition, period=0) for condition in conditions]
    log(new_run(who.project), conditions[0]["metric"], values, first_step=1)
    cast.decide()
    return [steps(automation) for automation in automations]


def runs_that_logged(who: Cast, values: Iterable[float]) -> None:
    for value in values:
        log(new_run(who.project), "accuracy", [value])


def explained(automation: Automation) -> dict[str, Any]:
    execution = Execution.objects.filter(automation=automation).exclude(state="skipped").get()
    return dict(execution.explanation["data"])


def test_v5_a_relative_decrease_is_met_exactly_when_the_current_window_is_full_of_it(penguins: Cast) -> None:
    conditions = [change("loss", "decrease", 0.25), change("loss", "increase", 0.25)]
    assert changes_at(penguins, conditions, [1.0] * 50 + [0.75] * 9) == [[], []]
    assert changes_at(penguins, conditions, [1.0] * 50 + [0.75] * 10) == [[60], []]


def test_v6_an_absolute_decrease_is_met_where_a_relative_one_is_not(penguins: Cast) -> None:
    conditions = [
        change("loss", "decrease", 0.25, change_type="absolute"),
        change("loss", "decrease", 0.25, change_type="relative"),
    ]
    assert changes_at(penguins, conditions, [10.0] * 50 + [9.75] * 10) == [[60], []]


def test_v7_a_relative_change_of_a_negative_metric_has_the_sign_of_the_change(penguins: Cast) -> None:
    conditions = [
        change("reward", "increase", 0.5),
        change("reward", "decrease", 0.5),
        change("reward", "any", 0.5),
    ]
    assert changes_at(penguins, conditions, [-2.0] * 50 + [-1.0] * 10) == [[60], [], [60]]


def test_v8_a_change_is_never_evaluated_before_both_windows_are_full(penguins: Cast) -> None:
    conditions = [change("loss", "any", 1e-9), change("loss", "any", 1e-9, change_type="absolute")]
    falling = [1.0 / (place + 1) for place in range(59)]
    assert changes_at(penguins, conditions, falling) == [[], []]
    assert changes_at(penguins, conditions, [*falling, 0.001]) == [[60], [60]]


def test_v9_and_v10_a_value_stands_out_from_thirty_other_runs(penguins: Cast) -> None:
    runs_that_logged(penguins, FIVE * 6)
    above, below, either = (
        rule(penguins.project, "run_metric_zscore", zscore(direction, 2), name=direction, period=0)
        for direction in ("above", "below", "either")
    )
    near = new_run(penguins.project)
    log(near, "accuracy", [0.796])
    cast.decide()
    assert [fired(automation) for automation in (above, below, either)] == [0, 0, 0], "z = 1.9799"

    delete_run(near)  # it would be one of the thirty
    log(new_run(penguins.project), "accuracy", [0.80])
    cast.decide()
    assert [fired(automation) for automation in (above, below, either)] == [1, 0, 1]
    data = explained(above)
    assert (round(data["value"], 4), data["count"], len(data["runs"])) == (2.1213, 30, 30)
    assert data["mean"] == pytest.approx(0.74)


@pytest.mark.parametrize("value", [0.74, 0.71, 1e-300])
def test_v11_of_thirty_equal_runs_nothing_stands_out(penguins: Cast, value: float) -> None:
    """The rounded mean of thirty equal numbers may be another number; they do not deviate all the same."""
    runs_that_logged(penguins, [value] * 30)
    automation = rule(penguins.project, "run_metric_zscore", zscore("either", 1e-9), period=0)
    run = new_run(penguins.project)
    log(run, "accuracy", [value, 5.0])
    cast.decide()
    assert fired(automation) == 0

    log(Run.objects.earliest("pk"), "accuracy", [value + 0.5])
    log(run, "accuracy", [5.0])
    cast.decide()
    assert fired(automation) > 0, "with one that differs they do"


def test_v15_a_tag_that_matches_fires_on_every_version_it_is_put_on(penguins: Cast) -> None:
    automation = rule(penguins.project, "tag_added", {"tag": "^europe.*"})
    fish = cast.collection(penguins.project)
    for number in range(3):
        version, _created = create_version(fish, actor=None, digest=f"{number}")
        assert tag_version(version, "europe-west", actor=None)
        assert tag_version(version, "west-europe", actor=None)
        assert not tag_version(version, "europe-west", actor=None), "twice is no event (R14)"
    cast.decide()
    tags = [execution.event.data["tag"] for execution in automation.executions.select_related("event")]  # type: ignore[union-attr]
    assert tags == ["europe-west"] * 3


def test_v17_a_link_into_a_collection_made_afterwards_fires_and_a_version_of_the_source_does_not(
    penguins: Cast,
) -> None:
    registry = cast.registry()
    linked = rule(registry, "version_linked", {}, name="linked")
    added = rule(registry, "version_added", {}, name="added")
    in_project = rule(penguins.project, "version_added", {}, name="project")
    version, _created = create_version(cast.collection(penguins.project), actor=None)
    later = create_collection(registry, "made-later", actor=None)
    cast.decide()
    assert (fired(linked), fired(added), fired(in_project)) == (0, 0, 1)
    link_version(later, version, actor=None)
    link_version(later, version, actor=None)
    cast.decide()
    assert (fired(linked), fired(added), fired(in_project)) == (1, 0, 1)


# --- V20, for the other metric rules --------------------------------------------------------------

SERIES = [0.5, 0.52, 0.48, 0.9, 0.91, 0.2, 0.5, 0.51, 0.9, 0.1, 0.5, 0.49, 0.95, 0.97, 0.96, 0.1]
SPLITS = {"at once": [16], "in threes": [3] * 5 + [1], "one by one": [1] * 16}
RULES: dict[str, tuple[str, dict[str, Any], list[int]]] = {
    # Averages of two against the three before them.
    "change": (
        "run_metric_change",
        change("accuracy", "any", 0.5, window=2, prior_window=3),
        [4, 6, 10, 13],
    ),
    # The value and the one before it, twice in a row.
    "hold": (
        "run_metric_change",
        change("accuracy", "any", 0.3, aggregation="none", change_type="absolute", hold=2),
        [6, 9, 10],
    ),
    "values": ("run_metric_zscore", zscore("either", 2.0, baseline="values", window=4), [5, 15]),
    "runs": ("run_metric_zscore", zscore("above", 2.0, window=10, warmup=4), [4, 8, 12, 13, 14]),
}


@pytest.mark.parametrize("workers_come", ["at once", "late"])
@pytest.mark.parametrize("split", SPLITS)
def test_v20_changes_and_z_scores_fire_at_the_same_steps_in_every_split(
    penguins: Cast, clock: Clock, split: str, workers_come: str
) -> None:
    runs_that_logged(penguins, [0.4, 0.6] * 5)
    automations = {
        name: rule(penguins.project, event_type, config, name=name, period=0)
        for name, (event_type, config, _steps) in RULES.items()
    }
    run = new_run(penguins.project)
    start = 0
    for number, size in enumerate(SPLITS[split]):
        values = SERIES[start : start + size]
        answers = [log(run, "accuracy", values, key=f"{number}") for _twice in range(2)]
        assert [answer.duplicate for answer in answers] == [False, True]
        start += size
        if workers_come == "at once":
            cast.decide()
    clock.move(hours=30)
    cast.decide()
    found = {name: steps(automation) for name, automation in automations.items()}
    assert found == {name: expected for name, (_type, _config, expected) in RULES.items()}


def test_v21_a_run_is_its_own_baseline_when_asked(penguins: Cast) -> None:
    own = rule(penguins.project, "run_metric_zscore", zscore("above", 2, baseline="values"), name="own")
    others = rule(penguins.project, "run_metric_zscore", zscore("above", 2), name="others", period=0)
    run = new_run(penguins.project)
    log(run, "accuracy", FIVE * 6)
    cast.decide()
    assert fired(own) == 0, "not evaluated until the window is full"
    log(run, "accuracy", [0.80])
    cast.decide()
    assert (steps(own), fired(others)) == ([30], 0)
    assert round(explained(own)["value"], 4) == 2.1213


def test_v22_the_first_nan_fires_once_and_no_window_sees_it(penguins: Cast) -> None:
    diverged = rule(penguins.project, "run_metric_nonfinite", {"metric": "loss"}, name="diverged", period=0)
    condition = threshold("loss", "equal", 1, aggregation="average", window=2)
    average = rule(penguins.project, "run_metric_threshold", condition, name="average", period=0)
    log(new_run(penguins.project), "loss", [1, "NaN", "NaN", 1])
    cast.decide()
    assert steps(diverged) == [1]
    assert steps(average) == [3]
    assert explained(average)["window"] == [1, 1]
    execution = Execution.objects.get(automation=average)
    assert EVENTS["run_metric_threshold"].explain(execution.explanation) == (
        "average of the last 2 values of loss = 1 = 1 at step 3 "
        "(2 values that are no finite numbers are left out)"
    )
