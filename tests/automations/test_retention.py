"""History is kept as long as it is said to be, and not a row of anything else goes with it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models import Model, QuerySet

from automations import retention
from automations.models import Attempt, Backtest, Delivery, Event, Execution
from automations.services.rules import ActionDraft
from runs.models import MetricBatch
from tests import cast
from tests.api.house import rows
from tests.automations.stories import loss_is_high
from tests.cast import Cast, Clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("noop_is_sent")]

NOTHING = {"executions": 0, "attempts": 0, "events": 0, "idempotency keys": 0, "backtests": 0}
SECOND = timedelta(seconds=1)


def a_story(who: Cast, clock: Clock, *, name: str = "old") -> Execution:
    """A firing with one attempt, an event, and a metric batch with a key, all of now."""
    execution = loss_is_high(who, [ActionDraft("noop")], name=name)
    cast.deliver()
    run = execution.run
    assert run is not None
    cast.log(run, "loss", [0.1], key="once")
    cast.decide()
    MetricBatch.objects.filter(run=run).update(received_at=clock())
    Event.objects.update(received_at=clock())
    execution.refresh_from_db()
    return execution


def test_a_row_goes_when_it_is_older_than_its_kind_is_kept(penguins: Cast, clock: Clock) -> None:
    made = clock()
    a_story(penguins, clock)
    events = Event.objects.count()
    assert (events, Attempt.objects.count(), Execution.objects.count()) == (2, 1, 1)
    Backtest.objects.create(created_by=penguins.ada, draft={}, created_at=made)
    # An attempt is as old as its beginning: by a real clock, a moment before the one that stands still.
    tried = Attempt.objects.get().started_at
    kept = [
        ("backtests", made + timedelta(days=1), 1),
        ("idempotency keys", made + timedelta(days=8), 1),
        ("events", made + timedelta(days=30), events),
        ("attempts", tried + timedelta(days=90), 1),
        ("executions", made + timedelta(days=365), 1),
    ]
    for noun, moment, count in kept:
        clock.moment = moment
        assert retention.prune() == NOTHING, f"{noun} a moment too early"
        clock.moment = moment + SECOND
        assert retention.prune() == NOTHING | {noun: count}
        assert retention.prune() == NOTHING
    assert (Event.objects.count(), Attempt.objects.count(), Delivery.objects.count()) == (0, 0, 0)


def test_everything_else_is_kept_for_ever(penguins: Cast, clock: Clock) -> None:
    a_story(penguins, clock)
    before = rows()
    clock.move(hours=24 * 4000)
    retention.prune()
    gone = {"Event", "Execution", "Delivery", "Attempt"}
    left = {name: count for name, count in before.items() if name.split(".")[1] not in gone}
    assert {name: count for name, count in rows().items() if name in left} == left
    assert all(rows()[f"automations.{name}"] == 0 < before[f"automations.{name}"] for name in gone)


def test_what_still_waits_is_no_history_yet(penguins: Cast, clock: Clock) -> None:
    execution = a_story(penguins, clock)
    Execution.objects.update(state="pending")
    cast.new_run(penguins.project)
    Event.objects.filter(run=execution.run).update(decided_at=None)
    clock.move(hours=24 * 4000)
    retention.prune()
    assert Execution.objects.get() == execution
    assert Attempt.objects.count() == 1
    assert Event.objects.filter(decided_at=None).count() == Event.objects.count() > 0


def test_an_execution_outlives_its_event_and_still_says_what_happened(penguins: Cast, clock: Clock) -> None:
    execution = a_story(penguins, clock)
    clock.move(hours=24 * 31)
    retention.prune()
    execution.refresh_from_db()
    assert execution.event is None
    assert execution.snapshot["event"]["run_name"] == "brisk-otter-1"


def test_an_execution_that_is_sent_again_meanwhile_stays(
    penguins: Cast, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between choosing the rows and deleting them."""
    execution = a_story(penguins, clock)
    clock.move(hours=24 * 366)
    portions = retention._portions

    def meanwhile(found: QuerySet[Model]) -> Iterator[list[int]]:
        for portion in portions(found):
            Execution.objects.update(state="pending")
            yield portion

    monkeypatch.setattr(retention, "_portions", meanwhile)
    assert retention.prune()["executions"] == 0
    assert Execution.objects.get() == execution


def test_many_rows_go_in_portions(penguins: Cast, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PORTION", 3)
    for _number in range(8):
        cast.new_run(penguins.project)
    cast.decide()
    Event.objects.update(received_at=clock())
    clock.move(hours=24 * 31)
    sizes: list[int] = []
    portions = retention._portions

    def counted(found: QuerySet[Model]) -> Iterator[list[int]]:
        for portion in portions(found):
            sizes.append(len(portion))
            yield portion

    monkeypatch.setattr(retention, "_portions", counted)
    assert retention.prune()["events"] == 8
    assert sizes == [3, 3, 2]


def test_the_command_says_what_it_deleted(penguins: Cast, clock: Clock) -> None:
    a_story(penguins, clock)
    clock.move(hours=24 * 4000)
    said = StringIO()
    call_command("prune", stdout=said)
    assert [line.split() for line in said.getvalue().splitlines()] == [
        ["1", "executions"],
        ["0", "attempts"],
        ["2", "events"],
        ["1", "idempotency", "keys"],
        ["0", "backtests"],
    ]
    assert Execution.objects.count() == 0


def test_the_same_key_counts_again_when_it_was_forgotten(penguins: Cast, clock: Clock) -> None:
    run = cast.new_run(penguins.project)
    cast.log(run, "loss", [0.1], key="once")
    assert cast.log(run, "loss", [0.1], key="once").duplicate
    MetricBatch.objects.update(received_at=clock())
    clock.move(hours=24 * 9)
    retention.prune()
    assert not cast.log(run, "loss", [0.1], key="once").duplicate


def test_a_server_that_starts_rings_for_it_and_beat_does_later(rings: list[tuple[str, int | None]]) -> None:
    """Beat forgets at every start when it did what: a server that is restarted daily would never prune."""
    from django.conf import settings

    from automations import doorbell, tasks

    doorbell.ring_prune()
    assert rings == [("prune", None)]
    schedule: dict[str, Any] = settings.CELERY_BEAT_SCHEDULE["prune"]
    assert schedule["task"] == tasks.prune.name
    assert schedule["schedule"] <= 3600
