"""The Japanese catalog: what has to be in it, what is in it, and how both of its files are written.

Babel does it all, on any machine: GNU gettext need not be installed, neither to test nor to translate.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from babel.messages import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

ROOT = Path(__file__).parents[2]
APPS = ("automations", "registry", "runs", "config")
PO = ROOT / "config" / "locale" / "ja" / "LC_MESSAGES" / "django.po"
MO = PO.with_suffix(".mo")

# What identifies a message: its context, its text, and its plural or "".
Key: TypeAlias = tuple[str, str, str]

_KEYWORDS = {
    **DEFAULT_KEYWORDS,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext_lazy": (1, 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext_lazy": ((1, "c"), 2, 3),
}
_TEMPLATES = (".html", ".txt", ".xml", ".js")


class _Japanese(Catalog):
    """Its head says what readers of the file need, and nothing that changes by itself: no dates, no names."""

    @property
    def mime_headers(self) -> list[tuple[str, str]]:  # nobody sets it
        return [
            ("Language", "ja"),
            ("MIME-Version", "1.0"),
            ("Content-Type", "text/plain; charset=UTF-8"),
            ("Content-Transfer-Encoding", "8bit"),
            ("Plural-Forms", "nplurals=1; plural=0;"),
        ]


# --- What has to be translated --------------------------------------------------------------------


def python_files() -> list[Path]:
    found = [path for app in APPS for path in (ROOT / app).rglob("*.py")]
    return sorted(path for path in found if "migrations" not in path.parts)


def templates() -> list[Path]:
    found = [path for app in APPS for path in (ROOT / app).rglob("templates/**/*")]
    return sorted(path for path in found if path.suffix in _TEMPLATES)


def needed() -> dict[Key, Message]:
    """Every text that the code marks for translation."""
    found = [text for path in python_files() for text in marked_in_python(path.read_text(encoding="utf-8"))]
    for path in templates():
        found += marked_in_template(path.read_text(encoding="utf-8"))
    return {key_of(message): message for message in found}


def marked_in_template(source: str) -> Iterator[Message]:
    """Django writes the calls that a template's tags stand for; indentation would mean something here."""
    calls = templatize(source).splitlines()
    return marked_in_python("\n".join(line.strip() for line in calls))


def marked_in_python(source: str) -> Iterator[Message]:
    file = io.BytesIO(source.encode())
    for _line, text, _comments, context in extract("python", file, _KEYWORDS, options={"encoding": "utf-8"}):
        yield Message(text, context=context)


def key_of(message: Message) -> Key:
    text, plural = message.id if isinstance(message.id, (tuple, list)) else (message.id, "")
    return (message.context or "", text, plural)


# --- What is there --------------------------------------------------------------------------------


def stored(text: bytes | None = None) -> dict[Key, Message]:
    """The messages of the .po file, without its head; fuzzy ones too, obsolete ones not."""
    return {key_of(message): message for message in _read(text) if message.id}


def obsolete() -> list[str]:
    return sorted(str(name) for name in _read().obsolete)


def _read(text: bytes | None = None) -> Catalog:
    return read_po(io.BytesIO(PO.read_bytes() if text is None else text), locale="ja")


def compiled(text: bytes | None = None) -> bytes:
    """What the .po file compiles to."""
    file = io.BytesIO()
    write_mo(file, _filled(stored(text).values()))
    return file.getvalue()


def _filled(messages: object) -> _Japanese:
    catalog = _Japanese(locale="ja")
    for message in messages:  # type: ignore[attr-defined]
        catalog.add(message.id, message.string, context=message.context, flags=message.flags)
    return catalog


# --- Writing it -----------------------------------------------------------------------------------


def renewed() -> bytes:
    """The .po file with exactly what is needed: translations are kept, new messages are empty.

    Sorted, not wrapped, without places in the code: two people who add messages meet in no other line.
    """
    there = stored()
    messages = [there.get(key, message) for key, message in needed().items()]
    file = io.BytesIO()
    write_po(file, _filled(messages), width=0, no_location=True, omit_header=True, sort_output=True)
    return b"\n\n".join([_head(), file.getvalue().strip()]) + b"\n"


def _head() -> bytes:
    """The notes for translators, as they stand there, and what gettext has to know."""
    notes = re.match(rb"(#.*\n)*", PO.read_bytes())
    assert notes
    lines = "".join(f'"{name}: {value}\\n"\n' for name, value in _Japanese().mime_headers)
    return notes[0] + b'msgid ""\nmsgstr ""\n' + lines.strip().encode()


def texts(message: Message) -> list[str]:
    """The translations of a message: one, for Japanese has no plural."""
    return [message.string] if isinstance(message.string, str) else list(message.string or ())
