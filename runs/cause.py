"""Where a request came from, when one of our own messages led to it.

An outgoing message carries `Tripline-Cause: <execution>/<depth>/<signature>`; a request that carries it
back is the work of that message, and what it changes is one step deeper. Whoever makes one up is not
believed: a forged depth could silence the rules that watch. Inside, a cause is `<execution>/<depth>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.utils.crypto import constant_time_compare, salted_hmac

HEADER = "Tripline-Cause"
LENGTH = 32

_FORM = re.compile(r"([0-9]{1,18}/[0-9]{1,3})/([0-9a-f]{32})", re.ASCII)
_current: ContextVar[str] = ContextVar("cause", default="")


def current() -> str:
    """The cause of what is being done, "" where there is none."""
    return _current.get()


@contextmanager
def caused_by(header: str) -> Iterator[None]:
    """Everything done inside has the cause that a header names; a header that is not ours names none."""
    found = _FORM.fullmatch(header)
    is_ours = found is not None and constant_time_compare(_signature(found[1]), found[2])
    token = _current.set(found[1] if found and is_ours else "")
    try:
        yield
    finally:
        _current.reset(token)


def signed(text: str) -> str:
    """The header that carries a cause."""
    return f"{text}/{_signature(text)}"


def depth(text: str) -> int:
    """How many of our messages led there, one after the other."""
    return int(text.partition("/")[2]) if text else 0


def following(text: str, execution_id: int) -> str:
    """The cause that an execution gives to what follows from it."""
    return f"{execution_id}/{min(depth(text) + 1, 999)}"


def _signature(text: str) -> str:
    return salted_hmac(HEADER, text, algorithm="sha256").hexdigest()[:32]
