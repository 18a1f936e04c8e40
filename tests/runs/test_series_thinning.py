"""A chart asks for fewer points than there are: what stands out must stay."""

from __future__ import annotations

import math
import random

import pytest

from runs import metrics
from runs.models import Run
from tests.cast import Cast, log, new_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(penguins: Cast) -> Run:
    return new_run(penguins.project)


def thinned(run: Run, max_points: int) -> tuple[list[int], list[float]]:
    series = metrics.series(run, "history", "loss", max_points=max_points)
    assert series is not None
    assert len(series.steps) == len(series.timestamps) == len(series.values) <= max_points
    return list(series.steps), list(series.values)


def test_a_short_series_is_given_whole(run: Run) -> None:
    log(run, "loss", [3, 1, 2])
    assert thinned(run, 3) == ([0, 1, 2], [3.0, 1.0, 2.0])


@pytest.mark.parametrize("max_points", [4, 5, 8, 10, 99, 100, 400, 999])
def test_the_ends_and_the_extremes_stay(run: Run, max_points: int) -> None:
    dice = random.Random(7)
    values = [dice.random() for _value in range(1000)]
    values[313], values[611] = -50.0, 50.0
    log(run, "loss", values[:500])
    log(run, "loss", values[500:])
    steps, kept = thinned(run, max_points)
    assert {-50.0, 50.0} <= set(kept)
    assert (steps[0], steps[-1]) == (0, 999)
    assert steps == sorted(set(steps))
    assert all(values[step] == value for step, value in zip(steps, kept, strict=True))


@pytest.mark.parametrize("max_points", [5, 8, 10, 99, 100, 400])
def test_a_series_full_of_nan_still_shows_its_ends_its_extremes_and_a_nan(run: Run, max_points: int) -> None:
    """A NaN in every stretch asks for one more point in each."""
    values: list[float | str] = ["NaN" if number % 3 == 1 else float(number % 17) for number in range(900)]
    values[0], values[899] = 0.0, 1.0
    values[450], values[898] = -50.0, 50.0
    log(run, "loss", values)
    steps, kept = thinned(run, max_points)
    assert {-50.0, 50.0} <= set(kept)
    assert (steps[0], steps[-1]) == (0, 899)
    assert any(math.isnan(value) for value in kept)


@pytest.mark.parametrize("max_points", [1, 2, 3])
def test_very_few_points_begin_with_the_last_one(run: Run, max_points: int) -> None:
    log(run, "loss", range(100))
    steps, _kept = thinned(run, max_points)
    assert steps[-1] == 99
    assert len(steps) == min(max_points, 2), "of a rising line the last is the highest, the first the lowest"


def test_a_series_of_nan_alone_has_points(run: Run) -> None:
    log(run, "loss", ["NaN"] * 100)
    steps, kept = thinned(run, 10)
    assert (steps[0], steps[-1]) == (0, 99)
    assert all(math.isnan(value) for value in kept)


def test_a_range_of_steps_is_cut_out_of_the_middle_of_chunks(run: Run) -> None:
    for start in range(0, 40, 10):
        log(run, "loss", range(start, start + 10))
    cut = metrics.series(run, "history", "loss", step_min=15, step_max=31)
    assert cut is not None
    assert list(cut.steps) == list(range(15, 32))
    beyond = metrics.series(run, "history", "loss", step_min=41)
    assert beyond is not None
    assert len(beyond.values) == 0


def test_a_metric_that_was_never_logged_is_none(run: Run) -> None:
    log(run, "loss", [1])
    assert metrics.series(run, "history", "accuracy") is None
    assert metrics.series(run, "system", "loss") is None
