"""What a backtest says is what was recorded live: 500 random rules on random runs, firing by firing."""

from __future__ import annotations

import json
import math
import random
from collections import Counter, defaultdict
from datetime import datetime
from typing import Any

import pytest

from automations.backtests import series
from automations.backtests.engine import Replays
from automations.models import Automation, Execution
from automations.services.rules import check_automation
from runs.models import Project, Run, RunStatus, Team, User
from runs.models.metrics import spelled
from runs.services.people import create_team
from runs.services.projects import create_project
from runs.services.runs import delete_run, set_status, update_run
from tests import cast
from tests.cast import Cast, Clock, log_points, new_run, rule

pytestmark = pytest.mark.django_db

# 500 rules in all.
VOLUMES, STORIES, RULES = 5, 5, 20

# Step, acceptance, and what was said.
Told = tuple[int | None, datetime, dict[str, Any]]

COMPARISONS = ["above", "above_or_equal", "below", "below_or_equal", "equal", "not_equal"]
NUMBERS = [0.0, 0.25, 0.5, 0.5, 0.75, 1.0, -1.0]


def invented_rule(dice: random.Random) -> tuple[str, dict[str, Any]]:
    kind = dice.choice(["status", "threshold", "change", "change", "zscore", "zscore", "nonfinite"])
    filters = {
        "user": dice.choice([None, None, None, "ada"]),
        "run_name": dice.choice([None, None, None, "^exp", "7$"]),
    }
    if kind == "status":
        statuses = dice.sample(["running", "finished", "failed"], dice.randint(1, 3))
        return "run_status", {**filters, "statuses": statuses}
    metric = {
        **filters,
        "metric": dice.choice(["loss", "loss", "loss", "system.loss", "acc"]),
        "source": dice.choice(["auto", "auto", "history", "system"]),
        "warmup": dice.choice([0, 0, 0, 2, 9]),
        "hold": dice.choice([1, 1, 1, 2, 4]),
    }
    return KINDS[kind](dice, metric)


def threshold(dice: random.Random, metric: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    window = {"aggregation": dice.choice(["average", "min", "max", "none"]), "window": dice.randint(1, 6)}
    condition = {"comparison": dice.choice(COMPARISONS), "threshold": dice.choice(NUMBERS)}
    return "run_metric_threshold", {**metric, **window, **condition}


def change(dice: random.Random, metric: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    window = {"aggregation": dice.choice(["average", "min", "max", "none"]), "window": dice.randint(1, 4)}
    condition = {
        "prior_window": dice.randint(1, 3),
        "change_type": dice.choice(["relative", "absolute"]),
        "direction": dice.choice(["increase", "decrease", "any"]),
        "threshold": dice.choice([0.25, 0.5, 1.0]),
    }
    return "run_metric_change", {**metric, **window, **condition}


def zscore(dice: random.Random, metric: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    condition = {
        "baseline": dice.choice(["runs", "runs", "values"]),
        "window": dice.randint(2, 5),
        "direction": dice.choice(["above", "below", "either"]),
        "threshold": dice.choice([0.5, 1.0, 1.5, 3.0]),
    }
    return "run_metric_zscore", {**metric, **condition}


def nonfinite(dice: random.Random, metric: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    name = dice.choice([metric["metric"], None])
    return "run_metric_nonfinite", {**metric, "metric": name, "hold": dice.choice([1, 1, 2])}


KINDS = {"threshold": threshold, "change": change, "zscore": zscore, "nonfinite": nonfinite}


class Story:
    """A few runs at once, of Ada, Max or nobody, that log, end, are killed, revived, renamed and deleted."""

    def __init__(self, project: Project, users: list[User | None], dice: random.Random, clock: Clock) -> None:
        self.project, self.users, self.dice, self.clock = project, users, dice, clock
        self.runs: list[Run] = []
        self.levels: dict[int, float] = {}

    def tell(self, *, chapters: int = 35) -> None:
        for _run in range(2):
            self.begin()
        for _chapter in range(chapters):
            self.clock.move(seconds=self.dice.choice([0, 1, 600, 4000, 30_000]))
            self.happen(self.dice.choice(self.runs))

    def begin(self) -> None:
        name = self.dice.choice(["exp-7", "exp-8", "base-7", "base-8"])
        run = new_run(self.project, user=self.dice.choice(self.users), name=name)
        self.runs.append(run)
        self.levels[run.pk] = self.dice.choice(NUMBERS)

    def happen(self, run: Run) -> None:
        what = self.dice.random()
        if what < 0.10:
            self.begin()
        elif what < 0.16:
            status = self.dice.choice([*RunStatus])
            set_status(Run.objects.get(pk=run.pk), status, actor=None)
        elif what < 0.20:
            update_run(run, name=self.dice.choice(["exp-7", "base-8"]))
        elif what < 0.21 and len(self.runs) > 3:
            self.runs.remove(run)
            delete_run(run)
        else:
            self.log(Run.objects.get(pk=run.pk))

    def log(self, run: Run) -> None:
        names = self.dice.choice([["loss"], ["loss"], ["loss", "acc"], ["acc"]])
        count = self.dice.choice([1, 1, 2, 3, 8])
        points = [{"values": {name: self.value(run) for name in names}} for _point in range(count)]
        log_points(run, points, source=self.dice.choice(["history", "history", "system"]))

    def value(self, run: Run) -> float | str:
        if self.dice.random() < 0.04:
            return spelled(self.dice.choice([math.nan, math.inf]))
        noise = self.dice.choice([0.0, 0.0, 0.25, -0.25, self.dice.gauss(0, 1)])
        return self.levels[run.pk] + noise


def live(automation: Automation) -> tuple[dict[int, list[Told]], Counter[int]]:
    """By run: what was recorded, in order, and how many matches the limit held back."""
    fired: dict[int, list[Told]] = defaultdict(list)
    held_back: Counter[int] = Counter()
    rows = Execution.objects.filter(automation=automation).select_related("event").order_by("pk")
    for row in rows:
        assert row.run_id is not None
        if row.state == "skipped":
            held_back[row.run_id] += row.count
        else:
            assert row.event is not None
            step = row.explanation["data"].get("step")
            fired[row.run_id].append((step, row.event.received_at, row.explanation))
    return fired, held_back


@pytest.mark.parametrize("volume", range(VOLUMES))
def test_a_backtest_says_what_was_recorded_live(
    penguins: Cast, clock: Clock, monkeypatch: pytest.MonkeyPatch, volume: int
) -> None:
    seen: Counter[str] = Counter()
    for number in range(volume * STORIES, (volume + 1) * STORIES):
        dice = random.Random(number)
        project = create_project(create_team(f"team {number}"), "waddle")
        rules = [saved(project, dice) for _rule in range(RULES)]
        Story(project, [penguins.ada, penguins.max, None], dice, clock).tell()
        cast.decide()
        # Long series are decided in portions: so short ones are here.
        monkeypatch.setattr(series, "PORTION", dice.choice([1, 7, 100_000]))
        for automation in rules:
            seen += compared(automation, project)
    assert all(seen[kind] > 2 for kind in [*KINDS, "status", "held back"]), seen


def saved(project: Project, dice: random.Random) -> Automation:
    event_type, config = invented_rule(dice)
    scope: Project | Team = project.team if dice.random() < 0.3 else project
    return rule(
        scope,
        event_type,
        config,
        period=dice.choice([0, 0, 3600, 86_400, None]),
        per_status=dice.random() < 0.5,
        actions=[],
    )


def compared(automation: Automation, project: Project) -> Counter[str]:
    """Firing by firing; how many there were of this kind of rule."""
    fired, held_back = live(automation)
    seen: Counter[str] = Counter()
    said = {replay.run: replay for replay in backtest_of(automation)}
    assert set(said) == set(Run.objects.filter(project=project, deleted_at=None)), "no run is left out"
    for run, replay in said.items():
        found = [
            (one.step, one.received_at, json.loads(json.dumps(one.reason.as_json())))
            for one in replay.firings
        ]
        context = (automation.event_type, automation.config, automation.period, run.pk)
        assert found == fired[run.pk], context
        assert (replay.count, replay.held_back) == (len(found), held_back[run.pk]), context
        assert (replay.reason is None) == bool(found), context
        seen[automation.event_type.removeprefix("run_").removeprefix("metric_")] += len(found)
        seen["held back"] += replay.held_back
    return seen


def backtest_of(automation: Automation) -> Replays:
    """Of the same rule as it would be asked for before it is saved."""
    draft = Automation(
        event_type=automation.event_type,
        config=dict(automation.config),
        period=automation.period,
        per_status=automation.per_status,
    )
    check_automation(draft, scope=automation.scope)
    since = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    return Replays(draft, since=since, limit=1000, described=100_000)
