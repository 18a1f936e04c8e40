"""Stored JSON and texts as blocks that a reader can take in."""

from __future__ import annotations

import json
from typing import Any

from django.utils.html import format_html


def json_block(value: Any) -> str:
    return _block(json.dumps(value, ensure_ascii=False, indent=2))


def text_block(text: str) -> str:
    """A text as it is, but indented where it is JSON."""
    try:
        return json_block(json.loads(text))
    except (ValueError, RecursionError):
        return _block(text)


def _block(text: str) -> str:
    return format_html('<pre style="white-space: pre-wrap; overflow-wrap: anywhere">{}</pre>', text)
