"""Letting it be another time while the example's past is written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from unittest.mock import patch

from django.utils import timezone


class Hourglass:
    """A clock that is set forward from moment to moment, and runs between; it never goes back."""

    def __init__(self, beginning: datetime) -> None:
        self._set_to, self._set_at = beginning, time.monotonic()

    def now(self) -> datetime:
        return self._set_to + timedelta(seconds=time.monotonic() - self._set_at)

    def turn_to(self, moment: datetime) -> None:
        self._set_to, self._set_at = max(moment, self.now()), time.monotonic()


@contextmanager
def past(beginning: datetime) -> Iterator[Hourglass]:
    """The whole process's time, until the block ends.

    Everything that stamps a row asks Django's clock, `runs.clock` too as long as the database is SQLite. So
    services, decisions and deliveries do what they always do, and what they write down is of then. Only
    before the server starts: whatever else ran meanwhile would be of then as well.
    """
    glass = Hourglass(beginning)
    with patch.object(timezone, "now", glass.now):
        yield glass
