"""The production shape from end to end, and a broker that forgets everything."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

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
    # No backtest is done at once: workers do them.
    with house(tmp_path_factory.mktemp("production"), env={"TRIPLINE_BACKTEST_AT_ONCE": "0"}) as built:
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


# --- Backtests ------------------------------------------------------------------------------------


def try_out(rest: Rest, project: int, **event: Any) -> int:
    """A backtest of a rule on the loss; its id."""
    body = {"scope": {"type": "project", "id": project}, "event": {"metric": "loss", **event}}
    return int(rest.post("automations/backtest/", body)["id"])


def logged(rest: Rest, values: Iterable[float]) -> int:
    """A run that logged these; its project."""
    run = rest.post("runs/", {"project": "main/trials"})
    rest.post(f"runs/{run['id']}/metrics/", {"points": [{"values": {"loss": value}} for value in values]})
    return int(run["project"])


def seconds_used(running: House) -> float:
    """How long the workers' processes kept a core busy so far."""
    total = 0.0
    for worker in running.workers:
        assert worker.process is not None
        fields = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def test_a_worker_does_a_backtest_and_says_what_it_found(running: House) -> None:
    rest = running.rest
    project = logged(rest, [0.1, 0.9, 0.2])
    high = {"type": "run_metric_threshold", "aggregation": "none", "comparison": "above", "threshold": 0.6}
    job = try_out(rest, project, **high)
    found: dict[str, Any] = {}

    def is_over() -> bool:
        found.update(rest.get(f"automations/backtests/{job}/"))
        return found["state"] not in {"pending", "running"}

    wait_for(is_over, within=30, every=0.1)
    assert (found["state"], found["problem"], found["done"], found["total"]) == ("finished", "", 1, 1)
    assert found["runs"][0]["firings"][0]["text"] == "loss = 0.9 > 0.6 at step 1"


def test_a_backtest_that_is_cancelled_is_not_worked_on_any_more(running: House) -> None:
    """Of one run in which every score must be computed exactly: half a minute of work, if nobody stops it."""
    rest = running.rest
    project = logged(rest, [1 + number % 7 * 1e-15 for number in range(30_000)])
    near = {"type": "run_metric_zscore", "baseline": "values", "direction": "above", "threshold": 1.6}
    job = f"automations/backtests/{try_out(rest, project, window=10_000, **near)}/"
    wait_for(lambda: rest.get(job)["state"] == "running", within=30, every=0.05)
    before = seconds_used(running)
    wait_for(lambda: seconds_used(running) > before + 1, within=60)  # it really works on it
    assert rest.post(f"{job}cancel/", {})["state"] == "cancelled"

    def is_idle() -> bool:
        earlier = seconds_used(running)
        time.sleep(2)  # the stretch that is looked at
        return seconds_used(running) < earlier + 0.5

    wait_for(is_idle, within=15)
    assert rest.get(job)["state"] == "cancelled"
