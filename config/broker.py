"""The broker of the embedded default: kombu's in memory, but a message is handed over as it comes.

Kombu's own looks for messages again and again, and sleeps in between: with sleeps that are short enough not
to be felt, looking alone kept a twentieth of a core busy in a server that had nothing to do.
"""

from __future__ import annotations

from queue import Queue
from typing import Any

from kombu.transport import memory

# Seconds after which a reader looks whether it shall stop.
WAIT = 0.2


class Channel(memory.Channel):
    """For who reads one queue, as each worker of `config.embedded` does: it waits in that one alone."""

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        """The next message. Raises `queue.Empty` when none came meanwhile."""
        waiting: Queue[Any] = self._queue_for(queue)  # type: ignore[no-untyped-call]  # kombu has no types
        return waiting.get(timeout=WAIT)


class Transport(memory.Transport):
    Channel = Channel
    # Only while a worker has as much in hand as it may, and so waits in no queue.
    polling_interval = 0.002
