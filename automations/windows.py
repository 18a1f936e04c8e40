"""Windows over the finite values of one series. Pure: sequences of floats in, verdicts out.

The exact average of a window is its correctly rounded sum divided by its length (R28). Summing every
window anew costs its length per value, so averages are first estimated from running sums, with a bound on
the error of the estimate; only where the estimate is too close to a threshold to be sure is the exact
average taken. The verdict is the same, always.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import accumulate
from typing import Any, TypeVar

T = TypeVar("T")

# The unit roundoff of a double.
ROUNDOFF = 2.0**-53


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
    "none": lambda window: window[-1],
}


def size(aggregation: str, window: int) -> int:
    """How many values are looked at: with `none` the latest alone, whatever the window (R27)."""
    return 1 if aggregation == "none" else window


@dataclass(frozen=True, slots=True)
class Signal:
    """What a rule compares, as one number for every end.

    Each number is off by at most its error, and NaN where only the exact one can tell; `low` and `high`
    bound them all, errors included. Ends before the first full window hold something without meaning.
    """

    numbers: Sequence[float]
    errors: Sequence[float]
    low: float
    high: float

    @classmethod
    def of(cls, numbers: Sequence[float], errors: Sequence[float], *, start: int) -> Signal:
        """The signal whose first end with a meaning is `start`."""
        seen, margin = numbers[start:], max(errors[start:], default=0.0)
        low, high = -math.inf, math.inf
        if seen and math.isfinite(margin) and not any(map(math.isnan, seen)):
            low, high = min(seen) - margin, max(seen) + margin
        return cls(numbers, errors, low, high)


class Track:
    """The finite values of one metric around one batch: the lead before it, then the batch's own.

    `new` is where the batch's values begin; `ordinal` counts the finite values of the series before
    `values[0]`. Every method speaks of windows by the position of their last value, their *end*. One
    track serves all rules on the metric: what several of them need is computed once (`remember`).
    """

    def __init__(self, values: Sequence[float], *, new: int = 0, ordinal: int = 0) -> None:
        self.values = values
        self.new = new
        self.ordinal = ordinal
        self._remembered: dict[Hashable, Any] = {}

    def remember(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, made once per key."""
        if key not in self._remembered:
            self._remembered[key] = make()
        found: T = self._remembered[key]
        return found

    def first_end(self, *, reach: int, warmup: int, hold: int) -> int:
        """The first end worth evaluating: its window is full, warm-up left out (the first `warmup`
        values of the series are ignored), and it can be part of a streak that ends in the batch."""
        full = max(0, warmup - self.ordinal) + reach - 1
        return max(full, self.new - hold + 1, 0)

    def exact(self, aggregation: str, *, window: int, end: int) -> float:
        """The aggregate of the window that ends there."""
        width = size(aggregation, window)
        return AGGREGATIONS[aggregation](self.values[end - width + 1 : end + 1])

    def aggregates(self, aggregation: str, *, window: int) -> Signal:
        """The aggregate of the window that ends at each end."""
        width = size(aggregation, window)
        return self.remember((aggregation, width), lambda: self._aggregates(aggregation, width))

    def _aggregates(self, aggregation: str, width: int) -> Signal:
        count = len(self.values)
        if width > count:
            return Signal.of([math.nan] * count, [0.0] * count, start=count)
        if aggregation == "average" and width > 1:
            errors = [self._bound(width)] * count
            return Signal.of(self._averages(width), errors, start=width - 1)
        numbers = self.values
        if width > 1:
            numbers = _sliding(self.values, width, largest=aggregation == "max")
        return Signal.of(numbers, [0.0] * count, start=width - 1)

    @cached_property
    def _sums(self) -> list[float]:
        return list(accumulate(self.values, initial=0.0))

    @cached_property
    def _magnitude(self) -> float:
        """An upper bound of the absolute value of every running sum; infinite where one may overflow."""
        largest = max(map(abs, self.values), default=0.0)
        return math.fsum(map(abs, self.values)) if largest < 1e300 / (len(self.values) + 1) else math.inf

    def _averages(self, width: int) -> list[float]:
        sums = self._sums
        ends = zip(sums[width:], sums, strict=False)
        return [math.nan] * (width - 1) + [(upper - lower) / width for upper, lower in ends]

    def _bound(self, width: int) -> float:
        """How far an estimated average can be from the exact one.

        Both running sums carry at most n roundings of at most their magnitude; the factor 4 covers the
        subtraction, the division and the rounding of the exact average itself.
        """
        return 4 * (len(self.values) + 8) * ROUNDOFF * self._magnitude / width + 5e-324

    def moments(self, window: int, *, end: int) -> Moments:
        """Mean and deviation of the `window` values right before that end, it not included."""
        known = self.remember(("moments", window), dict[int, Moments])
        if end not in known:
            known[end] = Moments.of(self.values[end - window : end])
        return known[end]


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and population standard deviation."""

    mean: float
    deviation: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Moments:
        mean = average(values)
        try:
            variance = math.fsum([(value - mean) ** 2 for value in values]) / len(values)
        except OverflowError:
            variance = math.inf
        return cls(mean, math.sqrt(variance), len(values))

    def score(self, value: float) -> float:
        """z, or NaN (not evaluated) where the deviation is 0 or beyond the range of a double."""
        if self.deviation == 0 or not math.isfinite(self.deviation):
            return math.nan
        return (value - self.mean) / self.deviation


def _sliding(values: Sequence[float], width: int, *, largest: bool) -> list[float]:
    """The minimum or maximum of the window of `width` that ends at each position (or of what there is)."""
    window: deque[int] = deque()
    found = []
    for end, value in enumerate(values):
        while window and (values[window[-1]] <= value if largest else values[window[-1]] >= value):
            window.pop()
        window.append(end)
        if window[0] <= end - width:
            window.popleft()
        found.append(values[window[0]])
    return found


def held(ends: Sequence[int], *, times: int) -> list[int]:
    """Of increasing ends where a level was true, those where it was so `times` in a row."""
    if times == 1:
        return list(ends)
    found = []
    streak = 0
    previous = -2
    for end in ends:
        streak = streak + 1 if end == previous + 1 else 1
        previous = end
        if streak >= times:
            found.append(end)
    return found


def from_position(ends: Sequence[int], position: int) -> Sequence[int]:
    """The ends at or after a position."""
    return ends[bisect_left(ends, position) :]
