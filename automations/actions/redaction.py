"""Taking secrets out of what is stored: whatever a receiver echoes, in whatever spelling. Pure."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from urllib.parse import quote, quote_plus, unquote, unquote_plus, urlsplit

REDACTED = "[redacted]"

# A part of a URL's path that is so long is a token; shorter ones are words such as “services”.
_TOKEN_LENGTH = 16
# A shorter value of a query is no secret, and taking it out would make a riddle of the answer.
_VALUE_LENGTH = 6
# So much of a secret's beginning, where the text breaks off within it, is taken away too.
_TELLING = 4


def secret_parts(url: str) -> list[str]:
    """What of an address would let somebody else use it: the whole, its path and query, and its tokens."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    pairs = (pair.partition("=")[2] or pair for pair in parts.query.split("&"))
    found = [url]
    found += [text for text in (target, *parts.path.split("/")) if len(text) >= _TOKEN_LENGTH]
    found += [text for text in (parts.query, *pairs) if len(text) >= _VALUE_LENGTH]
    return [*found, *(unquote(text) for text in found), *(unquote_plus(text) for text in found)]


def spellings(secrets: Iterable[str]) -> list[str]:
    """The secrets as they are and as JSON, HTML and URLs write them, the longest first.

    JSON twice: who echoes a body of JSON within JSON writes every escape again.
    """
    found = set(secrets)
    for _time in range(2):
        found |= {
            json.dumps(text, ensure_ascii=is_ascii)[1:-1] for text in found for is_ascii in (True, False)
        }
    for text in tuple(found):
        found |= {html.escape(text), quote(text), quote(text, safe=""), quote_plus(text)}
    return sorted(found - {"", "/"}, key=lambda text: (-len(text), text))


def redacted(text: str, hidden: Sequence[str], *, broken_off: bool = False) -> str:
    """The text without the `hidden` ones, which stand the longest first (`spellings`).

    `broken_off`: it may end within one of them; what is there of it goes too.
    """
    for secret in hidden:
        text = text.replace(secret, REDACTED)
    return _without_beginning(text, hidden) if broken_off else text


def _without_beginning(text: str, hidden: Sequence[str]) -> str:
    for secret in hidden:
        for length in range(len(secret) - 1, _TELLING - 1, -1):
            if text.endswith(secret[:length]):
                return text[:-length] + REDACTED
    return text
