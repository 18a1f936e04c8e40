"""A decision is stored as a code and data; the sentence is made for the reader."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from automations.events.base import EVENTS
from automations.models import Automation, Execution, Mode
from registry.services.collections import set_alias
from registry.services.versions import create_version
from runs.models import RunStatus
from runs.services.runs import set_status
from tests import cast
from tests.cast import Cast, Clock, log, new_run, rule, skipped, threshold

pytestmark = pytest.mark.django_db


def said(execution: Execution) -> str:
    return EVENTS[execution.event_type].explain(execution.explanation)


def first(automation: Automation) -> Execution:
    cast.decide()
    return automation.executions.exclude(state="skipped").earliest("pk")


@pytest.mark.parametrize(
    ("aggregation", "comparison", "value", "sentence"),
    [
        ("average", "above", 0.6, "average of the last 5 values of loss = 0.62 > 0.6 at step 4"),
        ("min", "below_or_equal", 0.5, "minimum of the last 5 values of loss = 0.5 ≤ 0.5 at step 4"),
        ("max", "equal", 0.8, "maximum of the last 5 values of loss = 0.8 = 0.8 at step 4"),
        ("none", "not_equal", 0.25, "loss = 0.5 ≠ 0.25 at step 0"),
    ],
)
def test_a_threshold_says_what_it_saw_and_where(
    penguins: Cast, aggregation: str, comparison: str, value: float, sentence: str
) -> None:
    condition = threshold("loss", comparison, value, aggregation=aggregation)
    automation = rule(penguins.project, "run_metric_threshold", condition)
    log(new_run(penguins.project), "loss", [0.5, 0.6, 0.6, 0.6, 0.8])
    assert said(first(automation)) == sentence


def test_the_data_beside_the_sentence_is_exact(penguins: Cast) -> None:
    condition = threshold("loss", "above", 0.6, aggregation="average", window=3)
    automation = rule(penguins.project, "run_metric_threshold", condition)
    log(new_run(penguins.project), "loss", [0.1, 0.75, "NaN", 0.75, 0.75], first_step=10)
    data = first(automation).explanation["data"]
    assert {name: data[name] for name in ("value", "threshold", "window", "step", "count")} == {
        "value": 0.75,
        "threshold": 0.6,
        "window": [0.75, 0.75, 0.75],
        "step": 14,
        "count": 3,
    }
    assert data["nonfinite"] == 1
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_a_status_names_both_ends(penguins: Cast) -> None:
    automation = rule(penguins.project, "run_status", {"statuses": ["running", "failed"]}, period=0)
    set_status(new_run(penguins.project), RunStatus.CRASHED, actor=None)
    cast.decide()
    assert [said(execution) for execution in automation.executions.order_by("pk")] == [
        "the run changed from – to running",
        "the run changed from running to crashed",
    ]


def test_an_alias_names_the_version(penguins: Cast) -> None:
    automation = rule(penguins.project, "alias_added", {"alias": "^prod"})
    fish = cast.collection(penguins.project, "fish")
    version, _created = create_version(fish, actor=None)
    set_alias(fish, "production", version, actor=None)
    execution = first(automation)
    assert said(execution) == "“production” matches ^prod on fish:v0"
    assert execution.explanation["data"]["from"] == ""


def test_what_was_held_back_says_why(penguins: Cast, clock: Clock) -> None:
    until = datetime(2026, 9, 2, tzinfo=UTC)
    daily = rule(penguins.project, "run_metric_threshold", threshold(), name="daily")
    once = rule(penguins.project, "run_metric_threshold", threshold(), name="once", period=None)
    every = rule(penguins.project, "run_metric_threshold", threshold(), name="every", period=0)
    muted = rule(
        penguins.project,
        "run_metric_threshold",
        threshold(),
        name="muted",
        mode=Mode.MUTED,
        muted_until=until,
    )
    log(new_run(penguins.project), "loss", [0.9] * 103)
    cast.decide()
    sentences = {automation.name: said(skipped(automation)[0]) for automation in (daily, once, every, muted)}
    at = "2026-09-01T12:00:00+00:00"
    assert sentences == {
        "daily": f"matched 102 more times; it fires once per run in 24 h and fired at {at}",
        "once": f"matched 102 more times; it fires once ever per run and fired at {at}",
        "every": "matched 3 more times in this batch; a batch fires at most 100 times",
        "muted": "matched 103 times while muted until 2026-09-02T00:00:00+00:00",
    }


@pytest.mark.parametrize("values", [[1e308, 1e308, 1e308], [5e-324, 5e-324, 5e-324], [-0.0, 0.0, 0.0]])
def test_a_window_at_the_edge_of_a_double_is_explained_in_json(penguins: Cast, values: list[float]) -> None:
    condition = threshold("loss", "above_or_equal", -1e308, aggregation="average", window=3)
    automation = rule(penguins.project, "run_metric_threshold", condition)
    log(new_run(penguins.project), "loss", values)
    # PostgreSQL gives a whole number back as an integer.
    assert float(first(automation).explanation["data"]["value"]) == values[-1]
