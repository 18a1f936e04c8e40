"""The two ways to run Tripline, each process a victim: killed, and started again."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import redis

from tests.faults.orders import FOLDER, Orders
from tests.servers import PostgresServer, postgres_server, valkey
from tests.stories.production import Broker, Process, commands, environment, prepare
from tests.upserver import ROOT, environment_of, wait_for

START_WITHIN = 60.0  # seconds
# Failures are tried again soon, and for longer than any receiver of the harness goes on failing.
RETRIES = ",".join(["0", "0.2", "0.5", *["1"] * 10, *["2"] * 50])
COMMON = {"TRIPLINE_RETRY_SCHEDULE": RETRIES, "TRIPLINE_SWEEP_EVERY": "1"}
WAITING_CHANGES = "SELECT COALESCE(SUM(head - cursor), 0) FROM runs_lane WHERE cursor < head"
WAITING_MESSAGES = "SELECT count(*) FROM automations_delivery WHERE state = 'pending'"
Strike = Callable[[], None]


@dataclass(frozen=True)
class Waiting:
    """How far behind: changes in lanes that nobody has decided, and messages that have not gone out."""

    changes: int = 0
    messages: int = 0


@dataclass
class Victim(Process):
    """A program under `tests.faults.victim`, and whatever it forks."""

    _said_before: int = 0

    def start(self) -> None:
        self._said_before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=self.env,
                stdin=subprocess.PIPE,  # it ends when we do
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        process = self.process  # whoever starts it again puts another one there meanwhile
        if process is not None:
            self._kill_group(process.pid)
            process.wait()

    def ended(self) -> int | None:
        """The exit code, negative for a signal, or None while it runs."""
        assert self.process is not None
        return self.process.poll()

    def revive(self) -> None:
        """Start again what has ended, after those whom it left behind."""
        assert self.process is not None
        self._kill_group(self.process.pid)
        self.start()

    def says(self, text: str) -> bool:
        """Whether it runs, and said so since it was started last."""
        with self.log.open(errors="replace") as log:
            log.seek(self._said_before)
            return self.ended() is None and text in log.read()

    @staticmethod
    def _kill_group(number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(number, signal.SIGKILL)


@dataclass
class Shape(ABC):
    """A running installation that can be hurt."""

    name: str
    victims: list[Victim]
    orders: Orders
    env: Mapping[str, str] = field(repr=False)
    port: int
    key: str = ""
    # Who ended without having been killed, and with which exit code.
    gave_up: Counter[str] = field(default_factory=Counter)
    _closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @abstractmethod
    def strikes(self) -> dict[str, Strike]:
        """What can be done to it at any moment, by whom it hits."""

    @abstractmethod
    def is_up(self) -> bool:
        """Whether requests are answered and somebody decides and delivers."""

    @abstractmethod
    def ask(self, sql: str) -> int:
        """One number out of the database."""

    def waiting(self) -> Waiting:
        """All zeros while nobody can be asked."""
        try:
            return Waiting(self.ask(WAITING_CHANGES), self.ask(WAITING_MESSAGES))
        except (psycopg.OperationalError, sqlite3.OperationalError):
            return Waiting()

    def wait_until_up(self, within: float = START_WITHIN) -> None:
        wait_for(self.is_up, within=within, every=0.05)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Everything runs, and is started again when it ends, until the block ends."""
        watch = threading.Thread(target=self._keep_running, daemon=True)
        try:
            for victim in self.victims:
                victim.start()
            self._wait_for_first_start()
            watch.start()
            yield
        finally:
            self._closing.set()
            if watch.ident is not None:
                watch.join()
            for victim in self.victims:
                victim.stop()

    def _wait_for_first_start(self) -> None:
        wait_for(lambda: self.is_up() or any(victim.ended() for victim in self.victims), within=START_WITHIN)
        for victim in self.victims:
            assert victim.ended() is None, f"{victim.name} ended:\n{victim.said()}"

    def _keep_running(self) -> None:
        while not self._closing.wait(0.02):
            for victim in self.victims:
                code = victim.ended()
                if code is None:
                    continue
                if code != -signal.SIGKILL:
                    self.gave_up[f"{victim.name} ({code})"] += 1
                victim.revive()


@dataclass
class Embedded(Shape):
    def strikes(self) -> dict[str, Strike]:
        return {"up": self.victims[0].kill}

    def is_up(self) -> bool:
        return self.victims[0].says("Ctrl-C stops it.")

    def ask(self, sql: str) -> int:
        path = Path(self.env["TRIPLINE_DATA_DIR"]) / "tripline.sqlite3"
        with closing(sqlite3.connect(path, timeout=20)) as database:
            (number,) = database.execute(sql).fetchone()
        return int(number)


@dataclass
class Production(Shape):
    broker: Broker = field(kw_only=True)
    database: PostgresServer = field(kw_only=True)

    def strikes(self) -> dict[str, Strike]:
        return {
            "postgres": self._restart_postgres,
            "valkey": self._restart_valkey,
            **{victim.name: victim.kill for victim in self.victims},
        }

    def is_up(self) -> bool:
        """One worker of the two is enough."""
        try:
            return self.broker.listeners() > 0 and _answers(self.port)
        except redis.RedisError:
            return False

    def ask(self, sql: str) -> int:
        with psycopg.connect(self.database.url) as connection:
            row = connection.execute(sql.encode()).fetchone()
        assert row is not None
        return int(row[0])

    def _restart_valkey(self) -> None:
        self.broker.empty()
        self.broker.shut_down()
        time.sleep(random.uniform(0, 1))
        self.broker.come_back()

    def _restart_postgres(self) -> None:
        self.database.fall_over()
        self.database.start()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _port() -> int:
    """A free port that the kernel gives to nobody's outgoing connection while its owner is dead."""
    while True:
        port = random.randint(20_000, 32_000)
        if not _answers(port):
            return port


# --- Setting up -----------------------------------------------------------------------------------


@contextmanager
def embedded(folder: Path, env: Mapping[str, str] | None = None) -> Iterator[Embedded]:
    """`manage.py up` on a fresh directory, until the block ends."""
    orders, port = Orders(folder / "orders"), _port()
    environ = environment_of(folder / "data", {**COMMON, FOLDER: str(orders.folder), **(env or {})})
    up = _victim("up", f"manage.py up --port {port}", folder, environ)
    shape = Embedded("embedded", [up], orders, environ, port)
    with shape.running():
        shape.key = up.find(r"API key +(tl-\S+)")
        yield shape


@contextmanager
def production(folder: Path, env: Mapping[str, str] | None = None) -> Iterator[Production]:
    """PostgreSQL, Valkey, gunicorn, two workers and beat, until the block ends."""
    with postgres_server() as database, valkey() as broker, ExitStack() as stack:
        orders, port = Orders(folder / "orders"), _port()
        environ = environment(folder, database.url, broker)
        environ |= {**COMMON, FOLDER: str(orders.folder), **(env or {})}
        key = prepare(environ)
        programs = commands(port).items()
        victims = [_victim(name, f"-m {command}", folder, environ) for name, command in programs]
        shape = Production(
            "production",
            victims,
            orders,
            environ,
            port,
            key,
            broker=Broker(broker, stack),
            database=database,
        )
        with shape.running():
            yield shape


SHAPES = {"embedded": embedded, "production": production}


def _victim(name: str, program: str, folder: Path, env: Mapping[str, str]) -> Victim:
    # Two workers have one role: they do the same.
    role = re.sub(r"-\d+$", "", name)
    command = [sys.executable, "-m", "tests.faults.victim", role, *program.split()]
    return Victim(name, command, env, folder / f"{name}.log")
