"""From the POST of a metric that meets a threshold to the receiver's receipt of the webhook.

    python -m tests.bench.latency [--calls 200] [--pause 0.05] [--seconds 20] [--rate 5] [--points 1000]
                                  [--automations 1000] [--matching 10] [--firing 10]
                                  [--url http://127.0.0.1:8000 --key tl-…] [--peer-url http://…]

Starts its own `up` on an empty directory, or measures the server at `--url`, which must be allowed to
reach 127.0.0.1. Each call is made over a connection of its own, as the one-file client does.

First while nothing else happens (`idle`), one call at a time. The yardsticks are taken between the calls:
what a bare POST to the same receiver costs, and a bare GET of the server; with `--peer-url` also what an
MLflow server needs for its webhook when an alias is moved (`tests.bench.peer`). Then under a load (`loaded`):
so many calls per second of so many points in 10 metrics, by five runs in turn, in a project with so many
automations. The matching ones watch a metric of the calls, and so many of them (`--firing`) fire at one value
of each call: their messages are what is measured. The others watch other metrics. Prints two tables and one
line of JSON; all times are milliseconds.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.parse import urlsplit

from tests.bench import peer
from tests.stories.receiver import Receiver, receiving
from tests.stories.rest import Rest, make_hook, make_rule
from tests.upserver import up_server, wait_for

BODY = b'{"text":"a bare request","value":-1.0,"step":1}'
# Name of the stage, and what it measures.
STAGES = {
    "total": "POST begins → the receiver has the webhook",
    "accepted": "POST begins → accepted (the run's lane is taken)",
    "decided": "accepted → decided",
    "sent": "decided → the first attempt begins",
    "received": "the first attempt begins → the receiver has it",
    "told": "the first attempt begins → its answer is read",
    "answered": "POST begins → the 202 is read",
    "post": "yardstick: a bare POST to the receiver, until it has it",
    "get": "yardstick: a bare GET /tripline.py, until it is read",
    "peer": "peer: MLflow moves an alias, until the receiver has it",
}


RUNS = 5
METRICS = [f"metric_{number}" for number in range(10)]
# What is promised: (the state of the server, percentile of the total, milliseconds).
TARGETS = [("idle", "p50", 20), ("idle", "p99", 100), ("loaded", "p99", 1000)]


@dataclass
class Call:
    """Moments of one call and of a message it led to, in seconds of the machine's clock (`time.time`)."""

    began: float
    answered: float
    received: float
    step: int
    execution: dict[str, Any] = field(default_factory=dict)

    def stages(self) -> dict[str, float]:
        accepted = _moment(self.execution["event"]["received_at"])
        decided = _moment(self.execution["created_at"])
        (delivery,) = self.execution["deliveries"]
        attempt = delivery["attempts"][0]
        sent = _moment(attempt["started_at"])
        return {
            "total": self.received - self.began,
            "accepted": accepted - self.began,
            "decided": decided - accepted,
            "sent": sent - decided,
            "received": self.received - sent,
            "told": attempt["duration"],
            "answered": self.answered - self.began,
        }


def main() -> None:
    arguments = _parser().parse_args()
    with receiving() as receiver, _server(arguments) as rest:
        calls, pause = arguments.calls, arguments.pause
        idle = _measure(rest, receiver, calls=calls, pause=pause)
        if arguments.peer_url:
            idle["peer"] = peer.alias_moves(arguments.peer_url, receiver, calls=calls, pause=pause)
        report = _report({"idle": idle, "loaded": _loaded(rest, receiver, arguments)})
    _print(report)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=200, help="calls measured (%(default)s)")
    parser.add_argument("--pause", type=float, default=0.05, help="idle seconds between calls (%(default)s)")
    parser.add_argument("--seconds", type=float, default=20, help="of the load (%(default)s)")
    parser.add_argument("--rate", type=float, default=5, help="calls per second of it (%(default)s)")
    parser.add_argument("--points", type=int, default=1000, help="in each of them (%(default)s)")
    parser.add_argument("--automations", type=int, default=1000, help="of the project (%(default)s)")
    parser.add_argument("--matching", type=int, default=10, help="on metrics of the calls (%(default)s)")
    parser.add_argument("--firing", type=int, default=10, help="of these, at each call (%(default)s)")
    parser.add_argument("--url", help="a server that runs already; needs --key")
    parser.add_argument("--key", help="an API key of a member of its team main")
    parser.add_argument("--peer-url", help="an MLflow server that runs already")
    return parser


@contextmanager
def _server(arguments: argparse.Namespace) -> Iterator[Rest]:
    if arguments.url:
        yield Rest(arguments.url.rstrip("/"), arguments.key or "")
        return
    # For tests it repeats at its end what the server said; a bench prints its figures.
    with (
        tempfile.TemporaryDirectory() as folder,
        redirect_stdout(io.StringIO()),
        up_server(Path(folder) / "data") as server,
    ):
        yield Rest(server.url, server.key)


# --- Measuring ------------------------------------------------------------------------------------


def _measure(rest: Rest, receiver: Receiver, *, calls: int, pause: float) -> dict[str, list[float]]:
    """Seconds of every stage and yardstick, call by call."""
    run = _prepare(rest, receiver)
    found: list[Call] = []
    yardsticks: dict[str, list[float]] = {"post": [], "get": []}
    for step in range(calls + 5):
        found.append(_call(rest, receiver, run=run, step=step))
        yardsticks["post"].append(_bare_post(receiver))
        yardsticks["get"].append(_bare_get(rest))
        time.sleep(pause)  # the server is to be idle again
    _add_executions(rest, found, run=run)
    stages = [call.stages() for call in found[5:]]  # the first ones warm up
    return {**{name: [each[name] for each in stages] for name in stages[0]}, **yardsticks}


def _prepare(rest: Rest, receiver: Receiver) -> int:
    """A run whose every value below 0 is told to the receiver; its id."""
    project = _project(rest, receiver, ["loss"])
    return int(rest.post("runs/", {"project": project})["id"])


def _project(rest: Rest, receiver: Receiver, metrics: Sequence[str], *, firing: int | None = None) -> int:
    """A project with a rule for each of these metrics: a value below 0 is told to the receiver.

    Those after the first `firing` wait for a value that never comes.
    """
    name = f"latency_{time.time_ns()}"
    project = int(rest.post("projects/", {"team": "main", "name": name})["id"])
    hook = make_hook(rest, receiver.url, name=name, signing_secret="a signing secret")
    payload = {"text": "${run_name}: ${metric_filter}", "metric": "${metric_name}", "step": "${step}"}
    for number, metric in enumerate(metrics):
        make_rule(
            rest,
            f"rule {number}",
            {
                "type": "run_metric_threshold",
                "metric": metric,
                "aggregation": "none",
                "comparison": "below",
                "threshold": 0 if firing is None or number < firing else -9,
            },
            project=project,
            hook=hook,
            payload=payload,
            period=0,
        )
    return project


def _call(rest: Rest, receiver: Receiver, *, run: int, step: int) -> Call:
    point = {"step": step, "values": {"loss": -1.0}}
    before, offset = len(receiver.letters), time.time() - time.perf_counter()
    began = time.time()
    rest.post(f"runs/{run}/metrics/", {"points": [point]})
    answered = time.time()
    wait_for(lambda: len(receiver.letters) > before, within=30, every=0.001)
    letter = receiver.letters[-1]
    assert letter.data["step"] == step
    return Call(began, answered, letter.at + offset, step)


def _bare_post(receiver: Receiver) -> float:
    parts = urlsplit(receiver.url)
    before, began = len(receiver.letters), time.perf_counter()
    with closing(http.client.HTTPConnection(parts.netloc, timeout=30)) as connection:
        connection.request("POST", parts.path, BODY)
        connection.getresponse().read()
    assert len(receiver.letters) == before + 1
    return receiver.letters[-1].at - began


def _bare_get(rest: Rest) -> float:
    began = time.perf_counter()
    rest.download("/tripline.py")
    return time.perf_counter() - began


def _loaded(rest: Rest, receiver: Receiver, arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of every stage of every message that the load led to."""
    matching = [METRICS[number % len(METRICS)] for number in range(arguments.matching)]
    others = [f"other {number}" for number in range(arguments.automations - arguments.matching)]
    project = _project(rest, receiver, [*matching, *others], firing=arguments.firing)
    runs = [int(rest.post("runs/", {"project": project})["id"]) for _run in range(RUNS)]
    receiver.letters.clear()
    count = int(arguments.rate * arguments.seconds)
    bodies = [_body(number, arguments.points) for number in range(count)]
    offset, beginning = time.time() - time.perf_counter(), time.perf_counter()
    calls = []
    for number, body in enumerate(bodies):
        time.sleep(max(0.0, beginning + number / arguments.rate - time.perf_counter()))
        began = time.time()
        rest.post(f"runs/{runs[number % RUNS]}/metrics/", body)
        calls.append((began, time.time()))
    wait_for(lambda: len(receiver.letters) >= count * arguments.firing, within=60)
    received = {(each.data["step"], each.webhook_id): each.at + offset for each in receiver.letters}
    found = []
    for execution in (row for run in runs for row in rest.results(f"executions/?run={run}&page_size=200")):
        step = execution["explanation"]["step"]
        (delivery,) = execution["deliveries"]
        began, answered = calls[step // STRIDE]
        moment = received[step, delivery["webhook_id"]]
        found.append(Call(began, answered, moment, step, execution).stages())
    assert len(found) == count * arguments.firing
    return {name: [each[name] for each in found] for name in found[0]}


# Between the first steps of two calls.
STRIDE = 1_000_000


def _body(number: int, points: int) -> dict[str, Any]:
    """A call of which one point, in the middle, is below 0 in every metric."""
    dice = random.Random(number)
    steps = max(1, points // len(METRICS))
    return {
        "points": [
            {
                "step": number * STRIDE + step,
                "values": {
                    name: -1.0 if step == steps // 2 else abs(dice.gauss(0.5, 0.1)) for name in METRICS
                },
            }
            for step in range(steps)
        ]
    }


def _add_executions(rest: Rest, calls: list[Call], *, run: int) -> None:
    """What the server itself says about each call, found by the step."""
    path = f"executions/?run={run}&state=finished&page_size=1000"
    wait_for(lambda: len(rest.results(path)) == len(calls))
    by_step = {row["explanation"]["step"]: row for row in rest.results(path)}
    for call in calls:
        call.execution = by_step[call.step]


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


# --- Telling --------------------------------------------------------------------------------------


def _report(states: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    """`states`: seconds of every stage, by what else the server did."""
    found = {
        state: {name: _percentiles(seconds[name]) for name in STAGES if name in seconds}
        for state, seconds in states.items()
    }
    met = {
        f"{state} {percentile} < {limit} ms": found[state]["total"][percentile] < limit
        for state, percentile, limit in TARGETS
    }
    return {
        "bench": "latency",
        "calls": {state: len(seconds["total"]) for state, seconds in states.items()},
        "load": [round(load, 2) for load in os.getloadavg()[:2]],
        "cores": os.cpu_count(),
        "ms": found,
        "met": met,
    }


def _percentiles(seconds: list[float]) -> dict[str, float]:
    cuts = quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else seconds * 99
    found = {"p50": median(seconds), "p95": cuts[94], "p99": cuts[98], "max": max(seconds)}
    return {name: round(each * 1000, 2) for name, each in found.items()}


def _print(report: dict[str, Any]) -> None:
    width = max(map(len, STAGES.values()))
    load = " and ".join(f"{each:.2f}" for each in report["load"])
    print(f"load of the machine {load} on {report['cores']} cores")
    for state, stages in report["ms"].items():
        title = f"{state}, {report['calls'][state]} messages, ms"
        print(f"\n{title:<{width}}     p50     p95     p99     max")
        for name, percentiles in stages.items():
            figures = "".join(f"{figure:8.1f}" for figure in percentiles.values())
            print(f"{STAGES[name]:<{width}}{figures}")
    print()
    for target, is_met in report["met"].items():
        print(f"{target}: {'met' if is_met else 'NOT MET'}")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
