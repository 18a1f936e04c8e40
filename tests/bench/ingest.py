"""What it costs to take in metrics and to decide, over HTTP, against a bare view on the same server.

    python -m tests.bench.ingest [--sizes 1 100 1000 10000] [--clients 1 8] [--automations 0 10 100]
                                 [--shape embedded production] [--seconds 4] [--peer-url http://…]

Starts its own servers on empty directories. A point is one value of one metric; a call of n points has them
in 10 metrics (a call of one in one). Each client has a run and a connection of its own and sends the same
prepared body again and again. No automation ever fires, and all of them watch metrics that are logged.
Every cell alternates between the bare view (`tests.bench.bareview`) and Tripline, so that a noisy moment of
the machine hits both; Tripline's time is counted until the last value is decided. `--peer-url` sends the
same points to the `log-batch` of an MLflow server, at most 1,000 a call.
Prints a table (on stderr, as it grows) and one line of JSON; the times of calls are milliseconds. Where the
machine is busy with other things, `cpu` is the figure to trust: what the server's process used of the
processors per call, deciding included in the embedded shape.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from statistics import quantiles
from typing import Any
from urllib.parse import urlsplit

from tests.bench import peer
from tests.bench.houses import Tripline, cpu_seconds, load, running
from tests.stories.rest import Rest
from tests.upserver import wait_for

METRICS = 10
SLICES = 4
MEGABYTE = 1024 * 1024


@dataclass
class Tally:
    """What one kind of server did in the slices of a cell; `elapsed` and the times of calls are seconds."""

    calls: list[float] = field(default_factory=list)
    elapsed: float = 0.0
    cpu: float = 0.0
    drained: list[float] = field(default_factory=list)
    backlog: int = 0

    def report(self, size: int) -> dict[str, Any]:
        cuts = quantiles(self.calls, n=100, method="inclusive")
        return {
            "points_s": round(len(self.calls) * size / self.elapsed),
            "calls_s": round(len(self.calls) / self.elapsed, 1),
            "p50": round(cuts[49] * 1000, 2),
            "p99": round(cuts[98] * 1000, 2),
            "cpu": round(self.cpu * 1000 / len(self.calls), 2),
        }


@dataclass
class Client:
    """One connection that posts one prepared body."""

    url: str
    body: bytes
    headers: dict[str, str]
    keys: bool = False

    def __post_init__(self) -> None:
        self._path = urlsplit(self.url).path
        self._connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)

    def post(self) -> float:
        """Seconds of one call."""
        key = {"Idempotency-Key": str(uuid.uuid4())} if self.keys else {}
        began = time.perf_counter()
        self._connection.request("POST", self._path, self.body, {**self.headers, **key})
        answer = self._connection.getresponse()
        content = answer.read()
        took = time.perf_counter() - began
        assert answer.status in {200, 202}, (answer.status, content[:500])
        return took

    def work(self, until: float) -> list[float]:
        # Meanwhile the server may have closed what it heard nothing from.
        self._connection.close()
        found: list[float] = []
        while time.perf_counter() < until:
            found.append(self.post())
        return found


def main() -> None:
    arguments = _parser().parse_args()
    cells = []
    for shape in arguments.shape:
        with tempfile.TemporaryDirectory() as folder, running(shape, Path(folder)) as server:
            for automations in arguments.automations:
                project = _project(server.rest, automations)
                for clients, size in product(arguments.clients, arguments.sizes):
                    cell = _cell(server, project, arguments, size=size, clients=clients)
                    cells.append({"shape": shape, "automations": automations, **cell})
                    _print_cell(cells[-1], is_first=len(cells) == 1)
            large = _large_bodies(server) if arguments.large else {}
    report = {"bench": "ingest", "load": load(), "cores": os.cpu_count(), "cells": cells, **large}
    print(json.dumps(report))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1, 100, 1000, 10_000], help="points of a call"
    )
    parser.add_argument("--clients", type=int, nargs="+", default=[1], help="at once (%(default)s)")
    parser.add_argument("--automations", type=int, nargs="+", default=[10], help="active (%(default)s)")
    parser.add_argument(
        "--shape", nargs="+", choices=["embedded", "production"], default=["embedded"], help="(%(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=4, help="of each kind in a cell (%(default)s)")
    parser.add_argument("--keys", action="store_true", help="each call carries an Idempotency-Key")
    parser.add_argument("--large", action="store_true", help="at last a body of 32 MB, and a larger one")
    parser.add_argument("--peer-url", help="an MLflow server that runs already")
    return parser


# --- What is sent ---------------------------------------------------------------------------------


def points(size: int) -> list[dict[str, Any]]:
    """`size` values in at most ten metrics, as many steps as that takes."""
    dice = random.Random(7)
    names = [f"metric_{number}" for number in range(min(METRICS, size))]
    return [
        {
            "step": step,
            "timestamp": 1_790_000_000 + step / 8,
            "values": {name: dice.gauss(0.5, 0.05) for name in names},
        }
        for step in range(size // len(names))
    ]


def _body(size: int) -> bytes:
    return json.dumps({"points": points(size)}, separators=(",", ":")).encode()


KINDS: list[dict[str, Any]] = [
    {"type": "run_metric_threshold", "window": 5, "comparison": "above", "threshold": 2},
    {"type": "run_metric_change", "direction": "any", "threshold": 3},
    {"type": "run_metric_threshold", "aggregation": "none", "comparison": "below", "threshold": 0},
    {"type": "run_metric_zscore", "direction": "either", "threshold": 9, "baseline": "values"},
    {"type": "run_metric_threshold", "aggregation": "max", "comparison": "above", "threshold": 0.9},
]


def _project(rest: Rest, automations: int) -> int:
    """With so many automations, of every kind in turn on every metric in turn."""
    name = f"ingest_{automations}_{time.time_ns()}"
    project = int(rest.post("projects/", {"team": "main", "name": name})["id"])
    for number in range(automations):
        event = {**KINDS[number % len(KINDS)], "metric": f"metric_{number % METRICS}"}
        scope = {"type": "project", "id": project}
        order = {"name": f"{number}", "scope": scope, "event": event, "actions": [{"type": "noop"}]}
        rest.post("automations/", order)
    return project


# --- Measuring ------------------------------------------------------------------------------------


def _cell(
    server: Tripline, project: int, arguments: argparse.Namespace, *, size: int, clients: int
) -> dict[str, Any]:
    body, ours = _body(size), server.rest
    runs = [ours.post("runs/", {"project": project})["id"] for _client in range(clients)]
    kinds: dict[str, list[Client]] = {
        "bare": [Client(f"{server.bare_url}/bare/", body, {}) for _run in runs],
        "tripline": [
            Client(f"{ours.url}/api/v1/runs/{run}/metrics/", body, ours.headers, arguments.keys)
            for run in runs
        ],
    }
    if arguments.peer_url:
        kinds["peer"] = _peer_clients(arguments.peer_url, min(size, 1000), clients)
    found = _alternate(kinds, arguments.seconds, server)
    fired = [run for run in runs if ours.get(f"executions/?run={run}")["results"]]
    assert not fired, "no automation was to fire"
    tripline, bare = (found[name].report(size) for name in ("tripline", "bare"))
    theirs = {"peer": found["peer"].report(min(size, 1000))} if "peer" in found else {}
    return {
        "size": size,
        "clients": clients,
        **tripline,
        "ratio": round(bare["calls_s"] / tripline["calls_s"], 2),
        "ratio_p50": round(tripline["p50"] / bare["p50"], 2),
        "ratio_cpu": round(tripline["cpu"] / bare["cpu"], 2),
        "backlog": found["tripline"].backlog,
        "drain_s": round(max(found["tripline"].drained), 3),
        "rss_mb": server.peak_memory(),
        "bare": bare,
        **theirs,
    }


def _alternate(kinds: dict[str, list[Client]], seconds: float, server: Tripline) -> dict[str, Tally]:
    for clients in kinds.values():
        for client in clients:
            client.work(time.perf_counter() + min(1.0, seconds / 8))  # warms up
    wait_for(lambda: server.backlog() == 0, within=60)
    tallies = {name: Tally() for name in kinds}
    for _slice in range(SLICES):
        for name, clients in kinds.items():
            pid = server.bare if name == "bare" else server.web
            used = cpu_seconds(pid)
            _slice_of(tallies[name], clients, seconds / SLICES, server.backlog)
            tallies[name].cpu += cpu_seconds(pid) - used
    return tallies


def _slice_of(tally: Tally, clients: Sequence[Client], seconds: float, backlog: Callable[[], int]) -> None:
    began = time.perf_counter()
    found: list[list[float]] = []

    def work(client: Client) -> None:
        found.append(client.work(began + seconds))

    threads = [threading.Thread(target=work, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answered = time.perf_counter()
    assert len(found) == len(clients), "a client failed, see above"
    tally.backlog = max(tally.backlog, backlog())
    wait_for(lambda: backlog() == 0, within=120, every=0.005)
    tally.drained.append(time.perf_counter() - answered)
    tally.elapsed += time.perf_counter() - began
    tally.calls += [took for each in found for took in each]


def _peer_clients(url: str, size: int, clients: int) -> list[Client]:
    """An experiment of its own, a run for each client."""
    experiment = peer.post(url, "experiments/create", {"name": f"ingest {time.time_ns()}"})["experiment_id"]
    found = []
    for _client in range(clients):
        run = peer.post(url, "runs/create", {"experiment_id": experiment})["run"]["info"]["run_id"]
        logged = [
            {"key": name, "value": value, "step": each["step"], "timestamp": int(each["timestamp"] * 1000)}
            for each in points(size)
            for name, value in each["values"].items()
        ]
        body = json.dumps({"run_id": run, "metrics": logged}).encode()
        found.append(Client(f"{url.rstrip('/')}/api/2.0/mlflow/runs/log-batch", body, peer.HEADERS))
    return found


def _large_bodies(server: Tripline) -> dict[str, Any]:
    """Seconds that a body of almost 32 MB takes, the memory it costs, and what a larger one is told."""
    rest = server.rest
    run = rest.post("runs/", {"project": _project(rest, 0)})["id"]
    path = f"/api/v1/runs/{run}/metrics/"
    one = json.dumps({"points": points(METRICS)}, separators=(",", ":")).encode()[len('{"points":[') : -2]
    body = b'{"points":[%s]}' % b",".join([one] * ((32 * MEGABYTE - 100) // (len(one) + 1)))
    took = Client(rest.url + path, body, rest.headers).post()
    with closing(http.client.HTTPConnection(urlsplit(rest.url).netloc, timeout=60)) as connection:
        connection.request("POST", path, body + b" " * MEGABYTE, rest.headers)
        refused = connection.getresponse().status
    print(
        f"{len(body) / MEGABYTE:.1f} MB in {took:.2f} s, peak {server.peak_memory()} MB; larger: {refused}",
        file=sys.stderr,
    )
    return {"large": {"seconds": round(took, 2), "rss_mb": server.peak_memory(), "larger": refused}}


# --- Telling --------------------------------------------------------------------------------------

_HEAD = (
    "shape       rules clients   size   points/s   calls/s    p50    p99    cpu"
    "   ratio    p50    cpu  backlog  drain    MB"
)


def _print_cell(cell: dict[str, Any], *, is_first: bool) -> None:
    if is_first:
        print(
            "Tripline until the last value is decided; ratios to the bare view by calls/s, p50, cpu\n",
            file=sys.stderr,
        )
        print(_HEAD, file=sys.stderr)
    print(
        "{shape:11} {automations:5} {clients:7} {size:6} {points_s:10,} {calls_s:9,} {p50:6.2f} {p99:6.1f}"
        " {cpu:6.2f}  ×{ratio:5.2f} ×{ratio_p50:5.2f} ×{ratio_cpu:5.2f} {backlog:8} {drain_s:6.2f}"
        " {rss_mb:5}".format(**cell),
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
