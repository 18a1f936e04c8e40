"""The same firings at the same steps, for any batches, repetitions, workers and delays."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from django.db import connection, transaction

from automations import evaluation
from automations.models import Automation, Event, Execution
from runs.models import Lane, MetricChunk, Run
from runs.models.metrics import spelled
from tests import cast
from tests.automations import twin
from tests.cast import Cast, at_once, fired, log, new_run, rule, skipped

LOSS: dict[str, Any] = {"metric": "loss"}
THRESHOLD, CHANGE = {**LOSS, "aggregation": "average", "window": 4}, {**LOSS, "window": 2, "prior_window": 5}
OWN = {"baseline": "values", "window": 6}
RULES: list[tuple[str, dict[str, Any]]] = [
    ("run_metric_threshold", {**THRESHOLD, "comparison": "above", "threshold": 0.6}),
    ("run_metric_threshold", {**THRESHOLD, "comparison": "below", "threshold": 0.4, "hold": 2}),
    ("run_metric_change", {**CHANGE, "direction": "any", "threshold": 0.4, "warmup": 6}),
    ("run_metric_change", {**CHANGE, "aggregation": "none", "direction": "any", "threshold": 0.5, "hold": 2}),
    (
        "run_metric_zscore",
        {**LOSS, "baseline": "values", "window": 6, "direction": "either", "threshold": 1.5},
    ),
    ("run_metric_nonfinite", {**LOSS, "hold": 2}),
]


def drawn(number: int, size: int = 60) -> list[float]:
    dice = random.Random(number)
    odd = [float("nan"), float("inf")]
    return [dice.choice(odd) if dice.random() < 0.15 else round(dice.random(), 1) for _value in range(size)]


def batches_of(values: Sequence[float], dice: random.Random) -> list[list[float]]:
    found, start = [], 0
    while start < len(values):
        size = dice.choice([1, 1, 2, 3, 8])
        found.append(list(values[start : start + size]))
        start += size
    return found


def saved(who: Cast, period: int | None = 0) -> list[Automation]:
    return [
        rule(who.project, event_type, config, name=f"{number} {period}", period=period)
        for number, (event_type, config) in enumerate(RULES)
    ]


def expected(automations: list[Automation], values: Sequence[float]) -> list[list[int]]:
    return [twin.fires(one.event_type, one.config, values) for one in automations]


def steps_on(automation: Automation, run: Run) -> list[int]:
    """In the order in which they were decided."""
    rows = Execution.objects.filter(automation=automation, run=run).exclude(state="skipped").order_by("pk")
    return [row.explanation["data"]["step"] for row in rows]


@pytest.mark.django_db(transaction=True)
def test_writers_who_repeat_themselves_and_workers_at_any_time_change_nothing(penguins: Cast) -> None:
    """Three runs, each with a client that sends its batches once or twice, and four workers who look at
    every lane again and again while that goes on."""
    every, daily = saved(penguins), saved(penguins, period=86_400)
    runs = [new_run(penguins.project) for _run in range(3)]
    series = {run.pk: drawn(number) for number, run in enumerate(runs)}
    written = threading.Event()
    left = [len(runs)]

    def write(run: Run) -> None:
        dice = random.Random(run.pk)
        try:
            for number, batch in enumerate(batches_of(series[run.pk], dice)):
                values = [spelled(value) for value in batch]
                for _time in range(dice.choice([1, 2])):
                    log(run, "loss", values, key=f"{number}")
        finally:
            left[0] -= 1
            if not left[0]:
                written.set()

    def evaluate(dice: random.Random) -> None:
        while not written.is_set():
            evaluation.evaluate_lane(dice.choice(runs).pk)

    at_once(7, lambda who: write(runs[who]) if who < 3 else evaluate(random.Random(who)))
    cast.decide()
    for run in runs:
        values = series[run.pk]
        assert [steps_on(automation, run) for automation in every] == expected(every, values)
        assert [steps_on(automation, run) for automation in daily] == [
            found[:1] for found in expected(daily, values)
        ]
        lane = Lane.objects.get(pk=run.pk)
        assert lane.cursor == lane.head
    assert all(map(fired, every)), "each rule must have had something to fire on"
    counted = {(row.automation_id, row.run_id): row.count for one in daily for row in skipped(one)}
    assert counted == {
        (one.pk, run.pk): len(found) - 1
        for run in runs
        for one, found in zip(daily, expected(daily, series[run.pk]), strict=True)
        if len(found) > 1
    }


@pytest.mark.django_db(transaction=True)
def test_clients_who_send_one_batch_at_the_same_moment_have_sent_it_once(penguins: Cast) -> None:
    automations = saved(penguins)
    run = new_run(penguins.project)
    values = drawn(1, size=30)
    for number, batch in enumerate(batches_of(values, random.Random(5))[:12]):
        spelt = [spelled(value) for value in batch]

        def send(_who: int, *, spelt: Any = spelt, key: str = f"{number}") -> bool:
            accepted = log(run, "loss", spelt, key=key)
            evaluation.evaluate_lane(run.pk)
            return accepted.duplicate

        assert sorted(at_once(3, send)) == [False, True, True]
    cast.decide()
    logged = values[: sum(run.batches.values_list("count", flat=True))]
    assert [steps_on(one, run) for one in automations] == expected(automations, logged)
    assert sum(map(fired, automations)) > 5


@pytest.mark.django_db(transaction=True)
def test_a_z_score_against_runs_that_log_meanwhile_is_that_of_its_acceptance(penguins: Cast) -> None:
    """Four runs log at once and are compared with each other. What each value was compared with is read
    off the stored acceptance times afterwards."""
    config = {**LOSS, "window": 3, "direction": "either", "threshold": 0.9}
    automation = rule(penguins.project, "run_metric_zscore", config, period=0)
    runs = [new_run(penguins.project) for _run in range(4)]
    written = threading.Event()
    left = [len(runs)]

    def write(run: Run) -> None:
        dice = random.Random(run.pk)
        try:
            for _batch in range(15):
                with transaction.atomic():
                    log(run, "loss", [round(dice.random(), 3)])
                    threading.Event().wait(dice.uniform(0, 0.01))
        finally:
            left[0] -= 1
            if not left[0]:
                written.set()

    def evaluate() -> None:
        while not written.is_set():
            for run in runs:
                evaluation.evaluate_lane(run.pk)

    at_once(6, lambda who: write(runs[who]) if who < 4 else evaluate())
    cast.decide()
    for run in runs:
        values, baselines = as_of_acceptance(run, runs)
        assert steps_on(automation, run) == twin.fires(
            automation.event_type, automation.config, values, baselines
        )
    assert fired(automation) > 10


def as_of_acceptance(run: Run, runs: list[Run]) -> tuple[list[float], list[list[float]]]:
    """The run's values, and for each the latest ones that the other runs had, newest run first."""
    from runs import metrics

    logged = {}
    for one in runs:
        series = metrics.series(one, "history", "loss")
        assert series is not None
        times = MetricChunk.objects.filter(run=one).order_by("seq").values_list("received_at", flat=True)
        logged[one.pk] = list(zip(times, series.values, strict=True))
    baselines = []
    for moment, _value in logged[run.pk]:
        latest = [
            [value for accepted, value in logged[other.pk] if accepted <= moment][-1:]
            for other in reversed(runs)
            if other != run
        ]
        baselines.append([value for found in latest for value in found])
    return [value for _moment, value in logged[run.pk]], baselines


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
def test_a_value_accepted_before_and_committed_after_another_runs_counts(penguins: Cast) -> None:
    config = {**LOSS, "window": 2, "direction": "above", "threshold": 2}
    automation = rule(penguins.project, "run_metric_zscore", config, period=0)
    slow, still, run = (new_run(penguins.project) for _run in range(3))
    log(slow, "loss", [0.45])
    log(still, "loss", [0.55])
    cast.decide()
    accepted, decided = threading.Event(), threading.Event()

    def work(who: int) -> None:
        if who == 0:
            with transaction.atomic():
                log(slow, "loss", [5.0])
                accepted.set()
                decided.wait(0.2)  # it never comes: whoever decides waits for this transaction
                assert not decided.is_set()
        else:
            assert accepted.wait(10)
            log(run, "loss", [0.9])
            evaluation.evaluate_lane(run.pk)
            decided.set()

    at_once(2, work)
    assert Lane.objects.get(pk=run.pk).cursor == Lane.objects.get(pk=run.pk).head
    assert fired(automation) == 0, "compared with 0.45 it would have fired"
    log(run, "loss", [20.0])
    cast.decide()
    (row,) = Execution.objects.filter(automation=automation, run=run)
    assert sorted(row.explanation["data"]["window"]) == [0.55, 5.0]


@pytest.mark.django_db(transaction=True)
def test_artifact_events_are_decided_once_by_any_number_of_workers(penguins: Cast) -> None:
    from registry.services.versions import create_version, tag_version

    automation = rule(penguins.project, "tag_added", {"tag": "^eu"})
    version, _created = create_version(cast.collection(penguins.project), actor=None)
    for number in range(12):
        tag_version(version, f"{'eu' if number % 3 else 'us'}-{number}", actor=None)
    waiting = list(Event.objects.filter(decided_at=None).values_list("pk", flat=True))

    def work(who: int) -> None:
        for event_id in random.Random(who).sample(waiting, len(waiting)):
            evaluation.evaluate_event(event_id)

    at_once(5, work)
    assert fired(automation) == 8
    assert not Event.objects.filter(decided_at=None).exists()
