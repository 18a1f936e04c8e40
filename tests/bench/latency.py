"""From the POST of a metric that meets a threshold to the receiver's receipt of the webhook.

    python -m tests.bench.latency [--calls 200] [--pause 0.05] [--url http://127.0.0.1:8000 --key tl-…]

Starts its own `up` on an empty directory, or measures the server at `--url`, which must be allowed to
reach 127.0.0.1. One call at a time, each over a connection of its own, as the one-file client does. The
yardsticks are taken between the calls: what a bare POST to the same receiver costs, and a bare GET of
the server. Prints a table and one line of JSON; all times are milliseconds.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.parse import urlsplit

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
    "answered": "POST begins → the 202 is read",
    "post": "yardstick: a bare POST to the receiver, until it has it",
    "get": "yardstick: a bare GET /tripline.py, until it is read",
}


@dataclass
class Call:
    """Moments of one call, in seconds of the machine's clock (`time.time`)."""

    began: float
    answered: float
    received: float
    step: int
    execution: dict[str, Any] = field(default_factory=dict)

    def stages(self) -> dict[str, float]:
        accepted = _moment(self.execution["event"]["received_at"])
        decided = _moment(self.execution["created_at"])
        (delivery,) = self.execution["deliveries"]
        sent = _moment(delivery["attempts"][0]["started_at"])
        return {
            "total": self.received - self.began,
            "accepted": accepted - self.began,
            "decided": decided - accepted,
            "sent": sent - decided,
            "received": self.received - sent,
            "answered": self.answered - self.began,
        }


def main() -> None:
    arguments = _parser().parse_args()
    with receiving() as receiver, _server(arguments) as rest:
        report = _report(_measure(rest, receiver, calls=arguments.calls, pause=arguments.pause))
    _print(report)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=200, help="calls measured (%(default)s)")
    parser.add_argument("--pause", type=float, default=0.05, help="idle seconds between calls (%(default)s)")
    parser.add_argument("--url", help="a server that runs already; needs --key")
    parser.add_argument("--key", help="an API key of a member of its team main")
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
    name = f"latency_{time.time_ns()}"
    project = rest.post("projects/", {"team": "main", "name": name})["id"]
    hook = make_hook(rest, receiver.url, name=name, signing_secret="a signing secret")
    event = {
        "type": "run_metric_threshold",
        "metric": "loss",
        "aggregation": "none",
        "comparison": "below",
        "threshold": 0,
    }
    payload = {"text": "${run_name}: ${metric_filter}", "value": "${metric_value}", "step": "${step}"}
    make_rule(rest, name, event, project=project, hook=hook, payload=payload, period=0)
    return int(rest.post("runs/", {"project": project})["id"])


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


def _report(seconds: dict[str, list[float]]) -> dict[str, Any]:
    return {
        "bench": "latency",
        "calls": len(seconds["total"]),
        "load": [round(load, 2) for load in os.getloadavg()[:2]],
        "cores": os.cpu_count(),
        "ms": {name: _percentiles(seconds[name]) for name in STAGES},
    }


def _percentiles(seconds: list[float]) -> dict[str, float]:
    cuts = quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else seconds * 99
    found = {"p50": median(seconds), "p95": cuts[94], "p99": cuts[98], "max": max(seconds)}
    return {name: round(each * 1000, 2) for name, each in found.items()}


def _print(report: dict[str, Any]) -> None:
    width = max(map(len, STAGES.values()))
    load = " and ".join(f"{each:.2f}" for each in report["load"])
    print(f"{report['calls']} calls; load of the machine {load} on {report['cores']} cores\n")
    print(f"{'milliseconds':<{width}}     p50     p95     p99     max")
    for name, meaning in STAGES.items():
        figures = "".join(f"{figure:8.1f}" for figure in report["ms"][name].values())
        print(f"{meaning:<{width}}{figures}")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
