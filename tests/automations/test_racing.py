"""Two workers, one automation, one run, two hundred matching events: it fires once, and counts the rest."""

from __future__ import annotations

import threading

import pytest

from automations import delivery, evaluation
from automations.models import Delivery, Event, Execution, RunLimit
from runs.models import Lane, RunStatus
from runs.services.runs import set_status
from tests import cast
from tests.cast import Cast, at_once, log, new_run, rule, skipped, steps, threshold

EVENTS = 200


@pytest.mark.django_db(transaction=True)
def test_two_workers_who_hammer_one_limit_finish_one_execution(penguins: Cast) -> None:
    """They go on while the events still come in; all are there before the last look."""
    automation = rule(penguins.project, "run_metric_threshold", threshold())
    run = new_run(penguins.project)
    written = threading.Event()

    def write() -> None:
        try:
            for _event in range(EVENTS):
                log(run, "loss", [0.9])
        finally:
            written.set()

    def hammer() -> None:
        looks = 0
        while not written.is_set() or looks < 2:
            looks += written.is_set()
            evaluation.evaluate_lane(run.pk)

    at_once(3, lambda who: hammer() if who < 2 else write(), within=90)
    evaluation.evaluate_lane(run.pk)
    delivery.drain(None)

    assert steps(automation) == [0]
    (fired,) = Execution.objects.filter(automation=automation).exclude(state="skipped")
    assert fired.state == "finished"
    (row,) = skipped(automation)
    data = row.explanation["data"]
    assert (row.count, data["count"]) == (EVENTS - 1, EVENTS - 1)
    assert (data["first_step"], data["last_step"]) == (1, EVENTS - 1)
    assert Delivery.objects.count() == 1
    assert Event.objects.filter(type="run_metric_threshold").count() == 1, "a skipped match makes no event"
    assert RunLimit.objects.get().fired_at == run.batches.earliest("seq").received_at
    lane = Lane.objects.get(pk=run.pk)
    assert lane.cursor == lane.head == EVENTS + 1


@pytest.mark.django_db(transaction=True)
def test_two_workers_who_hammer_a_status_rule_fire_once_for_each_state(penguins: Cast) -> None:
    config = {"statuses": ["running", "finished"]}
    automation = rule(penguins.project, "run_status", config, per_status=True)
    run = new_run(penguins.project)
    for number in range(40):
        set_status(run, RunStatus.RUNNING if number % 2 else RunStatus.FINISHED, actor=None)
    at_once(2, lambda _who: evaluation.evaluate_lane(run.pk))
    cast.decide()
    states = Execution.objects.filter(automation=automation).exclude(state="skipped").order_by("pk")
    assert [one.explanation["data"]["new"] for one in states] == ["running", "finished"]
    assert sum(row.count for row in skipped(automation)) == 39
    assert RunLimit.objects.count() == 2
