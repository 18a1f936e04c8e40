from __future__ import annotations

import pytest

from runs.errors import Conflict
from runs.models import Lane, Run, RunStatus, RunStatusChange
from runs.services.runs import delete_run, heartbeat, restore_run, set_status, start_run, update_run
from tests.cast import Cast, Clock, new_run

pytestmark = pytest.mark.django_db


def history(run: Run) -> list[tuple[str, str]]:
    changes = RunStatusChange.objects.filter(run=run).order_by("seq")
    return list(changes.values_list("old_status", "status"))


def test_creation_as_running_is_a_change(penguins: Cast, clock: Clock) -> None:
    run = new_run(penguins.project, user=penguins.ada, name="first steps")
    assert history(run) == [("", "running")]
    assert (run.started_at, run.finished_at) == (clock(), None)
    change = run.status_changes.get()
    assert (change.run_name, change.run_user, change.actor) == ("first steps", "ada", penguins.ada)
    assert change.received_at == clock()


def test_a_pending_run_has_not_started(penguins: Cast, clock: Clock) -> None:
    run = new_run(penguins.project, status=RunStatus.PENDING)
    assert run.started_at is None
    clock.move(minutes=5)
    set_status(run, RunStatus.RUNNING, actor=None)
    assert history(run) == [("", "pending"), ("pending", "running")]
    assert run.started_at == clock()


def test_setting_the_status_it_has_leaves_no_row(penguins: Cast) -> None:
    run = new_run(penguins.project)
    set_status(run, RunStatus.RUNNING, actor=None)
    assert history(run) == [("", "running")]
    assert Lane.objects.get(pk=run.pk).head == 1


def test_a_finished_run_can_be_resumed_by_its_id(penguins: Cast, clock: Clock) -> None:
    run, _created = start_run(penguins.project, penguins.ada, run_id="r1")
    started_at = run.started_at
    clock.move(hours=1)
    set_status(run, RunStatus.FINISHED, actor=penguins.ada)
    assert run.finished_at == clock()

    resumed, created = start_run(penguins.project, penguins.max, run_id="r1")
    assert not created
    assert resumed == run
    assert history(run) == [("", "running"), ("running", "finished"), ("finished", "running")]
    assert (resumed.started_at, resumed.finished_at) == (started_at, None)
    assert resumed.user == penguins.ada, "the creator stays the creator"


def test_resuming_keeps_the_name_unless_another_is_given(penguins: Cast) -> None:
    start_run(penguins.project, None, run_id="r1", name="first")
    assert start_run(penguins.project, None, run_id="r1")[0].name == "first"
    assert start_run(penguins.project, None, run_id="r1", name="second")[0].name == "second"


def test_the_same_id_in_another_project_is_another_run(penguins: Cast) -> None:
    from runs.services.projects import create_project

    first, _created = start_run(penguins.project, None, run_id="r1")
    second, created = start_run(create_project(penguins.team, "dive"), None, run_id="r1")
    assert created
    assert second != first


def test_a_run_without_a_name_is_given_one_that_can_be_said(penguins: Cast) -> None:
    run = new_run(penguins.project)
    assert run.name.endswith("-1")
    assert len(run.run_id) == 8


def test_a_stale_copy_of_a_run_does_not_bring_an_old_status_back(penguins: Cast) -> None:
    run = new_run(penguins.project)
    stale = Run.objects.get(pk=run.pk)
    set_status(run, RunStatus.FINISHED, actor=None)
    set_status(stale, RunStatus.FINISHED, actor=None)
    assert history(run) == [("", "running"), ("running", "finished")]
    assert stale.status == RunStatus.FINISHED


def test_renaming_is_no_change_of_status(penguins: Cast) -> None:
    run = new_run(penguins.project, name="before")
    update_run(run, name="after")
    assert Lane.objects.get(pk=run.pk).head == 1
    run.refresh_from_db()
    assert run.name == "after"


def test_a_deleted_run_is_hidden_until_it_is_restored(penguins: Cast) -> None:
    from runs import access

    run, _created = start_run(penguins.project, penguins.ada, run_id="r1")
    delete_run(run)
    assert run not in access.runs(penguins.ada)
    with pytest.raises(Conflict) as refusal:
        start_run(penguins.project, penguins.ada, run_id="r1")
    assert set(refusal.value.message_dict) == {"run_id"}

    restore_run(run)
    assert run in access.runs(penguins.ada)
    assert start_run(penguins.project, penguins.ada, run_id="r1")[0] == run
    assert history(run) == [("", "running")]


def test_a_heartbeat_revives_a_crashed_run_and_no_other(penguins: Cast, clock: Clock) -> None:
    run = new_run(penguins.project)
    for status, expected in [
        (RunStatus.CRASHED, RunStatus.RUNNING),
        (RunStatus.FAILED, RunStatus.FAILED),
        (RunStatus.KILLED, RunStatus.KILLED),
        (RunStatus.FINISHED, RunStatus.FINISHED),
    ]:
        set_status(run, status, actor=None)
        heartbeat(run, actor=penguins.ada)
        run.refresh_from_db()
        assert run.status == expected
        assert run.heartbeat_at == clock()
    assert ("crashed", "running") in history(run)
