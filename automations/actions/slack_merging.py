"""Several Slack messages in one, where they come faster than a channel takes them. Nothing is dropped. Pure.

A few keep all their blocks; many become a list: a line each with its title, the beginning of what it says,
and its link.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from django.utils.translation import gettext as _

# Slack's own limits: blocks of a message, characters of a section and of the text.
BLOCKS, SECTION, TEXT = 50, 3000, 40_000
# A line of the list, so that a hundred of them fit.
_LINE = 380

Message = dict[str, Any]


def merged(messages: Sequence[Message]) -> Message:
    """One message that says what all of them say."""
    title = _("%(count)d messages") % {"count": len(messages)}
    blocks = _all_blocks(messages)
    if len(blocks) >= BLOCKS:
        blocks = [_section(text) for text in _sections(list(map(_line, messages)))]
    text = "\n\n".join(message["text"] for message in messages)
    if len(text) > TEXT - len(title) - 2:
        text = "\n".join(map(_line, messages))
    return {"text": f"{title}\n\n{text}", "blocks": [_header(title), *blocks]}


def _all_blocks(messages: Sequence[Message]) -> list[Message]:
    blocks: list[Message] = []
    for message in messages:
        blocks += [{"type": "divider"}, *message["blocks"]] if blocks else message["blocks"]
    return blocks


def _line(message: Message) -> str:
    """The first lines of the text in one, and the link, which stands last in the blocks."""
    first, *rest = message["text"].split("\n")
    link = rest.pop() if rest and rest[-1].startswith("<") else ""
    room = _LINE - len(link) - 6
    if room < 80:  # a line is more useful than half a link
        link, room = "", _LINE
    said = f"{first} — {rest[0]}" if rest else first
    return f"• {cut(said, room)} {link}".rstrip()


def cut(text: str, length: int) -> str:
    """The text, or as much of it as fits and a sign that there was more."""
    if len(text) <= length:
        return text
    # Not in the middle of an escape: a lone “&am” would show.
    return re.sub(r"&[a-z]{0,3}$", "", text[: length - 1]) + "…"


def _sections(lines: Sequence[str]) -> Iterator[str]:
    """Lines, as many together as a section takes."""
    section = ""
    for line in lines:
        if section and len(section) + 1 + len(line) > SECTION:
            yield section
            section = ""
        section = f"{section}\n{line}" if section else line
    yield section


def _header(title: str) -> Message:
    return {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": True}}


def _section(text: str) -> Message:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}
