"""Where a request came from, when one of our own messages led to it.

An outgoing message carries `Tripline-Cause: <execution>/<depth>`; a request that carries it back is the
work of that message, and what it changes is one step deeper. Elsewhere it is an opaque text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

HEADER = "Tripline-Cause"
LENGTH = 32

_FORM = re.compile(r"[0-9]{1,18}/[0-9]{1,3}")
_current: ContextVar[str] = ContextVar("cause", default="")


def current() -> str:
    """The cause of what is being done, "" where there is none."""
    return _current.get()


@contextmanager
def caused_by(text: str) -> Iterator[None]:
    """Everything done inside has this cause; a text of another form is none."""
    token = _current.set(text if _FORM.fullmatch(text) else "")
    try:
        yield
    finally:
        _current.reset(token)


def depth(text: str) -> int:
    """How many of our messages led there, one after the other."""
    return int(text.partition("/")[2]) if text else 0


def following(text: str, execution_id: int) -> str:
    """The cause that an execution gives to what follows from it."""
    return f"{execution_id}/{min(depth(text) + 1, 999)}"
