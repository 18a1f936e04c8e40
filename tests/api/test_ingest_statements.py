"""A call with metrics costs so many statements, however many metrics and points are in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from automations import evaluation
from runs.models import MetricBatch, Run
from tests import cast
from tests.api.house import Api
from tests.cast import Cast, log_points, new_run, rule, threshold

pytestmark = pytest.mark.django_db

# The key and its user; the run and the role; the lane and the run as it is; the lane's new head; the
# summaries before; chunks; summaries; the batch.
OF_A_CALL = 8
# PostgreSQL locks the lane first, and is asked for the time twice.
MORE_THERE = 3
# What waits; the batches; their chunks; the tail of the one metric; the cursor; what waits now.
OF_A_STRETCH = 6
TRANSACTION = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")


@pytest.fixture
def run(penguins: Cast) -> Run:
    """With a rule that watches what is logged, and a value of each metric."""
    run = new_run(penguins.project)
    above = threshold("m0", comparison="above", value=10)
    rule(penguins.project, "run_metric_threshold", {**above, "aggregation": "average", "window": 5})
    log_points(run, [{"values": {f"m{number}": 0 for number in range(100)}}] * 70)
    evaluation.evaluate_lane(run.pk)
    return run


def statements(act: Callable[[], object]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        act()
    asked = [query["sql"].removeprefix("100 times: ") for query in captured.captured_queries]
    return [sql for sql in asked if not sql.startswith(TRANSACTION)]


def points(metrics: int, steps: int) -> list[dict[str, Any]]:
    return [{"step": step, "values": {f"m{number}": 1 for number in range(metrics)}} for step in range(steps)]


@pytest.mark.parametrize(("metrics", "steps"), [(1, 1), (100, 1), (1, 500), (100, 50)])
def test_taking_in_a_call(run: Run, max_: Api, metrics: int, steps: int) -> None:
    path, is_postgresql = f"runs/{run.pk}/metrics/", connection.vendor == "postgresql"
    max_.post(path, {"points": points(1, 1)})  # notes that the key was used, and reads the rules
    asked = statements(lambda: max_.post(path, {"points": points(metrics, steps)}))
    assert MetricBatch.objects.filter(run=run).latest("seq").count == metrics * steps
    assert len(asked) == OF_A_CALL + MORE_THERE * is_postgresql, "\n".join(asked)


@pytest.mark.parametrize(("batches", "metrics", "steps"), [(1, 1, 1), (20, 1, 1), (1, 100, 50), (20, 100, 5)])
def test_deciding_what_waits(run: Run, batches: int, metrics: int, steps: int) -> None:
    for _batch in range(batches):
        log_points(run, points(metrics, steps))
    asked = statements(lambda: evaluation.evaluate_lane(run.pk))
    assert len(asked) == OF_A_STRETCH, "\n".join(asked)
    cast.decide()
    assert run.lane.cursor == run.lane.head
