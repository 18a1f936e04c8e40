"""Copying what was written back into the database's file, beside the work and not in it.

SQLite leaves this to whoever commits: every few hundred calls one would wait for the disk. A passive
checkpoint holds nobody up; what it could not copy the next one does, and `wal_autocheckpoint` stays for
processes without this.
"""

from __future__ import annotations

import logging
import threading

from django.db import Error, connection

from config import threads

log = logging.getLogger("tripline.sqlite")

# Seconds from one to the next.
EVERY = 0.25


class Checkpoints:
    """A thread that makes them. It has nothing in hand that could be lost."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._thread = threads.thread("checkpoints", self._make)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def join(self, deadline: float) -> bool:
        return threads.join(self._thread, deadline)

    def _make(self) -> None:
        while not self._stopping.wait(EVERY):
            try:
                with connection.cursor() as cursor:
                    cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
                    cursor.fetchall()
            except Error as error:
                log.warning("The database file could not be brought up to date: %s", error)
        connection.close()
