"""Comparisons, exactly as the semantics spell them. Pure: numbers in, booleans out."""

from __future__ import annotations

import operator
from collections.abc import Callable

# R29
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "above": operator.gt,
    "above_or_equal": operator.ge,
    "below": operator.lt,
    "below_or_equal": operator.le,
    "not_equal": operator.ne,
    "equal": operator.eq,
}

SYMBOLS = {
    "above": ">",
    "above_or_equal": "≥",
    "below": "<",
    "below_or_equal": "≤",
    "not_equal": "≠",
    "equal": "=",
}

# The states a rule can choose (R16); every fine state that is an event belongs to one of them.
COARSE_STATUS = {"running": "running", "finished": "finished", "failed": "failed", "crashed": "failed"}


def coarse(status: str) -> str:
    """`running`, `finished`, `failed`, or "" for a state that is no event (R17)."""
    return COARSE_STATUS.get(status, "")
