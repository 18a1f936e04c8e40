from __future__ import annotations

import threading

import pytest
from django.db import transaction

from runs.models import Lane, MetricBatch, Run, RunStatus, RunStatusChange
from runs.services.runs import set_status, start_run
from tests.cast import Cast, Clock, at_once, log, new_run


def numbers(run: Run) -> list[int]:
    changes, batches = RunStatusChange.objects.filter(run=run), MetricBatch.objects.filter(run=run)
    return sorted([*changes.values_list("seq", flat=True), *batches.values_list("seq", flat=True)])


@pytest.mark.django_db
def test_status_changes_and_batches_share_one_count(penguins: Cast) -> None:
    run = new_run(penguins.project)
    log(run, "loss", [1])
    set_status(run, RunStatus.FINISHED, actor=None)
    log(run, "loss", [2])
    assert numbers(run) == [1, 2, 3, 4]
    assert run.status_changes.get(status="finished").seq == 3
    assert Lane.objects.get(pk=run.pk).head == 4


@pytest.mark.django_db
def test_acceptance_never_runs_backwards_within_a_lane(penguins: Cast, clock: Clock) -> None:
    run = new_run(penguins.project)
    clock.move(hours=-1)  # somebody set the machine's clock back
    log(run, "loss", [1])
    assert run.batches.get().received_at == run.status_changes.get().received_at


@pytest.mark.django_db
def test_a_refused_call_takes_no_number(penguins: Cast) -> None:
    from django.core.exceptions import ValidationError

    run = new_run(penguins.project)
    log(run, "loss", [1], first_step=2**63 - 1)
    with pytest.raises(ValidationError):
        log(run, "loss", [2])  # there is no step after the last one
    assert numbers(run) == [1, 2]
    assert Lane.objects.get(pk=run.pk).head == 2


@pytest.mark.django_db(transaction=True)
def test_many_writers_of_one_run_leave_no_gap_and_no_double(penguins: Cast) -> None:
    run = new_run(penguins.project)
    at_once(6, lambda _number: [log(run, "loss", [1]) for _turn in range(5)])
    assert numbers(run) == list(range(1, 32))
    assert Lane.objects.get(pk=run.pk).head == 31
    assert run.summaries.get().count == 30


@pytest.mark.django_db(transaction=True)
def test_of_many_who_finish_a_run_at_once_one_makes_the_change(penguins: Cast) -> None:
    run = new_run(penguins.project)
    at_once(6, lambda _number: set_status(Run.objects.get(pk=run.pk), RunStatus.FINISHED, actor=None))
    changes = RunStatusChange.objects.filter(run=run).values_list("old_status", "status")
    assert list(changes) == [("", "running"), ("running", "finished")]


@pytest.mark.django_db(transaction=True)
def test_of_many_who_start_one_run_at_once_one_creates_it(penguins: Cast) -> None:
    answers = at_once(6, lambda _number: start_run(penguins.project, None, run_id="shared"))
    assert sum(created for _run, created in answers) == 1
    assert len({run.pk for run, _created in answers}) == 1
    assert RunStatusChange.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_whoever_waits_for_the_lane_sees_the_run_as_it_is_afterwards(penguins: Cast) -> None:
    """The writer in front renames the run and ends it while the other already stands in the queue."""
    run = new_run(penguins.project, name="before")
    in_front, behind_has_started = threading.Event(), threading.Event()

    def work(number: int) -> None:
        if number == 0:
            with transaction.atomic():
                current = set_status(run, RunStatus.KILLED, actor=None)
                Run.objects.filter(pk=current.pk).update(name="after")
                in_front.set()
                behind_has_started.wait(10)
                # Long enough for the other's statement to reach the lock; too short changes nothing.
                threading.Event().wait(0.2)
        else:
            in_front.wait(10)
            behind_has_started.set()
            log(run, "loss", [1])

    at_once(2, work)
    batch = MetricBatch.objects.get()
    assert (batch.run_status, batch.run_name) == ("killed", "after")
