"""“It would fire with threshold < 0.612”: so it does, and with a threshold on the other side it does not."""

from __future__ import annotations

import math
import operator
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from automations import explain
from automations.conditions import COMPARISONS
from automations.models import Automation, Execution
from automations.services.rules import save_automation
from runs.models import Project, Run
from runs.models.metrics import spelled
from runs.services.projects import create_project
from tests import cast
from tests.automations import twin
from tests.cast import Cast, Clock, log, new_run, rule

pytestmark = pytest.mark.django_db

CASES = 21


@dataclass(frozen=True)
class Story:
    """A rule that does not fire, the batches of a run, and what the other runs log before each of them."""

    event_type: str
    config: dict[str, Any]
    batches: Sequence[Sequence[float]]
    others: Sequence[Sequence[float]]

    @property
    def values(self) -> list[float]:
        return [value for batch in self.batches for value in batch]

    @property
    def baselines(self) -> list[list[float]]:
        """The latest values of the other runs as of each value, newest run first."""
        return [
            list(reversed(latest))
            for latest, batch in zip(self.others, self.batches, strict=True)
            for _value in batch
        ]


def tell(who: Cast, clock: Clock, story: Story, project: Project) -> Run:
    """The story, with a new run; the other runs of the project are new too where they are compared with."""
    others = [new_run(project) for _other in story.others[0]] if compares_runs(story) else []
    run = new_run(project)
    for batch, latest in zip(story.batches, story.others, strict=True):
        for other, value in zip(others, latest, strict=False):
            log(other, "loss", [value])
        clock.move(seconds=1)
        log(run, "loss", [spelled(value) for value in batch])
        clock.move(seconds=1)
    cast.decide()
    return run


def compares_runs(story: Story) -> bool:
    return bool(story.config.get("baseline") == "runs")


def outcome(who: Cast, clock: Clock, story: Story, automation: Automation, limit: float) -> bool:
    """Whether the rule, saved with another threshold, fires on the same series in a new run."""
    project = create_project(who.team, f"again {Project.objects.count()}")
    automation.config = {**automation.config, "threshold": limit}
    save_automation(automation, scope=project)
    run = tell(who, clock, story, project)
    return Execution.objects.filter(automation=automation, run=run).exclude(state="skipped").exists()


COMPARE = {"<": operator.lt, "≤": operator.le, ">": operator.gt, "≥": operator.ge, "=": operator.eq}


def sides(would_fire: str) -> tuple[float, float]:
    """A threshold that satisfies the sentence as narrowly as one can, and one that just does not."""
    word, symbol, text = would_fire.split()
    assert word == "threshold"
    value = float(text)
    if symbol == "≠":
        return math.nextafter(value, math.inf), value
    around = [math.nextafter(value, -math.inf), value, math.nextafter(value, math.inf)]
    inside = [one for one in around if COMPARE[symbol](one, value)]
    outside = [one for one in around if not COMPARE[symbol](one, value)]
    return min(inside, key=lambda one: abs(one - value)), min(outside, key=lambda one: abs(one - value))


@pytest.mark.parametrize("number", range(CASES))
def test_the_threshold_that_is_named_flips_the_outcome(penguins: Cast, clock: Clock, number: int) -> None:
    story = invented(number)
    project = create_project(penguins.team, "first")
    automation = rule(project, story.event_type, story.config, period=0)
    run = tell(penguins, clock, story, project)
    assert not Execution.objects.filter(automation=automation, run=run).exists()

    reason = explain.why_run(automation, Run.objects.get(pk=run.pk)).reason
    best = nearest(story)
    assert (reason.code, reason.data["value"], reason.data["step"]) == ("closest", *best), story
    satisfied, other_side = sides(reason.data["would_fire"])
    assert outcome(penguins, clock, story, automation, satisfied), reason
    assert not outcome(penguins, clock, story, automation, other_side), reason


def nearest(story: Story) -> tuple[float, int]:
    """By looking at every streak: the weakest number of the strongest one, and the step where it ends."""
    seen = twin.numbers(story.event_type, story.config, story.values, story.baselines)
    best: tuple[float, float, int] | None = None
    for end in range(story.config["hold"], len(seen) + 1):
        streak = seen[end - story.config["hold"] : end]
        if any(math.isnan(value) for _position, value in streak):
            continue
        weakest = min((value for _position, value in streak), key=lambda value: strength(story, value))
        if best is None or strength(story, weakest) > best[0]:
            best = strength(story, weakest), weakest, streak[-1][0]
    assert best is not None
    return best[1], best[2]


def strength(story: Story, number: float) -> float:
    sense = story.config.get("comparison") or story.config["direction"]
    if sense in {"any", "either"}:
        return abs(number)
    if sense == "equal":
        return -abs(number - float(story.config["threshold"]))
    if sense == "not_equal":
        return abs(number - float(story.config["threshold"]))
    return number if sense in {"above", "above_or_equal", "increase"} else -number


def invented(number: int) -> Story:
    """A story without a firing, the same for the same number."""
    dice = random.Random(number)
    event_type = ["run_metric_threshold", "run_metric_change", "run_metric_zscore"][number % 3]
    draw: Callable[[], float] = dice.choice(
        [lambda: dice.gauss(0, 1), lambda: dice.choice([0.25, 0.5, 0.75, -0.5])]
    )
    sizes = [dice.choice([1, 2, 5, 9]) for _batch in range(5)]
    batches = [[math.nan if dice.random() < 0.05 else draw() for _value in range(size)] for size in sizes]
    latest = [draw() for _other in range(4)]
    others = []
    for _batch in batches:
        others.append(list(latest))
        if dice.random() < 0.5:
            latest[dice.randrange(4)] = draw()
    config: dict[str, Any] = {
        "metric": "loss",
        "warmup": dice.choice([0, 0, 3]),
        "hold": dice.choice([1, 1, 2, 3]),
    }
    config |= OPTIONS[event_type](dice)
    story = Story(event_type, config, batches, others)
    return _out_of_reach(story, number)


OPTIONS: dict[str, Any] = {
    "run_metric_threshold": lambda dice: {
        "aggregation": dice.choice(["average", "min", "max", "none"]),
        "window": dice.choice([1, 3]),
        "comparison": dice.choice(list(COMPARISONS)),
    },
    "run_metric_change": lambda dice: {
        "aggregation": dice.choice(["average", "min", "none"]),
        "window": dice.choice([1, 2]),
        "prior_window": dice.choice([1, 3]),
        "change_type": dice.choice(["relative", "absolute"]),
        "direction": dice.choice(["increase", "decrease", "any"]),
    },
    "run_metric_zscore": lambda dice: {
        "window": dice.choice([3, 4]),
        "baseline": dice.choice(["runs", "values"]),
        "direction": dice.choice(["above", "below", "either"]),
    },
}


def _out_of_reach(story: Story, number: int) -> Story:
    """The same story with a threshold that is never met; invented anew where there is none such."""
    sense = story.config.get("comparison", "")
    far = {"below": -1e6, "below_or_equal": -1e6}.get(sense, 1e6)
    batches, hold = story.batches, story.config["hold"]
    if sense == "not_equal":
        far, batches = 0.5, [[0.5 for _value in batch] for batch in batches]
    if sense == "equal":
        far, hold = 0.123, 1
    config = {**story.config, "threshold": far, "hold": hold}
    told = Story(story.event_type, config, batches, story.others)
    if strength(told, nearest(told)[0]) > 0 or sense:
        return told
    return invented(number + CASES)  # it only ever went the other way, and no positive threshold suffices


def test_a_change_that_only_went_the_other_way_has_no_threshold_that_would_do(penguins: Cast) -> None:
    config = {"metric": "loss", "direction": "increase", "threshold": 0.5, "aggregation": "none"}
    automation = rule(penguins.project, "run_metric_change", config)
    run = new_run(penguins.project)
    log(run, "loss", [4, 2, 1])
    cast.decide()
    reason = explain.why_run(automation, Run.objects.get(pk=run.pk)).reason
    assert (reason.code, reason.data["value"], reason.data["would_fire"]) == ("closest_only", -0.5, "")
