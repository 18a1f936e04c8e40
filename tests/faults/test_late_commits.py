"""Sixteen writers on PostgreSQL whose transactions stay open after they took their numbers.

A number out of a database sequence is given out before the commit: a reader who remembers the highest
one that it saw steps over whatever commits late. Lanes and the feed must not; a reader of that kind runs
beside them and shows that there was something to step over.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F

from automations import evaluation
from automations.models import Automation, Event, Execution
from registry.services.collections import set_alias
from registry.services.versions import create_version
from runs.models import Lane, MetricBatch, Run, RunStatus
from runs.services.runs import set_status
from tests.cast import Cast, at_once, collection, log, new_run, rule, threshold
from tests.stories import production_alone
from tests.upserver import ROOT, wait_for

pytestmark = [production_alone, pytest.mark.django_db(transaction=True)]

WRITERS, EVALUATORS, TURNS = 16, 4, 12
LATE_BY = 0.008  # seconds, at most
GIVEN_UP = 6  # of so many transactions one is rolled back


class Abandoned(Exception):  # noqa: N818  # nothing went wrong
    """Rolls a transaction back."""


@dataclass
class Crowd:
    """Writers and those who work until the last of them has ended."""

    left: int = WRITERS
    _changed: threading.Lock = field(default_factory=threading.Lock)

    def leave(self) -> None:
        with self._changed:
            self.left -= 1

    def until_all_left(self, work: Callable[[], Any]) -> None:
        """Work over and over, and once more after the last writer's last commit."""
        while self.left:
            work()
        work()


def commit_late(chance: random.Random, change: Callable[[], object]) -> bool:
    """Make a change and commit it a little later, or give it up; whether it was committed."""
    try:
        with transaction.atomic():
            change()
            time.sleep(chance.uniform(0, LATE_BY))
            if chance.randrange(GIVEN_UP) == 0:
                raise Abandoned
    except Abandoned:
        return False
    return True


class NaiveReader:
    """Follows a table by its highest id so far, as one must not."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self._cursor = 0

    def read(self) -> None:
        found = MetricBatch.objects.filter(pk__gt=self._cursor).order_by("pk").values_list("pk", flat=True)
        self.seen.update(found)
        self._cursor = max(self.seen, default=0)

    def missed(self) -> int:
        return len(set(MetricBatch.objects.values_list("pk", flat=True)) - self.seen)


def evaluate_what_waits() -> None:
    for run_id in Lane.objects.filter(cursor__lt=F("head")).values_list("pk", flat=True):
        evaluation.evaluate_lane(run_id)


@pytest.fixture
def discarded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The cursors of lanes that an evaluator found moved by another."""
    found: list[int] = []
    advance = evaluation._advance

    def noting(run: Run, cursor: int, *, to: int) -> bool:
        if moved := advance(run, cursor, to=to):
            return moved
        found.append(cursor)
        return False

    monkeypatch.setattr(evaluation, "_advance", noting)
    return found


def test_every_change_is_decided_exactly_once_and_none_is_stepped_over(
    penguins: Cast, discarded: list[int]
) -> None:
    shared, *others = [new_run(penguins.project) for _number in range(5)]
    always = rule(penguins.project, "run_metric_threshold", threshold(comparison="above", value=-1), period=0)
    daily = rule(penguins.project, "run_metric_threshold", threshold(comparison="above", value=-1))
    crowd, naive = Crowd(), NaiveReader()
    committed: list[tuple[int, float]] = []

    def write(number: int) -> None:
        chance = random.Random(number)
        for turn in range(TURNS):
            run, value = chance.choice([shared, shared, *others]), number * 1000.0 + turn
            if commit_late(chance, partial(log, run, "loss", [value])):
                committed.append((run.pk, value))
        crowd.leave()

    roles = [write] * WRITERS + [lambda _number: crowd.until_all_left(evaluate_what_waits)] * EVALUATORS
    roles.append(lambda _number: crowd.until_all_left(naive.read))
    at_once(len(roles), lambda number: roles[number](number), within=60)

    assert sorted(values(always)) == sorted(committed)
    assert 0 < len(committed) < WRITERS * TURNS
    assert_once_a_day_each(daily, committed)
    assert_lanes_are_whole(committed)
    print(f"{len(committed)} batches, {naive.missed()} missed by id, {len(discarded)} decisions discarded")
    assert naive.missed() > 0
    assert discarded


def values(automation: Automation) -> list[tuple[int, float]]:
    """(run, value) of everything that the rule fired on."""
    fired = Execution.objects.filter(automation=automation).exclude(state="skipped")
    return list(fired.values_list("run_id", "explanation__data__value"))


def assert_once_a_day_each(daily: Automation, committed: list[tuple[int, float]]) -> None:
    """One firing for each run; all other matches of it counted, in one row."""
    logged = Counter(run for run, _value in committed)
    assert Counter(run for run, _value in values(daily)) == dict.fromkeys(logged, 1)
    skipped = Execution.objects.filter(automation=daily, state="skipped").values_list("run_id", "count")
    assert sorted(skipped) == sorted((run, count - 1) for run, count in logged.items() if count > 1)


def assert_lanes_are_whole(committed: list[tuple[int, float]]) -> None:
    """Every number was used once; what was rolled back left none behind."""
    logged = Counter(run for run, _value in committed)
    for lane in Lane.objects.all():
        numbers = MetricBatch.objects.filter(run=lane.pk).order_by("pk").values_list("seq", flat=True)
        assert list(numbers) == list(range(2, logged[lane.pk] + 2))  # 1 is the start of the run
        assert lane.cursor == lane.head == logged[lane.pk] + 1


def test_a_reader_of_the_feed_sees_every_number_in_order(penguins: Cast) -> None:
    fish = collection(penguins.project)
    version, _created = create_version(fish, digest="d", actor=None)
    runs = [new_run(penguins.project) for _number in range(4)]
    crowd = Crowd()
    read: list[int] = []
    pages: list[int] = []

    def write(number: int) -> None:
        chance = random.Random(number)
        for turn in range(TURNS // 2):
            run, alias = runs[number % 4], f"a-{number}-{turn}"
            status = RunStatus.FINISHED if turn % 2 else RunStatus.RUNNING
            if number % 2:
                commit_late(chance, partial(set_alias, fish, alias, version, actor=None))
            else:
                commit_late(chance, partial(set_status, run, status, actor=None))
        crowd.leave()

    def follow() -> None:
        page = Event.objects.filter(sequence__gt=read[-1] if read else 0).order_by("sequence")
        found = list(page.values_list("sequence", flat=True))
        read.extend(found)
        pages.append(len(found))

    at_once(WRITERS + 1, lambda n: write(n) if n < WRITERS else crowd.until_all_left(follow), within=60)
    assert read == list(range(1, Event.objects.count() + 1))
    # It read along, and not only at the end.
    assert sum(map(bool, pages)) > 10


HOLDER = """
import sys, threading
import django; django.setup()
from django.db import connection, transaction
connection.settings_dict["NAME"] = sys.argv[1]
from runs.models import Run
from tests.cast import log
with transaction.atomic():
    log(Run.objects.get(pk=sys.argv[2]), "loss", [1])
    print("taken", flush=True)
    threading.Event().wait(60)
"""


def test_a_writer_killed_with_a_number_in_its_hand_gives_it_back(penguins: Cast) -> None:
    run = new_run(penguins.project)
    command = [sys.executable, "-c", HOLDER, str(connection.settings_dict["NAME"]), str(run.pk)]
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"}
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "taken\n"

        def work(number: int) -> None:
            if number == 0:
                log(run, "loss", [2])
            else:
                wait_for(somebody_waits_for_a_lock)
                holder.kill()

        at_once(2, work)
    assert list(MetricBatch.objects.values_list("seq", "count")) == [(2, 1)]
    assert Lane.objects.get(pk=run.pk).head == 2
    assert run.summaries.get().last == 2


def somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        return bool(cursor.fetchone()[0] > 0)
