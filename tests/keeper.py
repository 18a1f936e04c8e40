"""Keeps one server running for a test process, and never longer than that. Run as a script.

The keeper holds one end of a pipe whose other end is the test process's. When that closes (on
purpose, or because the process was killed) it stops the server and removes its directory. So there
is one way to stop, and `kill -9` of pytest takes it as well. Standard library only: it starts quickly.
"""

from __future__ import annotations

import json
import pwd
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict

STOP_WITHIN = 10.0  # seconds, then the server is killed


@dataclass(frozen=True)
class Keeping:
    """What a keeper is told: run `command` as `account`, stop it by `stop_signal`, remove `home`."""

    command: list[str]
    home: str
    account: str
    stop_signal: int


class Credentials(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[str | int]


def credentials(account: str) -> Credentials:
    """Arguments that make `subprocess` run a program as `account`; none for "", our own."""
    if not account:
        return {}
    entry = pwd.getpwnam(account)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@contextmanager
def kept(keeping: Keeping) -> Iterator[subprocess.Popen[bytes]]:
    """Have a keeper run a server, which logs to `home`/log. On leaving, server and directory are gone.

    Gives the keeper; it ends early only when its server does.
    """
    keeper = subprocess.Popen(
        [sys.executable, __file__, json.dumps(asdict(keeping))],
        stdin=subprocess.PIPE,
        # Ctrl-C on our terminal must not stop the server under tests that are still ending.
        start_new_session=True,
    )
    try:
        yield keeper
    finally:
        keeper.communicate()  # closes the pipe


def keep(keeping: Keeping) -> None:
    """The keeper's whole life: it ends with its server, and its server with the pipe."""
    # A stray signal must not make it forget its server. (Ignoring would be inherited, handling is not.)
    for stray in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(stray, lambda number, frame: None)
    with Path(keeping.home, "log").open("ab") as log:
        server = subprocess.Popen(
            keeping.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            **credentials(keeping.account),
        )
    while server.poll() is None:
        # Nobody writes into the pipe: readable means closed.
        if select.select([sys.stdin], [], [], 0.1)[0]:
            _stop(server, keeping.stop_signal)
            shutil.rmtree(keeping.home, ignore_errors=True)


def _stop(server: subprocess.Popen[bytes], stop_signal: int) -> None:
    server.send_signal(stop_signal)
    try:
        server.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


if __name__ == "__main__":
    keep(Keeping(**json.loads(sys.argv[1])))
