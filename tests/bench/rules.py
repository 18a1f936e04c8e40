"""What rules cost a worker: one batch of 1,000 values against none, 100, and 10,000 that cannot match.

    python -m tests.bench.rules [--values 1000] [--rounds 15]

Everything in one run on an embedded database of its own. Prints a table and one line of JSON; `cost_ms`
is a worker's median time to decide one batch, `extra_ms` what the rules add to it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runs.models import Project, Run


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--values", type=int, default=1000, help="values in the batch")
    parser.add_argument("--rounds", type=int, default=15, help="batches measured of each kind")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _prepare(folder)
        report = _measure(arguments.values, arguments.rounds)
    _print(report)


def _prepare(folder: str) -> None:
    os.environ.update(DJANGO_SETTINGS_MODULE="config.settings", TRIPLINE_DATA_DIR=folder)
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def _measure(values: int, rounds: int) -> dict[str, Any]:
    """Each kind of project in turn, round by round, so that a noisy moment hits all of them."""
    quiet, busy, far = _project("quiet"), _project("busy"), _project("far")
    _rules(busy, 100, metric="loss")
    _rules(far, 1, metric="unused")
    _many_elsewhere(far, 10_000)
    runs = {"none": _run(quiet), "100 match": _run(busy), "10,000 elsewhere": _run(far)}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _round in range(rounds + 1):
        for name, run in runs.items():
            times[name].append(_decide_one(run, values))
    medians = {name: statistics.median(found[1:]) * 1000 for name, found in times.items()}
    return {
        "bench": "rules",
        "values": values,
        "cost_ms": {name: round(median, 3) for name, median in medians.items()},
        "extra_ms": round(medians["100 match"] - medians["none"], 3),
        "elsewhere_ratio": round(medians["10,000 elsewhere"] / medians["none"], 3),
    }


def _project(name: str) -> Project:
    from runs.models import Team
    from runs.services.people import create_team
    from runs.services.projects import create_project

    team = Team.objects.first() or create_team("bench")
    return create_project(team, name)


def _rules(project: Project, count: int, *, metric: str) -> None:
    """A third each of threshold over 5, change 10/50 and z-score; none of them ever met."""
    from automations.models import Automation
    from automations.services.rules import save_automation

    dice = random.Random(7)
    for number in range(count):
        event_type, config = _KINDS[number % len(_KINDS)](dice)
        automation = Automation(name=f"{number}", event_type=event_type, config={"metric": metric, **config})
        save_automation(automation, scope=project, actions=[])


_KINDS: list[Callable[[random.Random], tuple[str, dict[str, Any]]]] = [
    lambda dice: (
        "run_metric_threshold",
        {"aggregation": "average", "window": 5, "comparison": "above", "threshold": 1 + dice.random()},
    ),
    lambda dice: ("run_metric_change", {"direction": "any", "threshold": 1 + dice.random()}),
    lambda dice: (
        "run_metric_zscore",
        {"direction": "either", "threshold": 6 + dice.random(), "baseline": dice.choice(["runs", "values"])},
    ),
]


def _many_elsewhere(project: Project, count: int) -> None:
    """Half on other metrics of this project, half on this metric in another project."""
    from automations.models import Automation
    from runs import clock

    pattern = Automation.objects.filter(project=project).get()
    other = _project("other")
    rows = []
    for number in range(count):
        place, metric = (project, f"metric {number}") if number % 2 else (other, "loss")
        rows.append(
            Automation(
                name=f"elsewhere {number}",
                event_type=pattern.event_type,
                config={**pattern.config, "metric": metric},
                routing_key=metric,
                scope_type="project",
                scope_key=f"project:{place.pk}",
                project=place,
                armed_at=clock.now(),
            )
        )
    Automation.objects.bulk_create(rows, batch_size=500)


def _run(project: Project) -> Run:
    """A run with a history, among 40 others with a value each."""
    from runs.services.runs import start_run

    for number in range(40):
        other, _created = start_run(project, None)
        _log(other, [0.3 + number / 100])
    run, _created = start_run(project, None)
    _log(run, [0.5] * 100)
    _evaluate(run)
    return run


def _log(run: Run, values: list[float]) -> None:
    from runs import ingest
    from runs.services.metrics import log_metrics

    log_metrics(run, ingest.Call(points=[ingest.Point(values={"loss": value}) for value in values]))


def _evaluate(run: Run) -> None:
    from automations.evaluation import evaluate_lane

    evaluate_lane(run.pk)


def _decide_one(run: Run, values: int) -> float:
    """Seconds that a worker needs for the batch; the lane is put back where no rule kept it waiting."""
    from runs.models import Lane

    dice = random.Random(run.pk)
    _log(run, [dice.gauss(0.5, 0.05) for _value in range(values)])
    lane = Lane.objects.get(pk=run.pk)
    Lane.objects.filter(pk=run.pk).update(cursor=lane.head - 1)
    started = time.perf_counter()
    _evaluate(run)
    return time.perf_counter() - started


def _print(report: dict[str, Any]) -> None:
    print(f"one batch of {report['values']} values, median of a worker's time")
    for name, cost in report["cost_ms"].items():
        print(f"  rules: {name:<18} {cost:8.2f} ms")
    ratio = report["elsewhere_ratio"]
    print(f"  100 rules add {report['extra_ms']:.2f} ms; 10,000 elsewhere cost × {ratio:.2f}")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
