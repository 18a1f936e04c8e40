"""The servers that a bench measures: Tripline in either shape, and beside it the bare view."""

from __future__ import annotations

import contextlib
import io
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from tests.stories.production import Process, house
from tests.stories.rest import Rest
from tests.upserver import environment_of, up_server, wait_for

_BACKLOG = "SELECT coalesce(sum(head - cursor), 0) FROM runs_lane"


@dataclass
class Tripline:
    """A running Tripline: how to talk to it, its web process, and how many changes are not decided yet."""

    rest: Rest
    web: int
    backlog: Callable[[], int]
    bare_url: str
    bare: int

    def peak_memory(self) -> int:
        """The most that one of its web processes ever held, in MB."""
        return max(map(_peak, [self.web, *_children(self.web)]))


def cpu_seconds(pid: int) -> float:
    """What a process and its children have used of the processors."""
    return sum(map(_used, [pid, *_children(pid)]))


def _used(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(shape: str, folder: Path) -> Iterator[Tripline]:
    """Tripline in the shape "embedded" or "production" on an empty directory, and the bare view beside it."""
    with _embedded(folder) if shape == "embedded" else _production(folder) as server:
        yield server


@contextmanager
def _embedded(folder: Path) -> Iterator[Tripline]:
    bare = Process(
        "bare",
        [sys.executable, "-m", "tests.bench.bareview"],
        environment_of(folder / "bare"),
        folder / "bare.log",
    )
    # For tests it repeats at its end what the server said; a bench prints its figures.
    with redirect_stdout(io.StringIO()), up_server(folder / "data") as server, _serving(bare) as bare_url:
        database = sqlite3.connect(folder / "data" / "tripline.sqlite3", isolation_level=None)
        with contextlib.closing(database):
            yield Tripline(
                Rest(server.url, server.key),
                server.process.pid,
                lambda: int(database.execute(_BACKLOG).fetchone()[0]),
                bare_url,
                _pid(bare),
            )


@contextmanager
def _production(folder: Path) -> Iterator[Tripline]:
    import psycopg

    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(io.StringIO()))
        built = stack.enter_context(house(folder))
        options = "gunicorn tests.bench.bareview:application() --workers 2 --threads 4 --bind 127.0.0.1:0"
        bare = Process("bare", [sys.executable, "-m", *options.split()], built.web.env, folder / "bare.log")
        bare_url = stack.enter_context(_serving(bare))
        database = stack.enter_context(psycopg.connect(built.web.env["DATABASE_URL"], autocommit=True))
        yield Tripline(built.rest, _pid(built.web), lambda: _one(database, _BACKLOG), bare_url, _pid(bare))


def _pid(process: Process) -> int:
    assert process.process is not None
    return process.process.pid


def _one(database: object, statement: str) -> int:
    return int(database.execute(statement).fetchone()[0])  # type: ignore[attr-defined]


@contextmanager
def _serving(bare: Process) -> Iterator[str]:
    bare.start()
    try:
        wait_for(lambda: bare.find(r"Listening at: (http://\S+)"), within=60)
        yield bare.find(r"Listening at: (http://\S+)")
    finally:
        bare.stop()


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in found.read_text().split()] if found.exists() else []


def _peak(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def load() -> list[float]:
    return [round(each, 2) for each in os.getloadavg()[:2]]
