"""How numbers are shown."""

from __future__ import annotations


def number(value: float | str | None) -> str:
    """A logged value in few digits; what is no finite number by its name."""
    if value is None:
        return "–"
    return value if isinstance(value, str) else f"{value:.5g}"
