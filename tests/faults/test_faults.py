"""The harness in short: real processes, killed at commits and between them, lose and double nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults.accounts import Asked, settle
from tests.faults.census import take_census
from tests.faults.harness import Moody, Order, Outcome, run
from tests.faults.killing import Plan
from tests.faults.load import LOUD_TURN, ORDERS, SET_SCENE, Client, Ledger, loud_turn, set_scene
from tests.faults.orders import AFTER, BEFORE, Death, Point
from tests.faults.report import show
from tests.faults.shapes import embedded
from tests.faults.victim import DEAF
from tests.stories import embedded_alone, production_alone
from tests.stories.receiver import receiving
from tests.upserver import wait_for

pytestmark = pytest.mark.slow

# Where changes are accepted, decided, and delivered.
CORE = ("log_metrics", "automations.")


def in_short(shape: str) -> Order:
    plan = Plan(kills=12, per_point=1, per_strike=1, only=CORE)
    return Order(shape, plan, webhook_events=150, noop_events=1000, seed=random.randrange(1_000), seconds=30)


@embedded_alone
def test_up_that_is_killed_again_and_again_loses_and_doubles_nothing(tmp_path: Path) -> None:
    assert_that_it_was_hurt_and_lost_nothing(run(in_short("embedded"), tmp_path))


@production_alone
def test_processes_and_servers_that_are_killed_again_and_again_lose_and_double_nothing(
    tmp_path: Path,
) -> None:
    outcome = run(in_short("production"), tmp_path)
    assert_that_it_was_hurt_and_lost_nothing(outcome)
    assert outcome.killer.strikes["postgres"] > 0


def assert_that_it_was_hurt_and_lost_nothing(outcome: Outcome) -> None:
    show(outcome)
    assert outcome.settled
    assert not any(outcome.balance.faults.values())
    # It was hurt, at both sides of commits, in the middle of work, and the receiver was moody.
    killer = outcome.killer
    assert {point.moment for point in killer.kills} == {BEFORE, AFTER}
    assert len({point.boundary for point in killer.kills}) >= 2
    assert killer.strikes.total() >= 1
    assert outcome.ledger.resent > 0
    assert len(outcome.ledger.accepted) >= 3 * LOUD_TURN
    assert outcome.ledger.silent_count > 0
    assert len(outcome.answers) > 1


@embedded_alone
def test_deliveries_that_nobody_is_told_of_are_kept_and_reported_as_lost(tmp_path: Path) -> None:
    moody, ledger = Moody(random.Random(1)), Ledger()
    with receiving(moody) as receiver, embedded(tmp_path, {DEAF: "1"}) as up:
        scene = set_scene(up.url, up.key, receiver.url, up.env)
        loud_turn(Client(up.url.removeprefix("http://"), scene.keys, ledger), scene, "fit")
        expected = ledger.accepted | SET_SCENE
        wait_for(lambda: up.ask("SELECT count(*) FROM automations_execution") >= len(expected))
        census = take_census(up.env)
    receipts = moody.receipts(receiver.letters)
    balance = settle(Asked(expected, orders=ORDERS), receipts=receipts, census=census)
    assert {row.subject: row.state for row in census.deliveries} == dict.fromkeys(expected, "pending")
    assert len(balance.lost) == len(expected) == LOUD_TURN + len(SET_SCENE)
    assert not balance.twice


@embedded_alone
def test_who_dies_before_a_commit_leaves_nothing_and_who_dies_after_it_leaves_everything(
    tmp_path: Path,
) -> None:
    with embedded(tmp_path) as up:
        client = Client(up.url.removeprefix("http://"), [up.key], Ledger())
        project = client.send("POST", "projects/", {"team": "main", "name": "loud"})["id"]
        up.orders.forget_seen()

        def start_run(name: str) -> int:
            """Sent once; 0 when nobody answered."""
            status, _content = client.ask("POST", "runs/", {"project": project, "run_id": name})
            return status

        assert start_run("first") == 201
        (boundary,) = (name for name in up.orders.seen() if name.endswith(".create"))
        for point, runs in ((Point(boundary, BEFORE), 1), (Point(boundary, AFTER), 2)):
            up.orders.give({point: 1})
            assert start_run(f"dies {point.moment}") == 0
            wait_for(lambda: up.orders.death() is not None)
            assert up.orders.death() == Death("up", *point)
            assert up.ask("SELECT count(*) FROM runs_run") == runs
            up.wait_until_up()
        assert start_run("last") == 201
        assert not up.gave_up
