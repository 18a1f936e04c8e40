"""Runs a program of Tripline as it is, and dies at a commit when it is told to.

    python -m tests.faults.victim ROLE manage.py up --port 8000
    python -m tests.faults.victim ROLE -m celery -A config worker

Every commit goes through Django's connection, and so past a gate: that of an outermost atomic block,
named by the function that opened it, and that of a statement which writes outside of any block. The
program itself knows nothing of this.
"""

from __future__ import annotations

import os
import re
import runpy
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from tests.faults.orders import AFTER, BEFORE, FOLDER, Gate

# Set for the proof that the harness sees a loss: deliveries are written, and nobody is told.
DEAF = "FAULTS_DEAF"
OURS = {"automations", "registry", "runs", "config"}
_WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE)\b", re.IGNORECASE)


def main(role: str, *program: str) -> None:
    die_with_the_harness()
    watch_commits(Gate(Path(os.environ[FOLDER]), role))
    if os.environ.get(DEAF):
        swallow_doorbells_of_deliveries()
    if program[0] == "-m":
        sys.argv = list(program[1:])
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(program)
        runpy.run_path(program[0], run_name="__main__")


def die_with_the_harness() -> None:
    """The harness holds the other end of stdin: even killed, it leaves no victim behind."""

    def wait() -> None:
        os.read(0, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def watch_commits(gate: Gate) -> None:
    """Have every commit of this process pass the gate, before and after."""
    commit = BaseDatabaseWrapper.commit

    # What Django does when a transaction is committed, the doorbells, comes later than this.
    def watched_commit(self: BaseDatabaseWrapper) -> None:
        boundary = opener(sys._getframe(1))
        gate.reach(boundary, BEFORE)
        commit(self)
        gate.reach(boundary, AFTER)

    BaseDatabaseWrapper.commit = watched_commit  # type: ignore[method-assign]
    for name in ("_execute", "_executemany"):
        setattr(CursorWrapper, name, watched_statement(gate, getattr(CursorWrapper, name)))


def watched_statement(gate: Gate, execute: Callable[..., Any]) -> Callable[..., Any]:
    def watched(self: CursorWrapper, sql: Any, *rest: Any) -> Any:
        if self.db.in_atomic_block or not _WRITES.match(str(sql)):
            return execute(self, sql, *rest)
        boundary = f"{opener(sys._getframe(1))} (one statement)"
        gate.reach(boundary, BEFORE)
        result = execute(self, sql, *rest)
        gate.reach(boundary, AFTER)
        return result

    return watched


def opener(frame: FrameType | None) -> str:
    """The function of Tripline, the innermost, that stands around a commit."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__"))
        if _is_ours(name):
            return f"{name}.{frame.f_code.co_qualname}"
        # A decorated function has ended by the time of the commit; the decorator still knows it.
        decorated = frame.f_locals.get("func") if name == "contextlib" else None
        if decorated is not None and _is_ours(decorated.__module__):
            return f"{decorated.__module__}.{decorated.__qualname__}"
        frame = frame.f_back
    return "elsewhere"


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in OURS


def swallow_doorbells_of_deliveries() -> None:
    from automations import doorbell

    ring = doorbell._ring

    def deaf(task: str, argument: int | None, **options: Any) -> None:
        if task.startswith("evaluate"):
            ring(task, argument, **options)

    doorbell._ring = deaf


if __name__ == "__main__":
    main(*sys.argv[1:])
