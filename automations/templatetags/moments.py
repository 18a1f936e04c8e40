"""Times inside of sentences, so that they too are shown in the reader's zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from django import template
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

# As `isoformat` writes them, with a zone.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?[+-]\d\d:\d\d")


@register.filter
def with_times(text: str) -> SafeString:
    """The text, escaped, each moment in it marked as one."""
    return mark_safe(_MOMENT.sub(_marked, escape(text)))  # noqa: S308  # escaped just here


def _marked(found: re.Match[str]) -> str:
    try:
        moment = datetime.fromisoformat(found[0]).astimezone(UTC)
    except (ValueError, OverflowError):
        return found[0]
    return format_html(
        '<time datetime="{}">{} UTC</time>', moment.isoformat(), moment.strftime("%Y-%m-%d %H:%M:%S")
    )
