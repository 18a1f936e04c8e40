"""With `up`, a long backtest has a process of its own: the server's own work does not wait for it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stories.rest import Rest
from tests.upserver import UpServer, up_server, wait_for

pytestmark = pytest.mark.slow

# Nothing is done at once.
LATER = {"TRIPLINE_BACKTEST_AT_ONCE": "0"}


def try_out(rest: Rest) -> dict[str, Any]:
    """A run that a rule fires on, and a backtest of that rule."""
    run = rest.post("runs/", {"project": "main/first"})
    rest.post(f"runs/{run['id']}/metrics/", {"points": [{"values": {"loss": value}} for value in (0.1, 0.9)]})
    event = {"type": "run_metric_threshold", "metric": "loss", "comparison": "above", "threshold": 0.6}
    scope = {"type": "project", "id": run["project"]}
    body = {"scope": scope, "event": {**event, "aggregation": "none"}}
    found: dict[str, Any] = rest.post("automations/backtest/", body)
    return found


def workers(server: UpServer) -> list[int]:
    """The processes that work on backtests for a server."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        if parent == server.process.pid and b"backtest" in words:
            found.append(int(entry.name))
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpServer]:
    with up_server(tmp_path_factory.mktemp("backtest") / "data", env=LATER) as running:
        yield running


def ended(rest: Rest, job: int, *, within: float) -> dict[str, Any]:
    """What it says when it has ended."""
    told: dict[str, Any] = {}

    def is_over() -> bool:
        told.update(rest.get(f"automations/backtests/{job}/"))
        return told["state"] not in {"pending", "running"}

    wait_for(is_over, within=within, every=0.1)
    return told


def test_it_is_worked_on_beside_the_server_and_read_from_it(server: UpServer) -> None:
    rest = Rest(server.url, server.key)
    job = try_out(rest)
    assert job["state"] == "pending"
    told = ended(rest, job["id"], within=60)
    assert (told["state"], told["problem"], told["done"]) == ("finished", "", told["total"])
    assert told["runs"][0]["firings"][0]["text"] == "loss = 0.9 > 0.6 at step 1"
    wait_for(lambda: not workers(server))


def test_a_worker_that_is_killed_leaves_a_job_that_says_so(server: UpServer) -> None:
    rest = Rest(server.url, server.key)
    job = try_out(rest)
    wait_for(lambda: workers(server), within=30)
    (worker,) = workers(server)
    os.kill(worker, signal.SIGKILL)
    told = ended(rest, job["id"], within=10)
    assert told["state"] == "failed"
    assert told["problem"] == "Whoever worked on it died; try it again."
