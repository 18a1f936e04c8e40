"""The one clock that decisions know: the database's."""

from __future__ import annotations

from datetime import datetime

from django.db import connection
from django.utils import timezone


def now() -> datetime:
    """The present moment by the database's clock, aware, in UTC.

    Machines disagree about the time; whatever is compared (acceptance, leases, the daily limit) is
    read from one clock. SQLite is in the same machine, so there the process's clock is that clock.
    """
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        # Not now(): that is when the transaction began, which may be long before it got its lock.
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]  # type: ignore[no-any-return]
