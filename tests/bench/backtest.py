"""A rule tried on 1,000 stored runs of 10,000 values: until the first result is there, and until all are.

    python -m tests.bench.backtest [--runs 1000] [--values 10000] [--batch 1000] [--only KIND]

On one core and an embedded database of its own. Each kind of rule twice: with a threshold that no value
comes near, which few runs have to be read for, and with one amid the noise, for which every value counts.
Prints a table and one line of JSON, in seconds; `core` is what the process used of the core, which is
less than `all` where others want it too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from array import array
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.bench.rules import _prepare as prepare

if TYPE_CHECKING:
    from runs.models import Project

# Where the noise (its deviation is 0.05 around 0.5) is met now and then, by aggregation.
WINDOWS = {"average": 0.53, "min": 0.56, "max": 0.71, "none": 0.71}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--values", type=int, default=10_000, help="values of each run")
    parser.add_argument("--batch", type=int, default=1000, help="values of each call that logged them")
    parser.add_argument("--only", default="", help="only rules whose name holds this")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        prepare(folder)
        project = plant(arguments.runs, arguments.values, arguments.batch)
        found = {name: _measured(project, *rule) for name, rule in _rules() if arguments.only in name}
    _print(found, arguments)


def _rules() -> Iterator[tuple[str, tuple[str, dict[str, Any]]]]:
    loss: dict[str, Any] = {"metric": "loss"}
    for aggregation, amid in WINDOWS.items():
        window = {**loss, "aggregation": aggregation, "window": 50 if aggregation == "average" else 5}
        for name, limit in (("far", 5.0), ("amid", amid)):
            config = {**window, "comparison": "above", "threshold": limit}
            yield f"threshold {aggregation} {name}", ("run_metric_threshold", config)
    for aggregation in WINDOWS:
        window = {**loss, "aggregation": aggregation, "window": 10, "prior_window": 50}
        for name, limit in (("far", 500.0), ("amid", {"none": 0.75, "min": 1.0}.get(aggregation, 0.4))):
            config = {**window, "direction": "increase", "threshold": limit, "change_type": "relative"}
            yield f"change {aggregation} {name}", ("run_metric_change", config)
    for baseline in ("values", "runs"):
        for name, limit in (("far", 50.0), ("amid", 6.0)):
            config = {**loss, "baseline": baseline, "direction": "above", "threshold": limit}
            yield f"z-score {baseline} {name}", ("run_metric_zscore", config)
    yield "nonfinite", ("run_metric_nonfinite", loss)
    yield "nonfinite any", ("run_metric_nonfinite", {})
    yield "status", ("run_status", {"statuses": ["failed"]})


def _measured(project: Project, event_type: str, config: dict[str, Any]) -> dict[str, Any]:
    from automations.backtests.engine import Replays
    from automations.backtests.report import Report
    from automations.models import Automation
    from automations.services.rules import check_automation

    draft = Automation(event_type=event_type, config=config)
    check_automation(draft, scope=project)
    started, used = time.perf_counter(), time.process_time()
    replays = Replays(draft, since=datetime(2020, 1, 1, tzinfo=UTC), limit=100_000)
    report = Report(replays)
    first = None
    for replay in replays:
        first = first or time.perf_counter() - started
        report.add(replay)
    return {
        "first": round(first or 0.0, 4),
        "all": round(time.perf_counter() - started, 3),
        "core": round(time.process_time() - used, 3),
        "fired": report.summary.fired,
    }


# --- The runs -------------------------------------------------------------------------------------


def plant(runs: int, values: int, batch: int) -> Project:
    """Runs one after the other, a minute a batch; of every hundred one diverges, one spikes, one fails."""
    from django.db import transaction

    from runs.models import RunStatus
    from runs.services.people import create_team
    from runs.services.projects import create_project
    from runs.services.runs import set_status, start_run

    project = create_project(create_team("bench"), "bench")
    dice = random.Random(1)
    pool = [array("d", [dice.gauss(0.5, 0.05) for _value in range(values)]) for _one in range(40)]
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(runs):
        series = pool[number % len(pool)][:]
        if number % 100 == 7:
            series[values * 3 // 4 :] = array("d", [float("nan")]) * (values - values * 3 // 4)
        if number % 100 == 9:
            series[values * 2 // 3] = 3.0
        with transaction.atomic():
            run, _created = start_run(project, None)
            moment = _log(run, series, batch=batch, moment=moment)
            set_status(run, RunStatus.FAILED if number % 100 in {7, 8} else RunStatus.FINISHED, actor=None)
    return project


def _log(run: Any, series: array[float], *, batch: int, moment: datetime) -> datetime:
    """What the calls of a client leave behind, without the calls."""
    from runs import metrics
    from runs.ingest import Column
    from runs.models import Lane, MetricBatch

    for seq, start in enumerate(range(0, len(series), batch), start=2):
        values = series[start : start + batch]
        steps = array("q", range(start, start + len(values)))
        column = Column(steps, array("d", [moment.timestamp()]) * len(values), values)
        metrics.append(run, {"loss": column}, source="history", seq=seq, received_at=moment)
        MetricBatch(
            run=run,
            seq=seq,
            source="history",
            count=len(values),
            names=["loss"],
            received_at=moment,
            run_status=run.status,
            run_name=run.name,
        ).save_base(raw=True)
        moment += timedelta(minutes=1)
    Lane.objects.filter(run=run).update(head=seq, cursor=seq)
    return moment


def _print(found: dict[str, dict[str, Any]], arguments: argparse.Namespace) -> None:
    print(f"{arguments.runs} runs of {arguments.values} values in batches of {arguments.batch}, one core")
    for name, one in found.items():
        times = f"first {one['first']:7.3f} s   all {one['all']:7.2f} s   of the core {one['core']:6.2f} s"
        print(f"  {name:<24} {times}   fired on {one['fired']}")
    print(f"  slowest {max((one['core'] for one in found.values()), default=0):.2f} s of the core")
    head = {"bench": "backtest", "runs": arguments.runs, "values": arguments.values, "batch": arguments.batch}
    print(json.dumps({**head, "seconds": found}))


if __name__ == "__main__":
    main()
