"""What waits in a lane is looked at as one first: a rule that nothing meets is not asked batch by batch."""

from __future__ import annotations

from typing import Any

import pytest

from automations.events.base import Config
from automations.events.metric_nonfinite import RunMetricNonfinite
from automations.events.metrics import MetricEventType
from automations.events.runs import RunEventType
from automations.models import Automation
from automations.verdicts import Verdict
from runs import batches, metrics
from runs.models import Lane, Run
from tests import cast
from tests.cast import Cast, Clock, log, log_points, new_run, rule, steps, threshold

pytestmark = pytest.mark.django_db

BATCHES = 30


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The type of a rule, each time that one is decided."""
    found: list[str] = []

    def note(event_type: type[RunEventType[Any]]) -> None:
        decide = event_type.decide_run

        def noting(self: RunEventType[Any], config: Config, facts: Any) -> Verdict:
            found.append(self.key)
            return decide(self, config, facts)

        monkeypatch.setattr(event_type, "decide_run", noting)

    note(MetricEventType)
    note(RunMetricNonfinite)
    return found


def rule_on(who: Cast, value: float, **options: Any) -> Automation:
    return rule(who.project, "run_metric_threshold", threshold("loss", "above", value, **options), period=0)


def log_batches(run: Run, special: dict[int, Any]) -> None:
    """So many batches of one value, 0.1 where none is named."""
    for number in range(BATCHES):
        log(run, "loss", [special.get(number, 0.1)])


def test_a_rule_that_nothing_meets_is_asked_once(penguins: Cast, asked: list[str]) -> None:
    quiet = rule_on(penguins, 0.5, aggregation="average", window=3)
    log_batches(new_run(penguins.project), {7: 1.0, 20: 1.0})
    cast.decide()
    assert (asked, steps(quiet)) == (["run_metric_threshold"], [])


def test_a_rule_that_something_meets_fires_where_it_is_met(penguins: Cast, asked: list[str]) -> None:
    loud, held = rule_on(penguins, 0.5), rule_on(penguins, 0.5, hold=2)
    log_batches(new_run(penguins.project), {0: 1.0, 7: 1.0, 20: "NaN", 28: 1.0, 29: 1.0})
    cast.decide()
    assert (steps(loud), steps(held)) == ([0, 7, 28, 29], [29])
    assert len(asked) == 2 + 2 * BATCHES


def test_a_window_reaches_back_to_what_was_decided_before(penguins: Cast) -> None:
    average = rule_on(penguins, 0.4, aggregation="average", window=4)
    run = new_run(penguins.project)
    log(run, "loss", [0.9, 0.9, 0.9])
    cast.decide()
    log_batches(run, {0: 0.1, 1: 0.1})
    cast.decide()
    assert steps(average) == [3, 4]


@pytest.mark.parametrize("kind", ["values", "runs"])
def test_outliers_are_found_among_what_waits(penguins: Cast, kind: str) -> None:
    for value in range(12):
        log(new_run(penguins.project), "loss", [0.1 + value / 1000])
    cast.decide()
    config = {
        "metric": "loss",
        "baseline": kind,
        "window": 10,
        "direction": "above",
        "threshold": 5,
    }
    automation = rule(penguins.project, "run_metric_zscore", config, period=0)
    values = {number: 0.1 + number % 3 / 1000 for number in range(BATCHES)}
    log_batches(new_run(penguins.project), {**values, 17: 0.9})
    cast.decide()
    assert steps(automation) == [17]


@pytest.mark.parametrize("metric", ["loss", None])
def test_what_is_not_finite_is_found_among_what_waits(
    penguins: Cast, metric: str | None, asked: list[str]
) -> None:
    automation = rule(penguins.project, "run_metric_nonfinite", {"metric": metric}, period=0)
    fine, diverging = new_run(penguins.project), new_run(penguins.project)
    log_batches(fine, {})
    cast.decide()
    assert asked == []
    log_batches(diverging, {11: "NaN", 12: "Infinity"})
    cast.decide()
    assert steps(automation) == [11]


def test_metrics_that_come_in_turns_are_told_apart(penguins: Cast) -> None:
    """Of one run, by batches of other metrics, one of which holds both."""
    loss = rule_on(penguins, 0.5)
    accuracy = rule(penguins.project, "run_metric_threshold", threshold("acc", "below", 0.5), period=0)
    run = new_run(penguins.project)
    for number in range(BATCHES):
        values = {"loss": 0.1} if number % 3 else {"acc": 0.9}
        if number == 14:
            values = {"loss": 0.9, "acc": 0.1}
        if number == 15:
            values = {"acc": 0.2}
        log_points(run, [{"step": number, "values": values}])
    cast.decide()
    assert (steps(loss), steps(accuracy)) == ([14], [14, 15])


def test_batches_that_were_joined_already_are_asked_one_by_one(penguins: Cast, clock: Clock) -> None:
    """Another worker was quicker, and the batches were put together, before this one read them."""
    loud = rule_on(penguins, 0.5)
    run = new_run(penguins.project)
    log_batches(run, {9: 1.0})
    waiting = list(batches.between(run.pk, 0, BATCHES + 1))
    assert metrics.as_one(waiting, {"loss"}) is not None
    cast.decide()
    clock.move(hours=2)
    assert metrics.compact() > 0
    assert metrics.as_one(waiting, {"loss"}) is None
    Lane.objects.filter(run=run).update(cursor=waiting[0].seq - 1)
    loud.executions.all().delete()
    cast.decide()
    assert steps(loud) == [9]
