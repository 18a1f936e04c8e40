"""What a rule finds out about a batch without computing its numbers holds for every one of them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings, strategies as st

from automations.events.base import EVENTS
from automations.events.metric_zscore import Compared, ZScoreFacts
from automations.events.metrics import MetricEventType, MetricFacts
from automations.windows import Moments, Track

Event = MetricEventType[Any]
COMMON = {"metric": "loss", "source": "auto", "warmup": 0, "hold": 1, "threshold": 1.0}
CONFIGS: list[tuple[str, dict[str, Any]]] = [
    *(
        ("run_metric_threshold", {"aggregation": aggregation, "window": window, "comparison": "above"})
        for aggregation in ("average", "min", "max", "none")
        for window in (1, 3, 7)
    ),
    *(
        (
            "run_metric_change",
            {
                "aggregation": aggregation,
                "window": 2,
                "prior_window": 3,
                "change_type": kind,
                "direction": "any",
            },
        )
        for aggregation in ("average", "max", "none")
        for kind in ("absolute", "relative")
    ),
    *(
        ("run_metric_zscore", {"baseline": "values", "window": window, "direction": "either"})
        for window in (2, 5, 30)
    ),
    ("run_metric_zscore", {"baseline": "runs", "window": 30, "direction": "either"}),
]
OTHERS = [0.1, 0.2, 0.25, 0.7]
SERIES: dict[str, Callable[[random.Random], float]] = {
    "noise": lambda dice: dice.gauss(0.5, 0.05),
    "tenths": lambda dice: round(dice.random(), 1),
    "far from zero": lambda dice: 1e9 + dice.random() * 1e-7,
    "very far from zero": lambda dice: 1e16 + 2 * dice.randrange(3),
    "all magnitudes": lambda dice: dice.choice([-1, 1]) * 10.0 ** dice.uniform(-300, 300),
    "tiny": lambda dice: dice.randrange(5) * 5e-324,
    "huge": lambda dice: dice.choice([-1, 1]) * dice.uniform(1e307, 1.7e308),
    "mostly equal": lambda dice: 0.1 if dice.random() < 0.9 else 0.3,
}


def facts_of(values: list[float]) -> ZScoreFacts:
    compared = [Compared(0, dict(enumerate(OTHERS)), Moments.of(OTHERS))]
    count = range(len(values))
    return ZScoreFacts(
        "", "", "", count, count, values, count, Track(values), resolved=True, compared=compared
    )


def numbers(event_type: Event, config: dict[str, Any], facts: MetricFacts) -> list[float]:
    """All of them, exactly as the semantics write them."""
    ends = range(event_type.reach(config) - 1, len(facts.values))
    found = [event_type.exact(config, facts, end) for end in ends]
    return [number for number in found if not math.isnan(number)]


def assert_bounds_hold(key: str, config: dict[str, Any], values: list[float]) -> None:
    event_type, config, facts = EVENTS[key], {**COMMON, **config}, facts_of(values)
    assert isinstance(event_type, MetricEventType)
    low, high = event_type.bounds(config, facts)
    found = numbers(event_type, config, facts)
    assert all(low <= number <= high for number in found), (low, high, min(found), max(found))
    # A backtest knows no more of a series than these two, and must not miss a number for it.
    alone = replace(facts, track=Track([min(values), max(values)]))
    if (bounds := event_type.bounds_by_extremes(config, alone)) is not None:
        assert all(bounds[0] <= number <= bounds[1] for number in found), (bounds, min(found), max(found))


@pytest.mark.parametrize("kind", SERIES)
@pytest.mark.parametrize(("key", "config"), CONFIGS)
def test_every_number_lies_between_the_bounds(key: str, config: dict[str, Any], kind: str) -> None:
    for seed in range(5):
        dice = random.Random(seed)
        assert_bounds_hold(key, config, [SERIES[kind](dice) for _value in range(120)])


@settings(deadline=None, max_examples=200)
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
def test_so_it_does_for_any_series(values: list[float]) -> None:
    for key, config in CONFIGS:
        assert_bounds_hold(key, config, values)


# --- What stands out from its own past ------------------------------------------------------------


def assert_outliers_are_the_exact_ones(values: list[float], window: int, direction: str) -> None:
    """For thresholds near, far from, and equal to scores that there are."""
    event_type: Any = EVENTS["run_metric_zscore"]
    config = {**COMMON, "baseline": "values", "window": window, "direction": direction}
    facts, ends = facts_of(values), range(window, len(values))
    scores = {end: event_type.exact(config, facts, end) for end in ends}
    known = [abs(score) for score in scores.values() if score and math.isfinite(score)]
    for threshold in {0.5, 2.0, 4.0, 1e300, 5e-324, *known[:3], *map(math.nextafter, known[:3], [9e9] * 3)}:
        asked = {**config, "threshold": threshold}
        found = event_type.true_ends(asked, facts, window)
        assert found == [end for end in ends if event_type.met(asked, scores[end])], (threshold, scores)


@pytest.mark.parametrize("kind", SERIES)
@pytest.mark.parametrize("direction", ["above", "below", "either"])
def test_of_scores_none_is_missed_and_none_made_up(kind: str, direction: str) -> None:
    for seed in range(4):
        dice = random.Random(seed)
        values = [SERIES[kind](dice) for _value in range(120)]
        for window in (2, 5, 30):
            assert_outliers_are_the_exact_ones(values, window, direction)


@settings(deadline=None, max_examples=100)
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=30))
def test_so_it_is_for_any_series(values: list[float]) -> None:
    for direction in ("above", "below", "either"):
        assert_outliers_are_the_exact_ones(values, 2, direction)


def test_after_a_large_first_value_small_ones_are_told_apart_exactly() -> None:
    """Plain doubles say nothing of them there."""
    dice = random.Random(3)
    values = [1.0, *(0.001 + dice.gauss(0, 1e-9) for _value in range(300))]
    assert_outliers_are_the_exact_ones(values, 5, "either")


@pytest.mark.parametrize(("key", "config"), CONFIGS)
def test_a_rule_far_from_the_values_computes_no_number(key: str, config: dict[str, Any]) -> None:
    dice = random.Random(7)
    facts = facts_of([dice.gauss(0.5, 0.01) for _value in range(300)])
    event_type, config = EVENTS[key], {**COMMON, **config}
    assert isinstance(event_type, MetricEventType)
    assert numbers(event_type, config, facts)
    near = 0.01 if key == "run_metric_change" else 0.5
    with patch.object(type(event_type), "signal", side_effect=AssertionError("computed")):
        assert event_type.true_ends({**config, "threshold": 1e6}, facts, 0) == []
        if config.get("baseline") == "values":
            return  # it tells most of them apart in plain doubles
        with pytest.raises(AssertionError, match="computed"):  # one that is near does
            event_type.true_ends({**config, "threshold": near}, facts, 0)
