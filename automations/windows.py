"""Windows over the finite values of one series. Pure: sequences of floats in, numbers out.

The exact average of a window is its correctly rounded sum divided by its length (R28). Every double is a
whole multiple of some power of two, so sums are kept as whole numbers: the difference of two running sums
is the exact sum of a window, however long it is, and no window is summed anew.
"""

from __future__ import annotations

import math
import operator
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import accumulate, islice, repeat
from typing import Any, TypeVar

from automations.outliers import ROUNDOFF, SLACK, Moving

T = TypeVar("T")


def average(values: Sequence[float]) -> float:
    """The correctly rounded sum divided by the count (R28): .5 .6 .6 .6 .7 averages exactly .6."""
    try:
        return math.fsum(values) / len(values)
    except OverflowError:  # already of a part of the sum, perhaps
        total = sum(map(Fraction, values))
        return _mean(total.numerator, total.denominator, len(values))


def _mean(total: int, scale: int, count: int) -> float:
    """The average of `count` numbers whose exact sum is `total / scale`."""
    try:
        return total / scale / count  # Python rounds the quotient of whole numbers correctly
    except OverflowError:  # the sum leaves the range of a double, the average does not
        return total / (scale * count)


def size(aggregation: str, window: int) -> int:
    """How many values are looked at: with `none` the latest alone, whatever the window (R27)."""
    return 1 if aggregation == "none" else window


@dataclass(frozen=True, slots=True)
class Signal:
    """What a rule compares, as one number for every end; NaN where nothing is evaluated.

    With `slack` the numbers are estimates: each is off by at most that share of itself, and NaN where only
    the exact one can tell. `low` and `high` bound them all, whatever they are off.
    """

    numbers: Sequence[float]
    slack: float
    low: float
    high: float

    @classmethod
    def of(cls, numbers: Sequence[float], *, start: int, slack: float = 0.0) -> Signal:
        """The signal whose first end that can be evaluated is `start`."""
        seen = numbers[start:]
        if math.isnan(sum(seen)):  # perhaps of two infinities only
            seen = [number for number in seen if not math.isnan(number)]
        if slack and start + len(seen) < len(numbers):
            return cls(numbers, slack, -math.inf, math.inf)
        low, high = min(seen, default=math.nan), max(seen, default=math.nan)
        if slack:
            low, high = low - slack * abs(low), high + slack * abs(high)
        return cls(numbers, slack, low, high)

    def is_sure(self, end: int, borders: Iterable[float]) -> bool:
        """Whether the number says for certain on which side of the borders the exact one lies."""
        if not self.slack:
            return True
        number = self.numbers[end]
        return all(abs(number - border) > self.slack * abs(number) for border in borders)


class Track:
    """The finite values of one metric around one batch: the lead before it, then the batch's own.

    `new` is where the batch's values begin; `ordinal` counts the finite values of the series before
    `values[0]`. Every method speaks of windows by the position of their last value, their *end*. One
    track serves all rules on the metric: what several of them need is computed once (`remember`).
    """

    def __init__(
        self,
        values: Sequence[float],
        *,
        new: int = 0,
        ordinal: int = 0,
        pulse: Callable[[], None] = lambda: None,
    ) -> None:
        """`pulse` is called again and again where the work is long, and may end it by raising."""
        self.values = values
        self.new = new
        self.ordinal = ordinal
        self.pulse = pulse
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

    def window(self, end: int, count: int) -> Sequence[float]:
        """The `count` values that end there."""
        return self.values[end - count + 1 : end + 1]

    def aggregates(self, aggregation: str, *, window: int) -> Sequence[float]:
        """The aggregate of the window that ends at each end; NaN where it is not full."""
        width = size(aggregation, window)
        return self.remember((aggregation, width), lambda: self._aggregates(aggregation, width))

    def _aggregates(self, aggregation: str, width: int) -> Sequence[float]:
        if width == 1:
            return self.values
        if width > len(self.values):
            return [math.nan] * len(self.values)
        if aggregation == "average":
            full = self._averages(width)
        else:
            full = list(self._extremes_of(width, largest=aggregation == "max"))
        return [math.nan] * (width - 1) + full

    def _extremes_of(self, width: int, *, largest: bool) -> Sequence[float]:
        """Of the full windows of `width`; put together from those of half of it, which others need too."""
        if width == 1:
            return self.values

        def make() -> Sequence[float]:
            half = 1 << (width - 1).bit_length() - 1
            return joined(self._extremes_of(half, largest=largest), width - half, largest=largest)

        return self.remember(("extremes of", width, largest), make)

    def _averages(self, width: int) -> list[float]:
        sums, scale = self._sums, self._scale
        totals = list(map(operator.sub, sums[width:], sums))
        try:
            return [total / scale / width for total in totals]
        except OverflowError:
            return [_mean(total, scale, width) for total in totals]

    @cached_property
    def extremes(self) -> tuple[float, float]:
        """Between which every value lies, and every aggregate of a window, however it is rounded."""
        low, high = min(self.values), max(self.values)
        slack = 8 * ROUNDOFF * max(-low, high) + 8 * math.ulp(0.0)
        return low - slack, high + slack

    @cached_property
    def _shift(self) -> int:
        """The power of two by which every value becomes a whole number: a double has 53 digits."""
        smallest = min((abs(value) for value in self.values if value), default=1.0)
        return max(0, 53 - math.frexp(smallest)[1])

    @cached_property
    def _scale(self) -> int:
        return 1 << self._shift

    @cached_property
    def _wholes(self) -> list[int]:
        largest = max(map(abs, self.values), default=0.0)
        if self._shift + max(math.frexp(largest)[1], 0) < 1023:
            factor = 2.0**self._shift  # nothing overflows, so each product is exact
            return [int(value * factor) for value in self.values]
        ratios = map(float.as_integer_ratio, self.values)
        return [numerator * (self._scale // denominator) for numerator, denominator in ratios]

    @cached_property
    def _sums(self) -> list[int]:
        return list(accumulate(self._wholes, initial=0))

    @cached_property
    def _squares(self) -> list[int]:
        return list(accumulate((whole * whole for whole in self._wholes), initial=0))

    def average_bounds(self, width: int) -> tuple[float, float]:
        """Between which every average of `width` values lies, found in plain doubles."""
        return self.remember(("average bounds", width), lambda: self._average_bounds(width))

    def _average_bounds(self, width: int) -> tuple[float, float]:
        estimates, error = self.estimated_averages(width)
        if not estimates or not math.isfinite(error):
            return self.extremes
        return min(estimates) - error, max(estimates) + error

    def estimated_averages(self, width: int) -> tuple[Sequence[float], float]:
        """Of the full windows, in order, by running sums; and how far each may be from the exact one.

        A running sum of n numbers is off by less than n roundoffs of all that was added up.
        """
        return self.remember(("estimates", width), lambda: self._estimated_averages(width))

    def _estimated_averages(self, width: int) -> tuple[Sequence[float], float]:
        count = len(self.values)
        sums = self._running
        largest = max(-self.extremes[0], self.extremes[1])
        added = map(operator.sub, sums[width:], sums)
        total = count * largest  # which no running sum exceeds; beyond a double's range they say nothing
        error = 4 * (count + 4) * ROUNDOFF * total / width + math.ulp(0.0)
        return list(map(operator.truediv, added, repeat(width))), error

    @cached_property
    def _running(self) -> list[float]:
        return list(accumulate(self.values, initial=0.0))

    def moving(self, window: int) -> Moving | None:
        """What plain doubles tell of each value against the `window` values right before it."""
        return self.remember(("moving", window), lambda: Moving.of(self.values, window))

    def scores(self, window: int) -> Signal:
        """z of each value against the `window` values right before it, estimated."""
        return self.remember(("scores", window), lambda: self._scores(window))

    def _scores(self, window: int) -> Signal:
        sums, squares, scale = self._sums, self._squares, self._scale
        numbers = [math.nan] * min(window, len(self.values))
        for end in range(window, len(self.values)):
            total = sums[end] - sums[end - window]
            spread = window * (squares[end] - squares[end - window]) - total * total
            mean = _mean(total, scale, window)
            numbers.append(_estimated_score(self.values[end], mean, spread, window * scale))
        return Signal.of(numbers, start=len(numbers[:window]), slack=SLACK)


def _estimated_score(value: float, mean: float, spread: int, unit: int) -> float:
    """z by the true variance, `spread / unit²`, which differs from the one that R37 writes down: there the
    mean is rounded first, by at most two roundoffs. NaN where that may matter.

    Around a mean that is off by d the variance is greater by d², so z is off by half the square of
    d / deviation, as a share of itself, and by some roundoffs. Numbers whose squares would vanish or
    overflow are left to the exact score.
    """
    if spread == 0:  # all equal: not evaluated, and 0 meets no condition
        return 0.0
    try:
        deviation = math.sqrt(spread / (unit * unit))
    except OverflowError:
        return math.nan
    if not 1e-140 < deviation < 1e140 or 2 * ROUNDOFF * abs(mean) > 1e-5 * deviation:
        return math.nan
    return (value - mean) / deviation


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and population standard deviation (R42)."""

    mean: float
    deviation: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Moments:
        if min(values) == max(values):
            # Of equal values the rounded mean may be another number, and the deviation then not 0 (V11).
            return cls(values[0], 0.0, len(values))
        mean = average(values)
        try:
            variance = average([(value - mean) ** 2 for value in values])
        except OverflowError:
            variance = math.inf
        return cls(mean, math.sqrt(variance), len(values))

    def score(self, value: float) -> float:
        """z, or NaN (not evaluated) where the deviation is 0 or beyond the range of a double."""
        if self.deviation == 0 or not math.isfinite(self.deviation):
            return math.nan
        return (value - self.mean) / self.deviation


def joined(seen: Sequence[float], step: int, *, largest: bool) -> list[float]:
    """Of each window and the one `step` further, which touch or overlap, the extreme of both."""
    later = islice(seen, step, None)
    if largest:
        return [one if one > other else other for one, other in zip(seen, later, strict=False)]
    return [one if one < other else other for one, other in zip(seen, later, strict=False)]


def held(ends: Iterable[int], *, times: int) -> list[int]:
    """Of increasing ends where a level was true, those where it was so `times` in a row."""
    found = []
    streak = 0
    previous = -2
    for end in ends:
        streak = streak + 1 if end == previous + 1 else 1
        previous = end
        if streak >= times:
            found.append(end)
    return found


def weakest(strengths: Sequence[float], *, times: int) -> list[float]:
    """At each position the least of the latest `times` strengths: what was held so often in a row.

    NaN where there are not so many yet, or one of them is NaN.
    """
    track = Track([-math.inf if math.isnan(one) else one for one in strengths])
    least = list(track.aggregates("min", window=times))
    streak = 0
    for position, strength in enumerate(strengths):
        streak = 0 if math.isnan(strength) else streak + 1
        if streak < times:
            least[position] = math.nan
    return least


def from_position(ends: Sequence[int], position: int) -> Sequence[int]:
    """The ends at or after a position."""
    return ends[bisect_left(ends, position) :]
