"""A stage that stands still is red within two minutes, it and no other; and green again when it moves."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from automations.actions.base import ACTIONS, Outcome
from automations.health import stages
from automations.models import Delivery, Outlet
from automations.services import canary, targets
from registry.services.versions import create_version
from runs.models import Lane
from tests import cast
from tests.automations.plant import Plant, red, sentence, states
from tests.cast import Cast, Clock, log, new_run, rule, threshold

GREEN = dict.fromkeys(stages.STAGES, "green")


@pytest.fixture
def plant(live_server: LiveServer, settings: Settings, clock: Clock) -> Plant:
    """Everything works, and has for a minute; the web server is a real one."""
    settings.TRIPLINE_BASE_URL = live_server.url
    settings.TRIPLINE_CANARY_EVERY = 30
    settings.TRIPLINE_SWEEP_EVERY = 5
    found = Plant(clock)
    assert states(found.live(60)) == GREEN
    return found


@pytest.fixture
def quiet(db: None, settings: Settings, clock: Clock) -> Plant:
    """The same without canaries: a stall shows by what people do, or not at all."""
    settings.TRIPLINE_CANARY_EVERY = 0
    settings.TRIPLINE_SWEEP_EVERY = 5
    found = Plant(clock, every=0)
    assert states(found.live(60)) == {**GREEN, "receiving": "off"}
    return found


# --- Shown by the canary alone ----------------------------------------------------------------------


def no_decisions(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers of one pool stand still; the sweep runs in it too, so here another one does it."""
    monkeypatch.setattr("tests.cast.decide", lambda: None)


def no_deliveries(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant.work.remove("deliver")


def no_beat(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant.work.remove("beat")


def inbox_answers_500(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: Any, **_options: Any) -> int:
        raise RuntimeError("the inbox is broken")

    monkeypatch.setattr("automations.throttle.seconds_to_wait", broken)


def no_web(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens where the installation is said to be."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    monkeypatch.setattr("django.conf.settings.TRIPLINE_BASE_URL", url)


def no_writes(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is logged is not taken."""

    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise OperationalError("the disk is full")

    monkeypatch.setattr(canary, "log_metrics", refuse)


STALLS: dict[str, tuple[str, Callable[[Plant, pytest.MonkeyPatch], None], str]] = {
    "what is logged is refused": ("accepting", no_writes, "No canary could be logged for"),
    "nobody decides": ("deciding", no_decisions, "queue has waited"),
    "nobody delivers": ("delivering", no_deliveries, "was decided, and nobody sends it"),
    "the inbox answers 500": ("receiving", inbox_answers_500, "answers with status 500"),
    "no web server": ("receiving", no_web, "does not answer at TRIPLINE_BASE_URL"),
    "no beat": ("sweeping", no_beat, "Nobody has swept for"),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", STALLS)
def test_a_stall_is_shown_at_its_stage_within_two_minutes(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    stage, inject, words = STALLS[name]
    with monkeypatch.context() as patch:
        inject(plant, patch)
        passed = plant.seconds_until_red(at_most=120)
        health = stages.look()
        assert red(health) == [stage], name
        assert words in sentence(health, stage)
        # And it stays there, and does not spread.
        for _more in range(3):
            health = plant.live(30)
            assert red(health) == [stage], f"{name}, after {passed} s: {health.stages}"
    plant.work = {"beat", "decide", "deliver"}
    assert states(plant.live(60)) == GREEN


def test_the_stages_behind_a_stopped_canary_are_not_known(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_decisions(plant, monkeypatch)
    assert states(plant.live(120)) == {**GREEN, "deciding": "red", "receiving": "unknown"}


@pytest.mark.django_db(transaction=True)
def test_a_canary_that_waits_for_its_answer_is_at_the_receiver(plant: Plant, clock: Clock) -> None:
    """A try is written down when it has ended: until then its lease says that somebody is at it."""
    plant.work.remove("deliver")
    plant.live(35)
    lease_over = clock.moment + timedelta(seconds=60)
    waiting = Delivery.objects.filter(state="pending")
    waiting.filter(pk=waiting.earliest("pk").pk).update(lease=uuid.uuid4(), next_at=lease_over)
    # Those behind it have not been tried, because of the same receiver.
    assert red(plant.live(55)) == ["receiving"]
    assert waiting.filter(lease=None).exists()
    assert red(plant.live(15)) == ["delivering"], "it was no answer that was waited for: the sender is dead"


def test_a_decide_pool_that_is_gone_takes_the_sweep_with_it(plant: Plant) -> None:
    """It runs in that pool. The canary comes by the other one, so deciding is red as well."""
    plant.work.remove("decide")
    assert red(plant.live(120)) == ["deciding", "sweeping"]


def test_all_workers_gone_is_no_sweep(plant: Plant) -> None:
    plant.work -= {"decide", "deliver"}
    assert red(plant.live(120)) == ["sweeping"]


# --- Shown by what people do ------------------------------------------------------------------------


def test_without_a_canary_an_undecided_run_is_seen(
    quiet: Plant, penguins: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule(penguins.project, "run_metric_threshold", threshold())
    run = new_run(penguins.project)
    log(run, "loss", [0.1])
    assert red(quiet.live(10)) == []
    assert not Lane.objects.get(pk=run.pk).cursor < Lane.objects.get(pk=run.pk).head
    no_decisions(quiet, monkeypatch)
    log(run, "loss", [0.2])
    quiet.live(20)
    log(run, "loss", [0.3])  # the oldest counts, not the newest
    health = quiet.live(15)
    assert red(health) == ["deciding"]
    assert sentence(health, "deciding") == "1 queue has waited 35 s for a decision."


def test_without_a_canary_an_undecided_event_is_seen(
    quiet: Plant, penguins: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_decisions(quiet, monkeypatch)
    create_version(cast.collection(penguins.project), actor=None)
    assert red(quiet.live(30)) == []
    assert red(quiet.live(5)) == ["deciding"]


def fire(penguins: Cast, *names: str) -> list[Delivery]:
    """One due message for each of these integrations."""
    hooks = [cast.webhook(penguins.team, "https://example.com/hook", name=name) for name in names]
    actions = [action for hook in hooks for action in cast.sends(hook)]
    rule(penguins.project, "run_metric_threshold", threshold(), actions=actions)
    log(new_run(penguins.project), "loss", [0.9])
    cast.decide()
    return list(Delivery.objects.order_by("pk"))


def test_without_a_canary_a_due_message_that_nobody_tries_is_seen(quiet: Plant, penguins: Cast) -> None:
    quiet.work.remove("deliver")
    assert len(fire(penguins, "a", "b")) == 2
    assert red(quiet.live(55)) == []
    health = quiet.live(10)
    assert red(health) == ["delivering"]
    assert sentence(health, "delivering") == "2 messages are due, the first for 65 s, and nobody tries them."


def test_a_long_queue_that_moves_is_no_stall(quiet: Plant, penguins: Cast, clock: Clock) -> None:
    """One message a minute and a hundred that wait: slow, by its rate, and not stuck."""
    quiet.work.remove("deliver")
    moving, _waiting = fire(penguins, "a", "b")
    Delivery.objects.filter(pk=_waiting.pk).update(integration=moving.integration)
    assert red(quiet.live(120)) == ["delivering"]
    moving.attempts.create(number=1, started_at=clock(), duration=0.1, status_code=200)
    Delivery.objects.filter(pk=moving.pk).update(state="succeeded", next_at=None)
    assert red(quiet.live(55)) == []
    assert red(quiet.live(10)) == ["delivering"]


def test_a_message_that_waits_for_its_retry_is_no_stall(quiet: Plant, penguins: Cast, clock: Clock) -> None:
    quiet.work.remove("deliver")
    fire(penguins, "a")
    Delivery.objects.update(next_at=clock.moment.replace(hour=23))
    assert states(quiet.live(300))["delivering"] == "green"


def test_a_pause_that_a_receiver_asked_for_is_no_stall(quiet: Plant, penguins: Cast, clock: Clock) -> None:
    quiet.work.remove("deliver")
    first, _second = fire(penguins, "a", "b")
    Delivery.objects.update(integration=first.integration)
    Outlet.objects.create(integration=first.integration, paused_until=clock() + timedelta(minutes=5))
    assert red(quiet.live(300)) == []
    assert red(quiet.live(70)) == ["delivering"]


def test_what_is_held_is_no_stall(quiet: Plant, penguins: Cast) -> None:
    hook = cast.webhook(penguins.team, "https://example.com/hook")
    targets.set_integration_enabled(hook, enabled=False)
    rule(penguins.project, "run_metric_threshold", threshold(), actions=cast.sends(hook))
    log(new_run(penguins.project), "loss", [0.9])
    health = quiet.live(300)
    assert Delivery.objects.get().state == "held"
    assert red(health) == []
    (held,) = [queue for queue in health.queues if queue.key == "held"]
    assert (held.count, held.age(quiet.clock())) == (1, 295)


def test_a_sender_that_died_is_seen_when_its_lease_is_over(
    quiet: Plant, penguins: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    fire(penguins, "a")

    class Killed(BaseException):
        pass

    def die(_delivery: Delivery) -> Outcome:
        raise Killed

    monkeypatch.setattr(ACTIONS["webhook"], "send", die)
    with pytest.raises(Killed):
        cast.deliver()
    quiet.work.remove("deliver")
    assert red(quiet.live(65)) == []
    health = quiet.live(15)
    assert red(health) == ["delivering"]
    assert "has not been heard of" in sentence(health, "delivering")


def test_a_hanging_receiver_is_no_stall(quiet: Plant, penguins: Cast) -> None:
    """While somebody waits for an answer, what is behind it is not stuck."""
    first, _second = fire(penguins, "a", "b")
    Delivery.objects.update(integration=first.integration)
    quiet.work.remove("deliver")
    Delivery.objects.filter(pk=first.pk).update(
        lease=uuid.uuid4(), next_at=quiet.clock.moment.replace(hour=13)
    )
    assert red(quiet.live(300)) == []


def test_nobody_who_ever_swept_is_red(db: None, clock: Clock) -> None:
    health = stages.look()
    assert red(health) == ["sweeping"]
    assert sentence(health, "sweeping") == "Nobody has ever swept: is celery beat running?"


def test_a_database_that_does_not_answer_is_an_answer(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any, **_options: Any) -> Any:
        raise OperationalError("no connection")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "cursor", refuse)
        health = stages.look()
    assert states(health) == {**dict.fromkeys(stages.STAGES, "unknown"), "accepting": "red"}


@pytest.mark.parametrize("every", [1, 5, 30])
def test_beat_that_stops_is_a_missing_sweep_however_often_canaries_come(
    plant: Plant, settings: Settings, every: int
) -> None:
    settings.TRIPLINE_CANARY_EVERY = plant.every = every
    assert states(plant.live(10)) == GREEN
    plant.work.remove("beat")
    plant.seconds_until_red()
    assert red(stages.look()) == ["sweeping"]
    assert red(plant.live(120)) == ["sweeping"]
