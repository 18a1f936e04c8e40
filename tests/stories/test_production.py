"""The production shape from end to end, and a broker that forgets everything."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.stories import production_alone
from tests.stories.production import House, house
from tests.stories.receiver import Receiver, receiving
from tests.stories.rest import Rest, make_hook, make_rule
from tests.upserver import run_beside, wait_for

pytestmark = [production_alone, pytest.mark.slow]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("production")) as built:
        yield built


@pytest.fixture(scope="module")
def run(running: House, receiver: Receiver) -> int:
    """A run whose every value below 0 is told to the receiver; its id."""
    rest = running.rest
    project = rest.post("projects/", {"team": "main", "name": "waddle"})["id"]
    event = {
        "type": "run_metric_threshold",
        "metric": "loss",
        "aggregation": "none",
        "comparison": "below",
        "threshold": 0,
    }
    hook = make_hook(rest, receiver.url)
    make_rule(rest, "low", event, project=project, hook=hook, payload={"step": "${step}"}, period=0)
    return int(rest.post("runs/", {"project": project})["id"])


def log(rest: Rest, run: int, steps: range) -> float:
    """One call for each step; the seconds that the slowest took."""
    slowest = 0.0
    for step in steps:
        began = time.monotonic()
        point = {"step": step, "values": {"loss": -1}}
        assert rest.post(f"runs/{run}/metrics/", {"points": [point]})["accepted"] == 1
        slowest = max(slowest, time.monotonic() - began)
    return slowest


def steps_told(receiver: Receiver) -> list[int]:
    return sorted(letter.data["step"] for letter in receiver.letters)


def test_a_metric_fires_a_webhook(running: House, receiver: Receiver, run: int) -> None:
    log(running.rest, run, range(1))
    wait_for(lambda: steps_told(receiver) == [0])
    # The doorbell rang, and not only the sweep: nothing waits in the broker.
    assert running.broker.waiting("decide") == running.broker.waiting("deliver") == 0


def test_a_broker_that_is_emptied_and_restarted_loses_nothing(
    running: House, receiver: Receiver, run: int
) -> None:
    rest, broker = running.rest, running.broker
    for worker in running.workers:
        worker.stop()
    log(rest, run, range(1, 21))
    # Not one for each call: a lane that has been rung for is not rung for again.
    assert broker.waiting("decide") >= 1
    broker.empty()
    assert broker.waiting("decide") == 0
    broker.shut_down()
    # Without a broker values are accepted all the same, and nobody waits long for it.
    assert log(rest, run, range(21, 31)) < 5
    broker.come_back()
    for worker in running.workers:
        worker.start()
    wait_for(lambda: steps_told(receiver) == list(range(31)), within=60)


def test_whoever_lost_the_broker_finds_it_again(running: House, receiver: Receiver, run: int) -> None:
    running.broker.shut_down()
    log(running.rest, run, range(31, 32))
    running.broker.come_back()
    wait_for(lambda: steps_told(receiver) == list(range(32)), within=60)
    running.wait_until_workers_listen()


SESSIONS = """
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SELECT sessions FROM pg_stat_database WHERE datname = current_database()")
    print(cursor.fetchone()[0])
"""


def test_workers_keep_their_database_connections(running: House, receiver: Receiver, run: int) -> None:
    """A hundred tasks do not make a hundred sessions of PostgreSQL."""
    before = int(run_beside(running.web.env, SESSIONS))
    log(running.rest, run, range(32, 82))
    wait_for(lambda: steps_told(receiver) == list(range(82)), within=60)
    opened = int(run_beside(running.web.env, SESSIONS)) - before
    # At most one for each thread, and the two looks: two workers decide and deliver with 16 each.
    assert opened < 50


def test_nothing_was_sent_under_two_ids(running: House, receiver: Receiver, run: int) -> None:
    rows = running.rest.results(f"executions/?run={run}")
    ids = {row["explanation"]["step"]: [each["webhook_id"] for each in row["deliveries"]] for row in rows}
    assert ids == {letter.data["step"]: [letter.webhook_id] for letter in receiver.letters}
    assert {row["state"] for row in rows} == {"finished"}
