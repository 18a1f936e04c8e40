"""Ringing never holds up a request: the real doorbell, in a process of its own, on all kinds of brokers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

PREPARE = """
import json, logging, time
import django
django.setup()
logging.disable(logging.CRITICAL)
from automations import doorbell, tasks
from config.celery import app
"""

RING = """
found = []
for attempt in range(4):
    if attempt == 3:
        doorbell._breaker.quiet_until = 0.0
    start = time.monotonic()
    doorbell.ring_lane(1)
    found.append((time.monotonic() - start, doorbell._breaker.quiet_until > time.monotonic()))
print(json.dumps(found))
"""

LISTEN = """
doorbell.ring_lane(5)
doorbell.ring_event(6)
doorbell.ring_drain(7)
doorbell.ring_drain(None)
found = []
for name in ("decide", "deliver"):
    with app.connection_for_read() as connection, connection.SimpleQueue(name) as queue:
        for expected in range(2):
            message = queue.get(timeout=10)
            found.append((name, message.headers["task"], message.payload[0][0]))
            message.ack()
print(json.dumps(found))
"""


OFTEN = """
doorbell._PACE = 1.0  # on a busy machine too all of it takes less
doorbell.ring_drain(8)
for _firing in range(100):
    doorbell.ring_drain(7)
doorbell.ring_drain(7, after=5)
time.sleep(2 * doorbell._PACE)
doorbell.ring_drain(7)
found = []
with app.connection_for_read() as connection, connection.SimpleQueue("deliver") as queue:
    while queue.qsize():
        message = queue.get(timeout=10)
        found.append((message.payload[0][0], message.headers["eta"] is not None))
        message.ack()
print(json.dumps(found))
"""


def told(script: str, **environment: str) -> Any:
    """What a fresh process prints that runs this with these settings."""
    done = subprocess.run(
        [sys.executable, "-c", PREPARE + script],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@contextmanager
def nobody() -> Iterator[int]:
    """A port where nothing listens: bound, so that nobody else takes it, and never opened."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@contextmanager
def somebody_silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("broker", [nobody, somebody_silent])
def test_a_broker_that_is_down_holds_nobody_up_and_is_left_alone_for_a_while(broker: Any) -> None:
    with broker() as port:
        attempts = told(RING, REDIS_URL=f"redis://127.0.0.1:{port}/0")
    durations = [duration for duration, _quiet in attempts]
    assert all(quiet for _duration, quiet in attempts)
    # A second for the socket, and what the first publication of a process has to import.
    assert durations[0] < 1.7, "the first one finds out"
    assert max(durations[1:3]) < 0.0005, "the next ones do not even try"
    assert 0.0005 < durations[3] < 1.5, "later somebody tries again"


def test_what_rings_arrives_in_the_queue_of_its_work() -> None:
    assert told(LISTEN) == [
        ["decide", "automations.tasks.evaluate_lane", 5],
        ["decide", "automations.tasks.evaluate_event", 6],
        ["deliver", "automations.tasks.drain", 7],
        ["deliver", "automations.tasks.drain", None],
    ]


def test_rings_that_come_together_are_one_at_once_and_one_a_little_later() -> None:
    """What came with the last of them may have come after the first was answered."""
    found = [tuple(ring) for ring in told(OFTEN, REDIS_URL="")]
    assert found == [(8, False), (7, False), (7, True), (7, True), (7, False)]
