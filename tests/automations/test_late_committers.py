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
EVALUATORS = 3
TURNS = 12


class Trial:
    """Writers on one run that they share and on five others, evaluators on all, and an observer."""

    def __init__(self, shared: Run, others: list[Run]) -> None:
        self.shared = shared
        self.others = others
        # Ids of batches in the order in which they became visible.
        self.seen: list[int] = []
        self._writing = threading.Semaphore(0)
        self._over = threading.Event()

    @property
    def runs(self) -> list[Run]:
        return [self.shared, *self.others]

    def part(self, who: int) -> None:
        if who < WRITERS:
            self._write(who)
        elif who < WRITERS + EVALUATORS:
            self._evaluate()
        else:
            self._watch()

    def _write(self, writer: int) -> None:
        dice = random.Random(writer)
        try:
            for turn in range(TURNS):
                with transaction.atomic():
                    log(self.shared if turn % 3 == 0 else self.others[writer % 5], "loss", [0.9])
                    threading.Event().wait(dice.uniform(0, 0.02))
        finally:
            self._writing.release()

    def _evaluate(self) -> None:
        while not self._over.is_set():
            for run in self.runs:
                evaluation.evaluate_lane(run.pk)

    def _watch(self) -> None:
        known: set[int] = set()
        finished = 0
        while finished < WRITERS:
            finished += self._writing.acquire(blocking=False)
            fresh = set(MetricBatch.objects.values_list("pk", flat=True)) - known
            self.seen += sorted(fresh)
            known |= fresh
        self._over.set()

    @property
    def late_comers(self) -> int:
        """How many became visible after one with a higher id: what a cursor over ids would have missed."""
        highest, late = 0, 0
        for pk in self.seen:
            late += pk < highest
            highest = max(highest, pk)
        return late


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
def test_no_change_of_late_committers_is_missed_or_decided_twice(penguins: Cast) -> None:
    rule(penguins.project, "run_metric_threshold", threshold(), period=0)
    trial = Trial(new_run(penguins.project), [new_run(penguins.project) for _run in range(5)])
    at_once(WRITERS + EVALUATORS + 1, trial.part, within=60)
    for run in trial.runs:
        evaluation.evaluate_lane(run.pk)

    assert MetricBatch.objects.count() == WRITERS * TURNS
    assert trial.late_comers > 20, "the trial must really have had late committers"
    executions = Execution.objects.values_list("run_id", "explanation")
    decided = Counter((run_id, explanation["data"]["step"]) for run_id, explanation in executions)
    assert sum(decided.values()) == WRITERS * TURNS
    for run in trial.runs:
        assert_whole(run, decided)


def assert_whole(run: Run, decided: Counter[tuple[int, int]]) -> None:
    """Every number of the lane is there and behind the cursor, and every batch was decided once."""
    lane = Lane.objects.get(pk=run.pk)
    batches = MetricBatch.objects.filter(run=run)
    changes = RunStatusChange.objects.filter(run=run)
    numbers = [*batches.values_list("seq", flat=True), *changes.values_list("seq", flat=True)]
    assert sorted(numbers) == list(range(1, lane.head + 1))
    assert lane.cursor == lane.head
    # One value a batch, so a run's steps count its batches.
    assert [decided[run.pk, step] for step in range(batches.count())] == [1] * batches.count()
