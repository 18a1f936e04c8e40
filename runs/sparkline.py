"""A series as a line of the size of a word, drawn in SVG so that it needs no script."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

WIDTH, HEIGHT = 96, 22
_MARGIN = 2


def path(positions: Sequence[float], values: Sequence[float]) -> str:
    """The `d` of an SVG path in a box of WIDTH by HEIGHT; interrupted where a value is no finite number."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    across = _scale(positions[0], positions[-1], start=_MARGIN, end=WIDTH - _MARGIN)
    up = _scale(min(finite), max(finite), start=HEIGHT - _MARGIN, end=_MARGIN)
    steps, pen_up = [], True
    for position, value in zip(positions, values, strict=True):
        if math.isfinite(value):
            steps.append(f"{'M' if pen_up else 'L'}{across(position):.1f} {up(value):.1f}")
        pen_up = not math.isfinite(value)
    # A single point is a line of no length, which round caps show as a dot.
    return "".join(steps) + ("h0" if len(steps) == 1 else "")


def _scale(low: float, high: float, *, start: float, end: float) -> Callable[[float], float]:
    """From one range to another; halved first, so that the largest doubles do not overflow."""
    span = high / 2 - low / 2

    def scaled(value: float) -> float:
        share = (value / 2 - low / 2) / span if span else 0.5
        return start + share * (end - start)

    return scaled
