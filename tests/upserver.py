"""Runs the real `manage.py up` in a process of its own, for tests that look at it from outside."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_WITHIN = 60.0  # seconds; the machine may be busy with other tests
STOP_WITHIN = 20.0
MANAGE = ("manage.py",)

_SETTINGS = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "ALLOWED_HOSTS")


@dataclass
class UpServer:
    """A running (or ended) `up`. `key` and `password` are "" where it printed none."""

    process: subprocess.Popen[str]
    data_dir: Path
    env: dict[str, str]
    url: str = ""
    key: str = ""
    password: str = ""
    lines: list[str] = field(default_factory=list)

    def output(self) -> str:
        """All that it said until now, on stdout and stderr."""
        return "".join(self.lines)

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal and return the exit code; raises `TimeoutExpired` when it goes on running."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self, timeout: float = STOP_WITHIN) -> int:
        code = self.process.wait(timeout)
        self._reader.join(timeout)
        return code

    def snippet(self) -> str:
        """The commands that it offers to paste."""
        found = re.search(r"^TRIPLINE_URL=.*?^END$", self.output(), re.DOTALL | re.MULTILINE)
        assert found, self.output()
        return found[0]

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)

    def learn(self) -> bool:
        """Whether it serves; if so, take the address and the keys from what it said."""
        said = self.output()
        self.url = _match(r"serves at (\S+)", said)
        self.key = _match(r"API key +(tl-\S+)", said)
        self.password = _match(r"Password +(\S+)  \(shown", said)
        return "Ctrl-C stops it." in said


@contextmanager
def up_server(
    data_dir: Path,
    *options: str,
    env: Mapping[str, str] | None = None,
    wait: bool = True,
    program: Sequence[str] = MANAGE,
    bare: bool = False,
) -> Iterator[UpServer]:
    """Run `up --port 0` on `data_dir` until the block ends.

    `env` is added to an environment without any of Tripline's variables, so that it is the embedded
    default. With `wait=False` the block is entered before it serves. `program` takes the place of
    manage.py. A new data directory begins with a database that has its tables, unless it is to be `bare`.
    """
    if not bare:
        _bring_tables(data_dir, environment_of(data_dir, env))
    server = start(data_dir, *options, env=env, program=program)
    try:
        if wait:
            wait_for(lambda: server.learn() or server.process.poll() is not None, within=START_WITHIN)
            assert server.learn(), f"up ended with {server.wait()}:\n{server.output()}"
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.wait()
        print(server.output())  # noqa: T201 (pytest shows it when the test fails)


def start(
    data_dir: Path,
    *options: str,
    env: Mapping[str, str] | None = None,
    program: Sequence[str] = MANAGE,
) -> UpServer:
    """Start `up` and return at once; the caller ends it."""
    environment = environment_of(data_dir, env)
    chosen = options if "--port" in options else ("--port", "0", *options)
    process = subprocess.Popen(
        [sys.executable, *program, "up", *chosen],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        bufsize=1,
    )
    return UpServer(process, data_dir, environment)


def _bring_tables(data_dir: Path, env: Mapping[str, str]) -> None:
    """Migrating takes longer than all else that a first start does."""
    shared = os.environ.get("TRIPLINE_TEST_SHARED")  # in pytest alone
    if shared and not data_dir.exists() and "DATABASE_URL" not in env:
        data_dir.mkdir(mode=0o700)
        shutil.copyfile(_migrated(Path(shared) / "migrated"), data_dir / "tripline.sqlite3")


def _migrated(folder: Path) -> Path:
    """A database with all tables and no row of ours, made by the first process that asks."""
    folder.mkdir(exist_ok=True)
    is_made = folder / "is-made"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_made.exists():
            done = run_python(environment_of(folder), "manage.py", "migrate", "--verbosity", "0")
            assert done.returncode == 0, done.stderr
            is_made.touch()
    return folder / "tripline.sqlite3"


def environment_of(data_dir: Path, env: Mapping[str, str] | None = None) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _SETTINGS and not name.startswith("TRIPLINE_")
    }
    # No canary, unless a test asks for one: it would be among the rows that tests count.
    return {**kept, "TRIPLINE_DATA_DIR": str(data_dir), "TRIPLINE_CANARY_EVERY": "0", **(env or {})}


def run_beside(server_env: Mapping[str, str], script: str, *, within: float = 60) -> str:
    """Run Python in a process with the same installation (environment); what it printed.

    Django is set up, and all of `tests.cast` is there.
    """
    prelude = "import django; django.setup()\nfrom tests.cast import *\n"
    done = run_python(server_env, "-c", prelude + script, within=within)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def run_python(
    env: Mapping[str, str], *arguments: str, within: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run this Python to its end, in the folder of manage.py; that may take so many seconds."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**env, "DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True,
        text=True,
        timeout=within,
        check=False,
    )


def wait_for(condition: Callable[[], object], *, within: float = 20.0, every: float = 0.02) -> None:
    """Return as soon as `condition()` is true. Raises `TimeoutError`."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{condition} was not true within {within:g} s")
        time.sleep(every)


def _match(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""
