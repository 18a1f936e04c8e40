"""Durations on the status page."""

from __future__ import annotations

from datetime import datetime

from django import template

from automations.health import words

register = template.Library()


@register.filter
def spoken(seconds: float) -> str:
    return words.spoken(seconds)


@register.filter
def after(moment: datetime | None, start: datetime) -> str:
    """How long after `start` that was; a dash for what has not been."""
    return words.spoken(max(0.0, (moment - start).total_seconds())) if moment else "–"
