"""The semantics of metric rules once more, as plainly as they can be written: every window summed anew, in
fractions, for every value. Shares nothing with the code that it is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

Config = dict[str, Any]
# A position in the series, and the number that is compared there; NaN: not evaluated.
Seen = tuple[int, float]


def fires(
    event_type: str, config: Config, values: Sequence[float], baselines: Sequence[Sequence[float]] = ()
) -> list[int]:
    """The positions at which a rule that limits nothing fires.

    `baselines`: what the other runs had logged when each value was accepted, newest run first.
    """
    if event_type == "run_metric_nonfinite":
        return first_nonfinite(config, values)
    found, streak = [], 0
    for position, number in numbers(event_type, config, values, baselines):
        streak = streak + 1 if is_met(event_type, config, number) else 0
        if streak >= config["hold"]:
            found.append(position)
    return found


def first_nonfinite(config: Config, values: Sequence[float]) -> list[int]:
    """Once, where it has been held for the first time; every logged value counts."""
    streak = 0
    for position, value in enumerate(values):
        streak = streak + 1 if position >= config["warmup"] and not math.isfinite(value) else 0
        if streak == config["hold"]:
            return [position]
    return []


def numbers(
    event_type: str, config: Config, values: Sequence[float], baselines: Sequence[Sequence[float]] = ()
) -> list[Seen]:
    """What is compared at each finite value after the warm-up whose windows are full."""
    finite = [position for position, value in enumerate(values) if math.isfinite(value)]
    counted = finite[config["warmup"] :]
    seen = []
    for count in range(1, len(counted) + 1):
        upto = [values[position] for position in counted[:count]]
        position = counted[count - 1]
        others = baselines[position] if baselines else ()
        number = {
            "run_metric_threshold": threshold_number,
            "run_metric_change": change_number,
            "run_metric_zscore": zscore_number,
        }[event_type](config, upto, others)
        seen.append((position, number))
    return seen


def threshold_number(config: Config, upto: list[float], _others: Sequence[float]) -> float:
    if config["aggregation"] == "none":
        return upto[-1]
    if len(upto) < config["window"]:
        return math.nan
    return AGGREGATE[config["aggregation"]](upto[-config["window"] :])


def change_number(config: Config, upto: list[float], _others: Sequence[float]) -> float:
    aggregation, width, prior_width = config["aggregation"], config["window"], config["prior_window"]
    if aggregation == "none":
        aggregation, width, prior_width = "min", 1, 1
    if len(upto) < width + prior_width:
        return math.nan
    current = AGGREGATE[aggregation](upto[-width:])
    prior = AGGREGATE[aggregation](upto[-width - prior_width : -width])
    if config["change_type"] == "absolute":
        return current - prior
    return math.nan if prior == 0 else (current - prior) / abs(prior)


def zscore_number(config: Config, upto: list[float], others: Sequence[float]) -> float:
    window = config["window"]
    if config["baseline"] == "runs":
        compared, need = list(others[:window]), min(window, 10)
    else:
        compared, need = upto[-window - 1 : -1], window
    if len(compared) < need or len(set(compared)) == 1:
        return math.nan
    mean = average(compared)
    try:
        deviation = math.sqrt(average([(value - mean) ** 2 for value in compared]))
    except OverflowError:  # a square that no double can hold
        return math.nan
    return (upto[-1] - mean) / deviation if deviation else math.nan


def average(window: list[float]) -> float:
    """The correctly rounded sum divided by the count; the exact average where no double holds the sum."""
    total = sum(Fraction(value) for value in window)
    try:
        return float(total) / len(window)
    except OverflowError:
        return float(total / len(window))


AGGREGATE: dict[str, Callable[[list[float]], float]] = {"average": average, "min": min, "max": max}


def is_met(event_type: str, config: Config, number: float) -> bool:
    if math.isnan(number):
        return False
    wanted = float(config["threshold"])
    if event_type == "run_metric_threshold":
        found: bool = {
            "above": number > wanted,
            "above_or_equal": number >= wanted,
            "below": number < wanted,
            "below_or_equal": number <= wanted,
            "equal": number == wanted,
            "not_equal": number != wanted,
        }[config["comparison"]]
        return found
    reached: bool = {
        "increase": number >= wanted,
        "above": number >= wanted,
        "decrease": number <= -wanted,
        "below": number <= -wanted,
        "any": abs(number) >= wanted,
        "either": abs(number) >= wanted,
    }[config["direction"]]
    return reached
