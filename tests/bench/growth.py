"""What one event costs as everything grows, against an empty database in the same run.

    python -m tests.bench.growth [--grow runs points elsewhere matching executions] [--shape embedded]
                                 [--runs 10 1000 100000] [--points 1000 …] [--rounds 40] …

No servers: a REST call in process (routing, authentication, acceptance), then what a worker does to decide
it. Two databases are asked in turn, event by event: one that stays almost empty, and one that grows. An
event is one of three:

    call    100 values in 10 metrics, watched by 12 rules of which none fires
    fires   a value on which one rule fires, each time: an event, an execution
    run     a new run, which fires a rule on its status

What grows: `runs`, a third of them in the same project, the newest ones elsewhere; `points` of the run that
is logged to (in calls of 100, or as many as --call says); automations `elsewhere` (on other metrics of the
project, and on the same metric in another one); automations that are `matching`, whose cost is told per
rule; `executions` of the rule that fires. Prints a table (on stderr, as it grows) and one line of JSON;
costs are medians in milliseconds. Ratios are those of processor time where all is done in one process
(embedded), which a busy machine disturbs least, and of elapsed time where PostgreSQL does a part of it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from tests.bench.apart import Apart, databases
from tests.bench.houses import load

if TYPE_CHECKING:
    from automations.models import Automation
    from runs.models import Project

METRICS = [f"metric_{number}" for number in range(10)]
EVENTS = ("call", "fires", "run")
LEVELS = {
    "runs": [10, 1000, 100_000],
    "points": [1000, 10_000, 100_000, 1_000_000],
    "elsewhere": [1, 100, 10_000],
    "matching": [1, 10, 100, 1000, 10_000],
    "executions": [0, 10_000, 1_000_000],
}
TARGET = 1.3


def main() -> None:
    arguments = _parser().parse_args()
    cells: list[dict[str, Any]] = []
    for shape in arguments.shape:
        with tempfile.TemporaryDirectory() as folder, databases(shape, Path(folder)) as made:
            empty, by = made("empty"), "cpu" if shape == "embedded" else "elapsed"
            empty.ask(furnish)
            for what in arguments.grow:
                grown = made(what)
                grown.ask(furnish)
                for level in getattr(arguments, what):
                    grown.ask(grow, what, level, arguments.call)
                    cell = _compare(empty, grown, arguments.rounds, by=by)
                    cells.append({"shape": shape, "what": what, "level": level, "events": cell})
                    _print_cell(cells[-1], is_first=len(cells) == 1)
    report = {"bench": "growth", "load": load(), "cores": os.cpu_count(), **_worst(cells), "cells": cells}
    print(json.dumps(report))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--grow", nargs="+", choices=list(LEVELS), default=list(LEVELS), help="(all)")
    parser.add_argument(
        "--shape", nargs="+", choices=["embedded", "production"], default=["embedded"], help="(%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=40, help="events of each kind (%(default)s)")
    parser.add_argument("--call", type=int, default=100, help="points of a call that fills (%(default)s)")
    for what, levels in LEVELS.items():
        parser.add_argument(f"--{what}", type=int, nargs="+", default=levels, help="levels (%(default)s)")
    return parser


# --- In the parent --------------------------------------------------------------------------------


def _compare(empty: Apart, grown: Apart, rounds: int, *, by: str) -> dict[str, dict[str, float]]:
    """In turn; the first few of each warm up. Ratios are of `elapsed` or of `cpu`."""
    found: dict[str, dict[str, float]] = {}
    for event in EVENTS:
        taken: dict[Apart, list[dict[str, float]]] = {empty: [], grown: []}
        for _round in range(rounds + 3):
            for each in (empty, grown):
                taken[each].append(each.ask(measure, event))
        before, after = (
            {kind: median(one[kind] for one in taken[each][3:]) for kind in ("elapsed", "cpu")}
            for each in (empty, grown)
        )
        found[event] = {
            "empty": round(before["elapsed"] * 1000, 2),
            "grown": round(after["elapsed"] * 1000, 2),
            "ratio": round(after[by] / before[by], 2),
        }
    return found


def _worst(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """By what grew, at its last level; `matching` is to grow."""
    last = {cell["what"]: cell["events"] for cell in cells if cell["what"] != "matching"}
    worst = {what: max(each["ratio"] for each in events.values()) for what, events in last.items()}
    return {"worst": worst, "target": TARGET, "flat": all(ratio <= TARGET for ratio in worst.values())}


def _print_cell(cell: dict[str, Any], *, is_first: bool) -> None:
    if is_first:
        heads = "".join(f"{event:>26}" for event in EVENTS)
        print(f"{'milliseconds, × empty':<34}{heads}", file=sys.stderr)
    figures = "".join(
        "{empty:10.2f}{grown:9.2f} ×{ratio:5.2f}".format(**cell["events"][event]) for event in EVENTS
    )
    print(f"{cell['shape']:11} {cell['what']:11}{cell['level']:11,}{figures}", file=sys.stderr)


# --- In the process of a database -----------------------------------------------------------------

_here: dict[str, Any] = {}


def furnish() -> None:
    """A project with its rules, some other runs, and the run that is logged to."""
    from django.test import Client

    from runs.models import Team, User
    from runs.services.people import create_key, create_team
    from runs.services.projects import create_project

    ada = User(username="ada", email="ada@example.com")
    ada.set_unusable_password()
    ada.save()
    team: Team = create_team("main", owner=ada)
    project = create_project(team, "growth")
    _row, key = create_key(ada, "bench")
    _here.update(
        project=project,
        elsewhere=create_project(team, "elsewhere"),
        client=Client(headers={"Authorization": f"Bearer {key}"}, SERVER_NAME="127.0.0.1"),
        dice=random.Random(7),
    )
    _make_rules(project)
    for number in range(12):
        _post(_new_run(), {"metric_0": 0.4 + number / 100})
    _here["run"] = _new_run()


def _make_rules(project: Project) -> None:
    """One for each metric, two that look at other runs, and two that fire: on `alarm`, and on new runs."""
    from tests.bench.ingest import KINDS

    for number, metric in enumerate(METRICS):
        kind = dict(KINDS[number % len(KINDS)])
        _rule(project, kind.pop("type"), {"metric": metric, **kind})
    neighbours = {"metric": "metric_0", "direction": "either", "threshold": 1e6}
    for hold in (1, 3):
        _rule(project, "run_metric_zscore", {**neighbours, "hold": hold})
    _here["alarm"] = _rule(
        project,
        "run_metric_threshold",
        {"metric": "alarm", "aggregation": "none", "comparison": "above", "threshold": 0},
        period=0,
    )
    _here["status"] = _rule(project, "run_status", {"statuses": ["running"]})


def _rule(project: Project, event_type: str, config: dict[str, Any], **options: Any) -> Automation:
    from automations.models import Automation
    from automations.services.rules import ActionDraft, save_automation

    name = f"rule {Automation.objects.count()}"
    draft = Automation(name=name, event_type=event_type, config=config, **options)
    return save_automation(draft, scope=project, actions=[ActionDraft("noop")])


def measure(event: str) -> dict[str, float]:
    """Seconds that one event takes until it is decided, elapsed and of the processor."""
    from automations.evaluation import evaluate_lane

    dice = _here["dice"]
    began, used = time.perf_counter(), time.process_time()
    if event == "run":
        run_id = _ask("runs/", {"project": _here["project"].pk})["id"]
    else:
        run_id = _here["run"]
        points: list[dict[str, Any]] = [{"values": {"alarm": 1.0}}]
        if event == "call":
            points = [{"values": {name: dice.gauss(0.5, 0.05) for name in METRICS}} for _step in range(10)]
        _ask(f"runs/{run_id}/metrics/", {"points": points})
    evaluate_lane(run_id)
    return {"elapsed": time.perf_counter() - began, "cpu": time.process_time() - used}


def _ask(path: str, body: dict[str, Any]) -> Any:
    answer = _here["client"].post(f"/api/v1/{path}", body, content_type="application/json")
    assert answer.status_code in {200, 201, 202}, answer.content
    return answer.json()


def _new_run() -> int:
    return int(_ask("runs/", {"project": _here["project"].pk})["id"])


def _post(run_id: int, values: dict[str, float]) -> None:
    from automations.evaluation import evaluate_lane

    _ask(f"runs/{run_id}/metrics/", {"points": [{"values": values}]})
    evaluate_lane(run_id)


# --- Growing --------------------------------------------------------------------------------------


def grow(what: str, level: int, call: int) -> None:
    """Up to that level."""
    from tests.bench.planting import analyse

    grown = _here.get("level", 0)
    if what == "points":
        _log_points(level - grown, call)
    else:
        {
            "runs": _plant_runs,
            "elsewhere": _plant_elsewhere,
            "matching": _plant_matching,
            "executions": _plant_executions,
        }[what](level - grown)
    _here["level"] = level
    analyse()


def _plant_runs(count: int) -> None:
    """Each with a lane and a value; a third in the project, the others elsewhere and newer."""
    from runs.models import Lane, MetricSummary, Run
    from tests.bench.planting import copy

    run = Run.objects.get(pk=_here["run"])
    pattern = MetricSummary.objects.filter(name="metric_0").earliest("pk")
    name = f"'planted-{_here.get('level', 0)}-' || i"
    lane = Lane.objects.get(run=run)
    for project, share in ((_here["project"], count // 3), (_here["elsewhere"], count - count // 3)):
        before = copy(run, share, {"run_id": name, "project_id": str(project.pk)})
        copy(lane, share, {"run_id": f"{before} + i", "head": "1", "cursor": "1"})
        copy(pattern, share, {"run_id": f"{before} + i", "project_id": str(project.pk)})


def _log_points(count: int, call: int) -> None:
    """Through the front door; nobody decides them."""
    from django.db.models import F

    from runs import ingest
    from runs.models import Lane, Run
    from runs.services.metrics import log_metrics

    run, dice = Run.objects.get(pk=_here["run"]), _here["dice"]
    for _call in range(count // call):
        values = [{name: dice.gauss(0.5, 0.05) for name in METRICS} for _step in range(max(1, call // 10))]
        log_metrics(run, ingest.Call(points=[ingest.Point(values=each) for each in values]))
    Lane.objects.filter(run=run).update(cursor=F("head"))


def _plant_elsewhere(count: int) -> None:
    """Half on other metrics of the project, half on the same metric in another project."""
    pattern = _rule_on("metric_0")
    level = _here.get("level", 0)
    other = f"'metric ' || (i + {level})"
    _copy_rule(pattern, count // 2, _here["project"], {"routing_key": other, "name": _name()})
    _copy_rule(pattern, count - count // 2, _here["elsewhere"], {"name": _name()})


def _plant_matching(count: int) -> None:
    _copy_rule(_rule_on("metric_0"), count, _here["project"], {"name": _name()})


def _name() -> str:
    return f"'planted-{_here.get('level', 0)}-' || i"


def _rule_on(metric: str) -> Automation:
    from automations.models import Automation

    return Automation.objects.filter(routing_key=metric).earliest("pk")


def _copy_rule(pattern: Automation, count: int, project: Project, varied: dict[str, str]) -> None:
    from django.db.models import F

    from tests.bench.planting import copy

    place = {"project_id": str(project.pk), "scope_key": f"'project:{project.pk}'"}
    copy(pattern, count, {**place, **varied})
    type(project).objects.filter(pk=project.pk).update(rules_epoch=F("rules_epoch") + 1)


def _plant_executions(count: int) -> None:
    """Of the rule that fires and the run that is logged to, each with its event and a delivery."""
    from automations.models import Execution, Feed
    from tests.bench.planting import copy

    if count <= 0:
        return
    if not Execution.objects.filter(automation=_here["alarm"]).exists():
        measure("fires")
    execution = Execution.objects.filter(automation=_here["alarm"]).earliest("pk")
    assert execution.event is not None
    feed = Feed.objects.get(organization=execution.organization_id)
    event = copy(execution.event, count, {"sequence": f"{feed.head} + i"})
    Feed.objects.filter(pk=feed.pk).update(head=feed.head + count)
    before = copy(execution, count, {"dedup_key": "'planted:' || ({before} + i)", "event_id": f"{event} + i"})
    delivery = execution.deliveries.get()
    copy(delivery, count, {"execution_id": f"{before} + i", "webhook_id": "'planted-' || ({before} + i)"})


if __name__ == "__main__":
    main()
