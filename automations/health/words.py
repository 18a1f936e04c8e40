"""Durations as one says them."""

from __future__ import annotations

from django.utils.translation import gettext as _


def spoken(seconds: float) -> str:
    """About so long: “35 ms”, “12 s”, “4 min”, “3 h”, “2 d”."""
    if seconds < 0.9995:
        return _("%d ms") % round(seconds * 1000)
    if seconds < 10:
        return _("%s s") % f"{seconds:.1f}"
    if seconds < 120:
        return _("%d s") % seconds
    if seconds < 2 * 3600:
        return _("%d min") % (seconds // 60)
    if seconds < 48 * 3600:
        return _("%d h") % (seconds // 3600)
    return _("%d d") % (seconds // 86_400)
