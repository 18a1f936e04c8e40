"""Sixteen writers who commit late, on PostgreSQL: no cursor may pass over a change that comes after it.

An auto-increment id is given out before the commit; who reads "everything after the last id" misses
whatever was given a lower id and committed later. Lanes number under a lock instead.
"""

from __future__ import annotations

import random
import threading
from collections import Counter

import pytest
from django.db import connection, transaction

from automations import evaluation
from automations.models import Execution
from runs.models import Lane, MetricBatch, Run, RunStatusChange
from tests.cast import Cast, at_once, log, new_run, rule, threshold

WRITERS = 16
TURNS = 12


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
def test_no_change_of_late_committers_is_missed_or_decided_twice(penguins: Cast) -> None:
    rule(penguins.project, "run_metric_threshold", threshold(), name="every", period=0)
    shared = new_run(penguins.project)
    runs = [new_run(penguins.project) for _run in range(5)]
    seen: list[int] = []
    stop = threading.Event()

    def write(writer: int) -> None:
        dice = random.Random(writer)
        for turn in range(TURNS):
            with transaction.atomic():
                log(shared if turn % 3 == 0 else runs[writer % 5], "loss", [0.9])
                threading.Event().wait(dice.uniform(0, 0.02))

    def evaluate() -> None:
        while not stop.is_set():
            for run in (shared, *runs):
                evaluation.evaluate_lane(run.pk)

    def watch() -> None:
        """Note the ids of batches in the order in which they become visible."""
        known: set[int] = set()
        while not stop.is_set():
            fresh = set(MetricBatch.objects.values_list("pk", flat=True)) - known
            seen.extend(sorted(fresh))
            known |= fresh

    def work(who: int) -> None:
        if who < WRITERS:
            try:
                write(who)
            finally:
                finished.append(who)
                if len(finished) == WRITERS:
                    stop.set()
        elif who < WRITERS + 3:
            evaluate()
        else:
            watch()

    finished: list[int] = []
    at_once(WRITERS + 4, work)
    for run in (shared, *runs):
        evaluation.evaluate_lane(run.pk)

    assert_every_change_was_decided_once([shared, *runs])
    assert late_comers(seen) > 20, "the trial must really have had late committers"


def assert_every_change_was_decided_once(runs: list[Run]) -> None:
    assert MetricBatch.objects.count() == WRITERS * TURNS
    decided = Counter(Execution.objects.values_list("run", "explanation__data__step"))
    for run in runs:
        lane = Lane.objects.get(pk=run.pk)
        batches = MetricBatch.objects.filter(run=run)
        changes = RunStatusChange.objects.filter(run=run)
        numbers = sorted([*batches.values_list("seq", flat=True), *changes.values_list("seq", flat=True)])
        assert numbers == list(range(1, lane.head + 1))
        assert lane.cursor == lane.head
        # One value a batch, so a run's steps count its batches.
        assert {step: decided[run.pk, step] for step in range(batches.count())} == dict.fromkeys(
            range(batches.count()), 1
        )
    assert sum(decided.values()) == WRITERS * TURNS


def late_comers(seen: list[int]) -> int:
    """How many became visible after one with a higher id: what a cursor over ids would have missed."""
    highest, late = 0, 0
    for pk in seen:
        late += pk < highest
        highest = max(highest, pk)
    return late
