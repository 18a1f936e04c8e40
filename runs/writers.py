"""Waiting for what was accepted already and is not visible yet."""

from __future__ import annotations

import threading
import time

from django.db import connection

# Seconds. A transaction that is open for longer is none of a batch's, and nobody waits for it.
LONGEST = 0.5
_PAUSE = 0.002


def await_writers() -> None:
    """Return when every transaction of this database that writes at the moment has ended.

    An acceptance time is taken under a lane's lock and committed a little later; of another lane one can
    therefore become visible after a later one. Who reads "everything accepted until T" across lanes calls
    this first, at any time after T. SQLite has one writer at a time, so there nobody is to be waited for.
    """
    if connection.vendor != "postgresql":
        return
    waited_for, deadline = _writing(), time.monotonic() + LONGEST
    while waited_for and time.monotonic() < deadline:
        threading.Event().wait(_PAUSE)
        waited_for &= _writing()


def _writing() -> set[int]:
    """The numbers of the other transactions that have written or locked something."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT backend_xid::text::bigint FROM pg_stat_activity WHERE backend_xid IS NOT NULL"
            " AND datname = current_database() AND pid <> pg_backend_pid()"
        )
        return {number for (number,) in cursor.fetchall()}
