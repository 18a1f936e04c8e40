"""Sixteen writers who commit late, on PostgreSQL: no cursor may pass over a change that comes after it.

An auto-increment id is given out before the commit; who reads "everything after the last id" misses
whatever was given a lower id and committed later. Lanes number under a lock instead.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from functools import partial

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
    """Writers on one run that they share and on five others, and evaluators on all of them."""

    def __init__(self, shared: Run, others: list[Run]) -> None:
        self.shared = shared
        self.others = others
        # Ids of batches in the order of their commits.
        self.committed: list[int] = []
        self._writing = WRITERS
        self._lock = threading.Lock()

    @property
    def runs(self) -> list[Run]:
        return [self.shared, *self.others]

    def part(self, who: int) -> None:
        if who >= WRITERS:
            self._evaluate()
            return
        try:
            self._write(who)
        finally:
            with self._lock:
                self._writing -= 1

    def _write(self, writer: int) -> None:
        dice = random.Random(writer)
        for turn in range(TURNS):
            run = self.shared if turn % 3 == 0 else self.others[writer % 5]
            with transaction.atomic():
                log(run, "loss", [0.9])
                pk = MetricBatch.objects.filter(run=run).latest("seq").pk
                transaction.on_commit(partial(self.committed.append, pk))
                threading.Event().wait(dice.uniform(0, 0.02))

    def _evaluate(self) -> None:
        while self._writing:
            for run in self.runs:
                evaluation.evaluate_lane(run.pk)

    @property
    def late_committers(self) -> int:
        """How many came after one with a higher id: what a cursor over ids would have missed."""
        highest, late = 0, 0
        for pk in self.committed:
            late += pk < highest
            highest = max(highest, pk)
        return late


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
def test_no_change_of_late_committers_is_missed_or_decided_twice(penguins: Cast) -> None:
    rule(penguins.project, "run_metric_threshold", threshold(), period=0)
    trial = Trial(new_run(penguins.project), [new_run(penguins.project) for _run in range(5)])
    at_once(WRITERS + EVALUATORS, trial.part, within=60)
    for run in trial.runs:
        evaluation.evaluate_lane(run.pk)

    assert len(trial.committed) == MetricBatch.objects.count() == WRITERS * TURNS
    assert trial.late_committers > 20, "the trial must really have had late committers"
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
