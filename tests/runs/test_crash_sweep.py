"""A run crashes by falling silent (semantics, section 3). The sweep comes every five seconds."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from runs.models import Run, RunStatus
from runs.services.runs import crash_silent_runs, delete_run, heartbeat, set_status
from tests.cast import Cast, Clock, log, new_run

pytestmark = pytest.mark.django_db

CRASH_AFTER = 300


@pytest.fixture(autouse=True)
def _crash_after(settings: Settings) -> None:
    settings.TRIPLINE_CRASH_AFTER = CRASH_AFTER
    settings.TRIPLINE_SWEEP_EVERY = 5


def sweep_for(clock: Clock, seconds: int) -> list[Run]:
    """Sweep every five seconds of this time; the runs that crashed in it."""
    crashed = []
    for _sweep in range(seconds // 5):
        clock.move(seconds=5)
        crashed += crash_silent_runs()
    return crashed


@pytest.fixture
def run(penguins: Cast, clock: Clock) -> Run:
    """A run with a heartbeat, on a server that has swept for long."""
    sweep_for(clock, CRASH_AFTER + 10)
    run = new_run(penguins.project)
    heartbeat(run, actor=None)
    return run


def test_a_run_that_falls_silent_crashes_after_five_minutes(run: Run, clock: Clock) -> None:
    assert sweep_for(clock, CRASH_AFTER - 5) == []
    assert sweep_for(clock, 5) == [run]
    run.refresh_from_db()
    assert run.status == RunStatus.CRASHED
    assert run.status_changes.get(status="crashed").old_status == "running"
    assert sweep_for(clock, 2 * CRASH_AFTER) == [], "once"


def test_a_run_that_never_sent_a_heartbeat_is_only_silent(run: Run, penguins: Cast, clock: Clock) -> None:
    quiet = new_run(penguins.project)
    assert sweep_for(clock, 2 * CRASH_AFTER) == [run], "the one beside it does crash"
    quiet.refresh_from_db()
    assert quiet.status == RunStatus.RUNNING


@pytest.mark.parametrize("contact", ["heartbeat", "metrics"])
def test_silence_is_counted_from_the_last_contact(run: Run, clock: Clock, contact: str) -> None:
    sweep_for(clock, CRASH_AFTER - 10)
    if contact == "heartbeat":
        heartbeat(run, actor=None)
    else:
        log(run, "loss", [1])
    assert sweep_for(clock, CRASH_AFTER - 5) == []
    assert sweep_for(clock, 5) == [run]


def test_only_running_runs_crash(run: Run, penguins: Cast, clock: Clock) -> None:
    others = {status: new_run(penguins.project) for status in RunStatus if status != RunStatus.RUNNING}
    for status, other in others.items():
        heartbeat(other, actor=None)
        set_status(other, status, actor=None)
    deleted = new_run(penguins.project)
    heartbeat(deleted, actor=None)
    delete_run(deleted)
    assert sweep_for(clock, 2 * CRASH_AFTER) == [run]


def test_the_first_sweep_of_a_server_crashes_nobody(penguins: Cast, clock: Clock) -> None:
    run = new_run(penguins.project)
    heartbeat(run, actor=None)
    clock.move(hours=10)
    assert crash_silent_runs() == []
    assert sweep_for(clock, CRASH_AFTER - 5) == []
    assert sweep_for(clock, 5) == [run], "silent for all the time since the sweep began"


def test_a_servers_own_downtime_crashes_nobody(run: Run, clock: Clock) -> None:
    sweep_for(clock, 100)
    clock.move(hours=10)
    assert crash_silent_runs() == []
    assert sweep_for(clock, CRASH_AFTER - 5) == []
    heartbeat(run, actor=None)
    assert sweep_for(clock, CRASH_AFTER - 5) == []
    assert sweep_for(clock, 5) == [run]


def test_a_short_downtime_crashes_nobody_however_short_the_limit(
    run: Run, clock: Clock, settings: Settings
) -> None:
    settings.TRIPLINE_CRASH_AFTER = 30
    sweep_for(clock, 10)
    heartbeat(run, actor=None)
    clock.move(seconds=45)
    assert crash_silent_runs() == []
    assert sweep_for(clock, 25) == []
    assert sweep_for(clock, 10) == [run]


def test_a_heartbeat_after_the_crash_is_a_change_to_running(run: Run, clock: Clock) -> None:
    sweep_for(clock, CRASH_AFTER)
    crashed = Run.objects.get(pk=run.pk)
    assert crashed.status == RunStatus.CRASHED
    heartbeat(crashed, actor=None)
    run.refresh_from_db()
    assert run.status == RunStatus.RUNNING
    last = run.status_changes.latest("seq")
    assert (last.old_status, last.status) == ("crashed", "running")
    assert sweep_for(clock, CRASH_AFTER - 5) == []
