"""How quick the large pages are: a table of 100,000 runs, and a run of 1,000,000 points in 50 metrics.

    python -m tests.bench.pages [--runs 100000]

On an embedded Tripline of its own, in Debian's Chromium. Prints a table and one line of JSON: for the tables
the median of ten answers, for the run the first byte, the time until every chart in the window is drawn, and
what was sent until all 50 had been seen, scripts included.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.pages.browsing import ARGUMENTS, CHROMIUM, window
from tests.upserver import UpServer, run_beside, up_server

TABLES = ("", "?status=crashed", "?name=run-123", "?ordering=name", "?user=admin", "?metric=loss&metric=acc")
_METRICS = [
    f"{group}/{letter}" for group in ("train", "val", "grad", "act", "opt") for letter in "abcdefghij"
]
# Runs written at once: the server beside waits for them.
_STRIDE = 10_000
_IN_VIEW = """() => {
    const isSeen = figure => figure.getBoundingClientRect().top < innerHeight;
    const seen = [...document.querySelectorAll("figure")].filter(isSeen);
    return seen.length > 0 && seen.every(f => f.dataset.state === "drawn");
}"""
_ALL = "() => [...document.querySelectorAll('figure')].every(f => f.dataset.state === 'drawn')"
_FIRST_BYTE = """() => {
    const [page] = performance.getEntriesByType("navigation");
    return page.responseStart - page.requestStart;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=100_000, help="runs in the table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, up_server(Path(folder)) as server:
        for first in range(0, arguments.runs, _STRIDE):
            last = min(first + _STRIDE, arguments.runs)
            run_beside(server.env, f"from tests.bench import pages; pages.fill({first}, {last})")
        run_beside(server.env, "from tests.bench import pages; pages.fill_million()")
        report = {"runs": arguments.runs, **_measure(server)}
    _print(report)


def _measure(server: UpServer) -> dict[str, Any]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        with window(browser, server) as visitor:
            visitor.sign_in()
            visitor.page.wait_for_url(f"{server.url}/")
            tables = {query or "all": _table(visitor.page, f"/main/many/{query}") for query in TABLES}
            return {"table_ms": tables, "run": _run(visitor.page)}


def _table(page: Page, place: str) -> float:
    """Milliseconds from the question to the last byte of the answer."""
    page.request.get(place)
    times = []
    for _round in range(10):
        started = time.perf_counter()
        assert page.request.get(place).ok
        times.append(1000 * (time.perf_counter() - started))
    return round(statistics.median(times), 1)


def _run(page: Page) -> dict[str, float]:
    sent: list[int] = []
    page.on("response", lambda answer: sent.append(len(answer.body())))
    page.set_viewport_size({"width": 1280, "height": 900})
    started = time.perf_counter()
    page.goto("/main/many/runs/million/", wait_until="commit")
    page.wait_for_function(_IN_VIEW)
    drawn = time.perf_counter() - started
    first_byte = page.evaluate(_FIRST_BYTE)
    for figure in page.locator("figure").all():
        figure.scroll_into_view_if_needed()
    page.wait_for_function(_ALL)
    return {
        "first_byte_ms": round(first_byte, 1),
        "drawn_ms": round(1000 * drawn, 1),
        "sent_kb": round(sum(sent) / 1000, 1),
    }


def fill(first: int, last: int) -> None:
    """Runs of these numbers, with the summaries of two metrics each, the newest with their values."""
    from django.utils import timezone

    from runs.models import Lane, MetricSummary, Run, User

    user, now, project = User.objects.get(username="admin"), timezone.now(), _project()
    dice, states = random.Random(first), ["finished"] * 18 + ["crashed", "failed"]
    rows = [
        Run(project=project, run_id=f"r{number}", name=f"run-{number}", status=dice.choice(states), user=user)
        for number in range(first, last)
    ]
    made = Run.objects.bulk_create(rows, batch_size=2000)
    Lane.objects.bulk_create([Lane(run=run, received_at=now) for run in made], batch_size=2000)
    numbers = {"count": 1, "finite_count": 1, "last_step": 0, "minimum": 0, "maximum": 1, "received_at": now}
    summaries = (
        MetricSummary(
            run=run, project=project, source="history", name=name, last_finite=dice.random(), **numbers
        )
        for run in made[:-60]
        for name in ("loss", "acc")
    )
    MetricSummary.objects.bulk_create(summaries, batch_size=2000)
    for run in made[-60:]:
        _log(run, ("loss", "acc"), calls=20, values=10)


def fill_million() -> None:
    from runs.models import RunStatus, User
    from runs.services.runs import start_run

    user = User.objects.get(username="admin")
    run, _created = start_run(_project(), user, run_id="million", status=RunStatus.FINISHED)
    _log(run, _METRICS, calls=20, values=1000)


def _project() -> Any:
    from runs.models import Project, Team

    return Project.objects.get_or_create(team=Team.objects.get(name="main"), name="many")[0]


def _log(run: Any, names: Any, *, calls: int, values: int) -> None:
    from runs import ingest
    from runs.services.metrics import log_metrics

    for call in range(calls):
        points = [
            ingest.Point(values={name: math.sin(step / 500) + random.gauss(0, 0.1) for name in names})
            for step in range(call * values, (call + 1) * values)
        ]
        log_metrics(run, ingest.Call(points=points))


def _print(report: dict[str, Any]) -> None:
    print(f"a table of {report['runs']} runs, median of ten answers")
    for name, took in report["table_ms"].items():
        print(f"  {name:<28} {took:8.1f} ms")
    run = report["run"]
    print("a run of 1,000,000 points in 50 metrics")
    print(f"  first byte {run['first_byte_ms']} ms, drawn {run['drawn_ms']} ms, {run['sent_kb']} kB in all")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
