"""From a change to the answer of who waits for it, and what those who wait cost everybody else.

    python -m tests.bench.waiting [--changes 100] [--requests 300] [--clients 20]

Starts its own `up` on an empty directory. First one client waits for events while another makes runs, one at
a time: the time from the beginning of the POST to the waiting client's answer. Then ordinary GETs, one at a
time, in turn while nobody waits, while as many wait as may, and while `--clients` polite clients try to
(those who find no place come again when they are told to). Prints a table and one line of JSON; times are
milliseconds.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from statistics import quantiles
from typing import Any

from tests.faults.following import Follower
from tests.stories.rest import Rest
from tests.upserver import up_server, wait_for

PLACES = 4
ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--changes", type=int, default=100, help="that are waited for (%(default)s)")
    parser.add_argument("--requests", type=int, default=300, help="of each kind (%(default)s)")
    parser.add_argument("--clients", type=int, default=20, help="that try to wait (%(default)s)")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        redirect_stdout(io.StringIO()),
        up_server(Path(folder) / "data") as server,
    ):
        rest = Rest(server.url, server.key)
        report = {
            "bench": "waiting",
            "answer": _percentiles(_answers(rest, arguments.changes)),
            **_disturbances(rest, arguments.requests, arguments.clients),
        }
    for name, found in report.items():
        print(f"{name:20} {found}")
    print(json.dumps(report))


def _answers(rest: Rest, changes: int) -> list[float]:
    """Seconds from the beginning of a POST to the answer of a client that waits for it."""
    found: list[float] = []
    follower = Follower(rest)
    follower.read(wait=0)
    for _change in range(changes):
        asking = threading.Thread(target=follower.read, kwargs={"wait": 30})
        asking.start()
        time.sleep(0.15)  # it is to wait already, at any moment between two looks
        began = time.monotonic()
        rest.post("runs/", {"project": "main/waiting"})
        asking.join()
        found.append(time.monotonic() - began)
    return found


def _disturbances(rest: Rest, requests: int, clients: int) -> dict[str, Any]:
    """Ordinary requests beside so many who wait, in turn, so that each has its share of a busy machine."""
    beside = {"nobody_waits": 0, "all_places_taken": PLACES, "more_than_places": clients}
    found: dict[str, list[float]] = {name: [] for name in beside}
    for _round in range(ROUNDS):
        for name, waiting in beside.items():
            with _waiting(rest, waiting):
                found[name] += [_get(rest) for _request in range(requests // ROUNDS)]
    return {name: _percentiles(each) for name, each in found.items()}


@contextmanager
def _waiting(rest: Rest, clients: int) -> Iterator[None]:
    over = threading.Event()
    followers = [Follower(rest) for _client in range(clients)]
    threads = [threading.Thread(target=each.follow, args=[over.is_set]) for each in followers]
    for follower, thread in zip(followers, threads, strict=True):
        follower.read(wait=0)
        thread.start()
    if clients > PLACES:
        wait_for(lambda: any(each.turned_away for each in followers))
    try:
        yield
    finally:
        over.set()
        rest.post("runs/", {"project": "main/waiting"})  # so that all of them are answered
        for thread in threads:
            thread.join()


def _get(rest: Rest) -> float:
    began = time.perf_counter()
    rest.get("me/")
    return time.perf_counter() - began


def _percentiles(seconds: list[float]) -> dict[str, float]:
    cuts = quantiles(seconds, n=100, method="inclusive")
    return {f"p{n}": round(cuts[n - 1] * 1000, 1) for n in (50, 95, 99)}


if __name__ == "__main__":
    main()
