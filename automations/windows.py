"""Windows over the finite values of one series. Pure: sequences of floats in, verdicts out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction


def average(values: Sequence[float]) -> float:
    """The correctly rounded sum divided by the count (R28): .5 .6 .6 .6 .7 averages exactly .6."""
    try:
        return math.fsum(values) / len(values)
    except OverflowError:  # the sum leaves the range of a double, the average does not
        return float(sum(map(Fraction, values)) / len(values))


AGGREGATIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "average": average,
    "min": min,
    "max": max,
}


def size(aggregation: str, window: int) -> int:
    """How many values are looked at: with `none` the latest alone, whatever the window (R27)."""
    return 1 if aggregation == "none" else window


def aggregate(aggregation: str, window: Sequence[float]) -> float:
    return window[-1] if aggregation == "none" else AGGREGATIONS[aggregation](window)


def aggregates(aggregation: str, values: Sequence[float], *, window: int) -> list[float]:
    """The aggregate of every full window: entry i looks at `values[i : i + window]`."""
    width = size(aggregation, window)
    if width == 1:
        return list(values)
    return [aggregate(aggregation, values[start : start + width]) for start in range(len(values) - width + 1)]


def held(levels: Sequence[bool], *, times: int) -> list[bool]:
    """Entry i: whether the level was true at i and the `times - 1` entries before it."""
    streak = 0
    result = []
    for level in levels:
        streak = streak + 1 if level else 0
        result.append(streak >= times)
    return result
