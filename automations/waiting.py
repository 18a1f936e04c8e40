"""Waiting for the next event without eating the server.

A waiter holds a thread and nothing else: no transaction, no lock. Few of one process wait at once, so
that threads are left for everybody else; who finds no place is answered at once and comes again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

LONGEST = 30  # seconds
LOOK_EVERY = 0.1
# After how many seconds to come again, for those who found no place.
COME_AGAIN = 1

# Key of the WSGI environment: an event that is set when the server stops (`config.web.Web`).
STOPPING = "tripline.stopping"

_places = threading.Semaphore(settings.TRIPLINE_LONG_POLLS)


@dataclass(frozen=True, slots=True)
class Wait:
    """One waiting request: until when, and what ends it before."""

    environ: Mapping[str, Any]
    seconds: float
    began: float = field(default_factory=time.monotonic)

    def goes_on(self) -> bool:
        """Sleep until the next look; False when the time is over or nobody is left to answer."""
        left = self.began + self.seconds - time.monotonic()
        if left <= 0 or self._is_abandoned():
            return False
        stopping: threading.Event = self.environ.get(STOPPING) or threading.Event()
        return not stopping.wait(min(left, LOOK_EVERY))

    def _is_abandoned(self) -> bool:
        """Waitress knows whether the client is still there; other servers find out when they answer."""
        client_disconnected = self.environ.get("waitress.client_disconnected")
        return client_disconnected is not None and client_disconnected()


@contextmanager
def place(environ: Mapping[str, Any]) -> Iterator[bool]:
    """Whether there is a place to wait in, kept until the block ends.

    There is none where one request is all that the process can serve.
    """
    taken = bool(environ.get("wsgi.multithread")) and _places.acquire(blocking=False)
    try:
        yield taken
    finally:
        if taken:
            _places.release()
