"""Which values stand out from those right before them, told in plain doubles as far as those can tell. Pure.

Running sums of the differences from the first value, and of their squares, are off by at most `count`
roundoffs of all that was added up; with what follows from that for the sums of a window, four times over,
each z is known to lie between two numbers.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, count, repeat

# The unit roundoff of a double; and what the roundings of the last few steps come to, many times over.
ROUNDOFF = 2.0**-53
SLACK = 1e-8
# (a + b)² is at most a² (1 + SHARE) + b² (1 + 1 / SHARE).
SHARE = 1e-7
# A threshold beyond this is taken for it, so that no product leaves the range of a double.
LARGEST = 1e30


@dataclass(frozen=True, slots=True)
class Moving:
    """The values from the first with a full window before it on, and sums over that window; all as
    differences from the series' first value. Around them how far each may be off."""

    window: int
    values: Sequence[float]
    sums: Sequence[float]
    squares: Sequence[float]
    of_sum: float
    of_spread: float
    of_mean: float

    @classmethod
    def of(cls, values: Sequence[float], window: int) -> Moving | None:
        """None where plain doubles tell nothing: of too large, too small or too many equal numbers."""
        if len(values) <= window:
            return None
        off = list(map(operator.sub, values, repeat(values[0])))
        sums = list(accumulate(off, initial=0.0))
        squares = list(accumulate(map(operator.mul, off, off), initial=0.0))
        total, error = squares[-1], 4 * len(values) * ROUNDOFF
        if not 1e-200 < total < 1e200:
            return None
        # R37 rounds the mean before it is subtracted.
        lowest, highest = min(values), max(values)
        of_mean = 4 * ROUNDOFF * window * max(-lowest, highest)
        return cls(
            window,
            off[window:],
            list(map(operator.sub, sums[window:], sums)),
            list(map(operator.sub, squares[window:], squares)),
            error * math.sqrt(len(values) * total) + of_mean,
            4 * error * total * math.sqrt(len(values) * window),
            of_mean,
        )

    def may_reach(self, amount: float, *, sign: int) -> list[int]:
        """The ends at which z, in the direction of `sign` (0: in either), may be `amount` or more."""
        least = (min(amount, LARGEST) * (1 - SLACK)) ** 2 / (1 + SHARE)
        spare = self.of_sum**2 * (1 + 1 / SHARE) + least * self.of_spread
        window, wide = self.window, least * self.window
        rows = zip(count(window), self.values, self.sums, self.squares, strict=False)
        # (n x − Σ)² ≥ t² (n Σx² − Σ²)
        if sign == 0:
            return [
                end
                for end, value, one, both in rows
                if (far := value * window - one) * far + spare >= wide * both - least * one * one
            ]
        some, other = sign * window, -self.of_sum
        return [
            end
            for end, value, one, both in rows
            if (far := value * some - sign * one) >= other
            and far * far + spare >= wide * both - least * one * one
        ]

    def surely_reaches(self, end: int, amount: float) -> bool:
        """Whether z is certainly defined, and at least `amount`, in one direction or the other."""
        place, window = end - self.window, self.window
        one = self.sums[place]
        near = abs(self.values[place] * window - one) - self.of_sum
        spread = window * self.squares[place] - one * one
        if near <= 0 or spread <= self.of_spread:
            return False
        most = amount * (1 + SLACK)
        return near >= most * math.sqrt(spread + self.of_spread + self.of_mean**2)
