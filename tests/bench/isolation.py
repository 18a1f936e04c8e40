"""What a good receiver feels of its neighbour that hangs: decision to receipt, with and without it.

    python -m tests.bench.isolation [--pairs 5] [--seconds 10] [--rate 50] [--hanging 1]

Starts its own `up` on an empty directory. Pairs of windows, one without the neighbour (its integration is
disabled) and one with it (each event goes to it too), in turn, so that a noisy moment of the machine hits
both. Prints a table and one line of JSON; times are milliseconds.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from tests.stories.receiver import HANG, Receiver, receiving
from tests.stories.rest import Rest, make_hook, make_rule
from tests.upserver import UpServer, up_server, wait_for

ANY_VALUE = {
    "type": "run_metric_threshold",
    "metric": "loss",
    "aggregation": "none",
    "comparison": "below",
    "threshold": 0,
}


@dataclass
class Beat:
    """A run whose every value is a message to the good receiver."""

    rest: Rest
    receiver: Receiver
    run: int
    step: int = 0

    def send(self, *, rate: float, seconds: float) -> list[float]:
        """Seconds from decision to receipt of each message that was caused in the window."""
        offset = time.time() - time.perf_counter()
        first, before, began = self.step, len(self.receiver.letters), time.perf_counter()
        for number in range(int(rate * seconds)):
            time.sleep(max(0.0, began + number / rate - time.perf_counter()))
            self.rest.post(
                f"runs/{self.run}/metrics/", {"points": [{"step": self.step, "values": {"loss": -1.0}}]}
            )
            self.step += 1
        count = self.step - first
        wait_for(lambda: len(self.receiver.letters) - before >= count, within=60)
        received = {letter.data["step"]: letter.at + offset for letter in self.receiver.letters[before:]}
        decided = self._decided(first)
        return [received[step] - decided[step] for step in range(first, self.step)]

    def _decided(self, first: int) -> dict[int, float]:
        """When each step was decided, by the server's word."""
        found: dict[int, float] = {}
        path = f"executions/?run={self.run}&page_size=1000"
        page = self.rest.get(path)
        while True:
            rows = [row for row in page["results"] if row["automation_name"] == "good"]
            found |= {
                row["explanation"]["step"]: datetime.fromisoformat(row["created_at"]).timestamp()
                for row in rows
            }
            if not page["next"] or min(found, default=0) < first:
                return found
            page = json.loads(self.rest.download(page["next"].removeprefix(self.rest.url)))


def prepare(rest: Rest, receiver: Receiver, *, name: str) -> tuple[Beat, int]:
    """The beat, and its project."""
    project = rest.post("projects/", {"team": "main", "name": name})["id"]
    hook = make_hook(rest, receiver.url, name=f"{name}_good")
    make_rule(rest, "good", ANY_VALUE, project=project, hook=hook, payload={"step": "${step}"}, period=0)
    return Beat(rest, receiver, int(rest.post("runs/", {"project": project})["id"])), project


@contextmanager
def server() -> Iterator[UpServer]:
    # For tests it repeats at its end what the server said; a bench prints its figures.
    with (
        tempfile.TemporaryDirectory() as folder,
        redirect_stdout(io.StringIO()),
        up_server(Path(folder) / "data") as started,
    ):
        yield started


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    cuts = quantiles(seconds, n=100, method="inclusive")
    found = {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98], "max": max(seconds)}
    return {name: round(each * 1000, 1) for name, each in found.items()}


def main() -> None:
    arguments = _parser().parse_args()
    with receiving() as good, receiving(lambda _letter: HANG) as bad, server() as started:
        rest = Rest(started.url, started.key)
        beat, project = prepare(rest, good, name="isolation")
        neighbours = [_neighbour(rest, bad, project, number) for number in range(arguments.hanging)]
        beat.send(rate=arguments.rate, seconds=2)  # warms up
        pairs = []
        for number in range(arguments.pairs):
            pairs.append(_pair(beat, neighbours, rate=arguments.rate, seconds=arguments.seconds))
            _print_pair(number, pairs[-1])
        report = _report(pairs, arguments, hung=len(bad.letters))
    print(
        f"\np99 with a neighbour that hangs / without: {report['ratio_p99']:.2f} (median of the pairs); "
        f"{report['hung']} requests hung"
    )
    print(json.dumps(report))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5, help="pairs of windows (%(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="length of a window (%(default)s)")
    parser.add_argument("--rate", type=float, default=50, help="messages per second (%(default)s)")
    parser.add_argument("--hanging", type=int, default=1, help="neighbours that hang (%(default)s)")
    return parser


def _neighbour(rest: Rest, receiver: Receiver, project: int, number: int) -> int:
    hook = make_hook(rest, receiver.url, name=f"hangs_{number}")
    payload = {"step": "${step}"}
    make_rule(rest, f"hangs {number}", ANY_VALUE, project=project, hook=hook, payload=payload, period=0)
    rest.post(f"integrations/{hook}/disable/", {})
    return hook


def _pair(beat: Beat, neighbours: Sequence[int], *, rate: float, seconds: float) -> dict[str, Any]:
    without = beat.send(rate=rate, seconds=seconds)
    for hook in neighbours:
        beat.rest.post(f"integrations/{hook}/enable/", {})
    hanging = beat.send(rate=rate, seconds=seconds)
    for hook in neighbours:
        beat.rest.post(f"integrations/{hook}/disable/", {})
    return {"without": percentiles(without), "with": percentiles(hanging)}


def _print_pair(number: int, pair: dict[str, Any]) -> None:
    """As they come; the table is progress, too."""
    if number == 0:
        print(f"{'milliseconds':<24}     p50     p95     p99     max", file=sys.stderr)
    for name in ("without", "with"):
        figures = "".join(f"{figure:8.1f}" for figure in pair[name].values())
        print(f"pair {number + 1}, {name:<16}{figures}", file=sys.stderr)


def _report(pairs: Sequence[dict[str, Any]], arguments: argparse.Namespace, *, hung: int) -> dict[str, Any]:
    return {
        "bench": "isolation",
        "rate": arguments.rate,
        "hanging": arguments.hanging,
        "hung": hung,
        "load": [round(load, 2) for load in os.getloadavg()[:2]],
        "cores": os.cpu_count(),
        "ratio_p99": median(pair["with"]["p99"] / pair["without"]["p99"] for pair in pairs),
        "worst_p99": max(pair["with"]["p99"] for pair in pairs),
        "pairs": list(pairs),
    }


if __name__ == "__main__":
    main()
