"""Threads as the embedded server uses them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def thread(
    name: str, work: Callable[[], object], on_end: Callable[[], None] | None = None
) -> threading.Thread:
    """A thread that does `work` when it is started; `on_end` is called when it ends, whyever."""

    def run() -> None:
        try:
            work()
        finally:
            if on_end:
                on_end()

    return threading.Thread(target=run, name=name, daemon=True)


def join(thread: threading.Thread, deadline: float) -> bool:
    """Whether it ended before then (`time.monotonic`)."""
    thread.join(max(0.0, deadline - time.monotonic()))
    return not thread.is_alive()


class LatestFirst:
    """A condition that wakes who began to wait last. The usual one wakes who has waited longest."""

    def __init__(self, lock: threading.Lock) -> None:
        """`lock` is held by whoever calls the rest."""
        self._lock = lock
        self._waiting: list[threading.Condition] = []

    def wait(self) -> None:
        mine = threading.Condition(self._lock)
        self._waiting.append(mine)
        mine.wait()

    def notify(self) -> None:
        if self._waiting:
            self._waiting.pop().notify()

    def notify_all(self) -> None:
        while self._waiting:
            self.notify()
