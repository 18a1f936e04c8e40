"""A worker stays for a moment with a lane that goes on being filled."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from automations import evaluation
from automations.models import Automation
from runs import metrics
from runs.models import Lane, Run, RunStatus
from runs.services.runs import set_status
from tests.cast import Cast, Clock, fired, log, new_run, rule, steps, threshold

pytestmark = pytest.mark.django_db

Meanwhile = list[Callable[[], object]]


@pytest.fixture
def run(penguins: Cast, clock: Clock) -> Run:
    run = new_run(penguins.project)
    evaluation.evaluate_lane(run.pk)
    return run


@pytest.fixture
def automation(penguins: Cast) -> Automation:
    return rule(penguins.project, "run_metric_threshold", threshold(), period=0)


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """What happens in the pauses, one after the other; each pause takes one away."""
    acts: Meanwhile = []

    def pause(_seconds: float) -> None:
        if acts:
            acts.pop(0)()

    monkeypatch.setattr("automations.evaluation.time.sleep", pause)
    return acts


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """How the cursor was moved where nothing fired."""
    found: list[tuple[int, int]] = []
    advance = evaluation._advance

    def noting(run: Run, cursor: int, *, to: int) -> bool:
        found.append((cursor, to))
        return advance(run, cursor, to=to)

    monkeypatch.setattr(evaluation, "_advance", noting)
    return found


def cursor(run: Run) -> int:
    return Lane.objects.get(pk=run.pk).cursor


def evaluate(run: Run) -> None:
    evaluation.evaluate_lane(run.pk, patience=1.0)


def test_what_comes_while_it_waits_is_decided_with_the_rest(
    run: Run, automation: Automation, meanwhile: Meanwhile, moves: list[tuple[int, int]]
) -> None:
    start = cursor(run)
    log(run, "loss", [0.1])
    log(run, "loss", [0.2])
    meanwhile += [lambda: log(run, "loss", [0.3]), lambda: log(run, "loss", [0.4])]
    evaluate(run)
    assert moves == [(start, start + 4)], "one move of the cursor for all four"
    assert not meanwhile


def test_what_fires_is_recorded_before_it_waits_and_what_comes_later_too(
    run: Run, automation: Automation, meanwhile: Meanwhile
) -> None:
    log(run, "loss", [0.1])
    log(run, "loss", [0.9])
    seen: list[int] = []

    def look_and_log() -> None:
        seen.append(fired(automation))
        log(run, "loss", [0.1, 0.95])

    meanwhile += [look_and_log]
    evaluate(run)
    assert seen == [1]
    assert steps(automation) == [1, 3]
    assert cursor(run) == Lane.objects.get(pk=run.pk).head


def test_what_came_before_is_read_once_however_often_it_waits(
    run: Run, penguins: Cast, meanwhile: Meanwhile, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_two = threshold(aggregation="max", window=2)
    automation = rule(penguins.project, "run_metric_threshold", of_two, period=0)
    read: list[int] = []
    tail = metrics.tail

    def noting(run_id: int, source: str, name: str, *, count: int, before: int, each: int) -> list[float]:
        read.append(before)
        return tail(run_id, source, name, count=count, before=before, each=each)

    monkeypatch.setattr(metrics, "tail", noting)
    log(run, "loss", [0.95, 0.1])
    evaluate(run)
    read.clear()
    log(run, "loss", [0.1])
    log(run, "loss", [0.1])

    def log_this_and_that() -> None:
        log(run, "loss", [0.1])
        log(run, "accuracy", [0.95])
        set_status(run, RunStatus.PREEMPTING, actor=None)

    meanwhile += [
        log_this_and_that,
        lambda: log(run, "loss", [0.95]),
        lambda: log(run, "loss", [0.1, 0.95]),
    ]
    evaluate(run)
    assert not meanwhile
    assert steps(automation) == [1, 6, 7, 8]
    assert len(read) == 1


def test_a_rule_made_while_it_waits_sees_what_comes_after_it_and_nothing_before(
    run: Run, automation: Automation, penguins: Cast, meanwhile: Meanwhile
) -> None:
    made: list[Automation] = []

    def make_and_log() -> None:
        made.append(rule(penguins.project, "run_metric_threshold", threshold(), name="late", period=0))
        log(run, "loss", [0.92])

    log(run, "loss", [0.1])
    log(run, "loss", [0.91])
    meanwhile += [make_and_log]
    evaluate(run)
    assert steps(automation) == [1, 2]
    assert steps(made[0]) == [2]


def test_it_leaves_when_nothing_comes_when_others_wait_and_after_a_few_times(
    run: Run, automation: Automation, penguins: Cast, meanwhile: Meanwhile
) -> None:
    log(run, "loss", [0.1])
    log(run, "loss", [0.2])
    meanwhile += [lambda: None, lambda: pytest.fail("nothing came, and it waited again")]
    evaluate(run)
    assert len(meanwhile) == 1

    meanwhile.clear()
    log(run, "loss", [0.1])
    log(run, "loss", [0.2])
    other = new_run(penguins.project)
    meanwhile[:] = [lambda: pytest.fail("another lane waited")]
    evaluate(run)
    assert len(meanwhile) == 1
    evaluation.evaluate_lane(other.pk)

    meanwhile.clear()
    log(run, "loss", [0.1])
    log(run, "loss", [0.2])
    begun = cursor(run)
    looks: list[int] = []

    def look_and_log() -> None:
        looks.append(cursor(run))
        log(run, "loss", [0.3])

    meanwhile += [look_and_log] * 25
    evaluate(run)
    assert looks == [begun] * evaluation._PAUSES
    assert cursor(run) == Lane.objects.get(pk=run.pk).head, "and then the cursor moved"


def test_a_change_by_itself_is_not_waited_for(
    run: Run, automation: Automation, meanwhile: Meanwhile, clock: Clock
) -> None:
    meanwhile += [lambda: pytest.fail("it waited")]
    for _call in range(2):
        clock.move(seconds=0.06)
        log(run, "loss", [0.1])
        evaluate(run)
    assert len(meanwhile) == 1
    meanwhile[:] = [lambda: log(run, "loss", [0.9])]
    clock.move(seconds=0.04)
    log(run, "loss", [0.1])
    evaluate(run)
    assert fired(automation) == 1, "one that came soon after another is"
