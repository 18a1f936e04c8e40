"""How much faster a backlog is decided and delivered by more Celery workers, on PostgreSQL and Valkey.

    python -m tests.bench.scaling [--workers 1 2 4] [--runs 64] [--calls 20] [--points 1000]

For each number of workers it starts all that the production shape has, as plain processes: two gunicorn
workers, so many Celery workers (one for both queues, or half for each), PostgreSQL, Valkey. No worker runs
while so many runs log so many calls each. Every value is watched, and at each call one automation fires,
through one of eight integrations, to a receiver in this process. Then the workers, which listen by now, are
rung for once for each run, and what is measured is how long it takes until every change is decided and every
webhook has arrived. `cores` is what the whole machine used meanwhile: near the number of its cores more
workers cannot help, and more machines can. The last column is what one call with its webhook costs: processor
time of the workers, and of all else (PostgreSQL above all, Valkey, the receiver).
Prints a table and one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
from celery import Celery

from tests.bench.houses import cpu_seconds, load
from tests.bench.latency import METRICS
from tests.stories.production import House, house
from tests.stories.receiver import Receiver, receiving
from tests.stories.rest import Rest, make_rule
from tests.upserver import wait_for

HOOKS = 8
# What waits: changes that are not decided, messages that have not arrived.
CHANGES = "SELECT coalesce(sum(head - cursor), 0) FROM runs_lane"
MESSAGES = "SELECT count(*) FROM automations_delivery WHERE state = 'pending'"
WITHIN = 300.0


def main() -> None:
    arguments = _parser().parse_args()
    cells = [_cell(workers, arguments) for workers in arguments.workers]
    print("workers   decided in   calls/s     values/s   all in   webhooks/s   cores   ms of workers, others")
    for cell in cells:
        print(
            f"{cell['workers']:>7}   {cell['decided_s']:>8.1f} s   {cell['calls_s']:>7,.0f}   "
            f"{cell['values_s']:>10,.0f}   {cell['delivered_s']:>4.1f} s   {cell['webhooks_s']:>10,.0f}   "
            f"{cell['cores']:>5.2f}   {cell['worker_ms']:>13.1f}, {cell['others_ms']:.1f}"
        )
    print(json.dumps({"bench": "scaling", "load": load(), "cores": os.cpu_count(), "cells": cells}))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4], help="([1, 2, 4])")
    parser.add_argument("--runs", type=int, default=64, help="that log (%(default)s)")
    parser.add_argument("--calls", type=int, default=20, help="of each run (%(default)s)")
    parser.add_argument("--points", type=int, default=1000, help="of each call (%(default)s)")
    return parser


def _cell(workers: int, arguments: argparse.Namespace) -> dict[str, Any]:
    calls = arguments.runs * arguments.calls
    with (
        tempfile.TemporaryDirectory() as folder,
        redirect_stdout(StringIO()),
        receiving() as receiver,
        house(Path(folder), workers=_queues(workers)) as built,
        psycopg.connect(built.web.env["DATABASE_URL"], autocommit=True) as database,
    ):
        with _nobody_works(built):
            runs = _log(built, receiver, arguments)
            assert _count(database, CHANGES) >= calls
        began, busy, worked = time.perf_counter(), _busy(), _worked(built)
        _ring(built, runs)
        wait_for(lambda: _count(database, CHANGES) == 0, within=WITHIN, every=0.02)
        decided = time.perf_counter() - began
        wait_for(lambda: len(receiver.letters) >= calls, within=WITHIN, every=0.02)
        wait_for(lambda: _count(database, MESSAGES) == 0, within=WITHIN, every=0.02)
        delivered = time.perf_counter() - began
        used, worked = _busy() - busy, _worked(built) - worked
        assert len({letter.webhook_id for letter in receiver.letters}) == calls
    return {
        "workers": workers,
        "decided_s": round(decided, 2),
        "calls_s": round(calls / decided, 1),
        "values_s": round(calls * arguments.points / decided),
        "delivered_s": round(delivered, 2),
        "webhooks_s": round(calls / delivered, 1),
        "cores": round(used / delivered, 2),
        "worker_ms": round(worked / calls * 1000, 1),
        "others_ms": round((used - worked) / calls * 1000, 1),
    }


def _queues(workers: int) -> list[str]:
    """What each worker is started with: one does both, of several half decide and half deliver."""
    if workers == 1:
        return [""]
    return [("decide --concurrency 4", "deliver")[number % 2] for number in range(workers)]


@contextmanager
def _nobody_works(built: House) -> Iterator[None]:
    """Nobody decides meanwhile, and all rings are forgotten: afterwards the workers listen, and wait."""
    for process in (built.beat, *built.workers):
        process.stop()
    yield
    built.broker.empty()
    for worker in built.workers:
        worker.start()
    built.wait_until_workers_listen()


def _ring(built: House, runs: Sequence[int]) -> None:
    with Celery(broker=built.broker.url) as celery:
        for run in runs:
            celery.send_task("automations.tasks.evaluate_lane", [run], queue="decide", ignore_result=True)


def _log(built: House, receiver: Receiver, arguments: argparse.Namespace) -> list[int]:
    """The runs."""
    rest = built.rest
    project = int(rest.post("projects/", {"team": "main", "name": "scaling"})["id"])
    _make_rules(rest, receiver, project)
    body, runs = _body(arguments.points), []
    for number in range(arguments.runs):
        runs.append(int(rest.post("runs/", {"project": project, "name": f"run-{number % HOOKS}"})["id"]))
        for _call in range(arguments.calls):
            rest.post(f"runs/{runs[-1]}/metrics/", body)
    return runs


def _make_rules(rest: Rest, receiver: Receiver, project: int) -> None:
    """Of the first metric a rule for each integration, which a share of the runs meets; the others wait."""
    target = {"team": "main", "type": "webhook", "url": receiver.url, "concurrency": 8}
    hooks = [rest.post("integrations/", {**target, "name": f"hook {n}"})["id"] for n in range(HOOKS)]
    for number, hook in enumerate(hooks):
        _make_rule(rest, project, hook, METRICS[0], threshold=0, run_name=f"-{number}$")
    for metric in METRICS[1:]:
        _make_rule(rest, project, hooks[0], metric, threshold=-9)


def _make_rule(rest: Rest, project: int, hook: int, metric: str, **event: Any) -> None:
    watched = {"type": "run_metric_threshold", "metric": metric, "aggregation": "none", "comparison": "below"}
    make_rule(
        rest,
        f"{metric} {event}",
        {**watched, **event},
        project=project,
        hook=hook,
        payload={"text": "${run_name}: ${step}"},
        period=0,
    )


def _body(points: int) -> dict[str, Any]:
    """A call in which the first metric is below 0 once."""
    steps = max(1, points // len(METRICS))
    low = steps // 2
    return {
        "points": [
            {"values": {name: -1.0 if name == METRICS[0] and step == low else 1.0 for name in METRICS}}
            for step in range(steps)
        ]
    }


def _count(database: psycopg.Connection[Any], statement: str) -> int:
    ((found,),) = database.execute(statement).fetchall()
    return int(found)


def _worked(built: House) -> float:
    """Seconds of processor time that the workers have used."""
    return sum(cpu_seconds(worker.process.pid) for worker in built.workers if worker.process)


def _busy() -> float:
    """Seconds that all cores of the machine were busy since it was started."""
    user, nice, system, *_rest = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    return sum(map(int, (user, nice, system))) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
