"""A machine behind a firewall: it asks, the server lets it wait, and nobody else suffers from it."""

from __future__ import annotations

import http.client
import json
import select
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.stories import embedded_alone
from tests.stories.rest import Rest
from tests.upserver import UpServer, up_server, wait_for

pytestmark = [embedded_alone, pytest.mark.slow]

PLACES = 4  # of `up`, unless TRIPLINE_LONG_POLLS says otherwise


@dataclass(frozen=True)
class Answer:
    events: list[Any]
    retry_after: str | None
    seconds: float


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpServer]:
    with up_server(tmp_path_factory.mktemp("waiting") / "data") as found:
        yield found


@pytest.fixture
def rest(server: UpServer) -> Rest:
    return Rest(server.url, server.key)


def happens(rest: Rest) -> None:
    rest.post("runs/", {"project": "main/waiting"})


def now(rest: Rest) -> str:
    return str(rest.get("events/?after=now")["next"])


def asked(rest: Rest, wait: int) -> Answer:
    began, cursor = time.monotonic(), now(rest)
    with closing(http.client.HTTPConnection(urlsplit(rest.url).netloc, timeout=60)) as connection:
        connection.request("GET", f"/api/v1/events/?after={cursor}&wait={wait}", headers=rest.headers)
        answer = connection.getresponse()
        events = json.load(answer)["results"]
    return Answer(events, answer.getheader("Retry-After"), time.monotonic() - began)


def waiter(rest: Rest) -> socket.socket:
    """A connection with a request that would wait for half a minute."""
    place = urlsplit(rest.url)
    connection = socket.create_connection((place.hostname, place.port), timeout=10)
    head = "".join(f"{name}: {value}\r\n" for name, value in {"Host": place.netloc, **rest.headers}.items())
    connection.sendall(f"GET /api/v1/events/?after={now(rest)}&wait=30 HTTP/1.1\r\n{head}\r\n".encode())
    return connection


def is_answered(connection: socket.socket) -> bool:
    return bool(select.select([connection], [], [], 0)[0])


@contextmanager
def all_places_taken(rest: Rest) -> Iterator[list[socket.socket]]:
    """By requests that wait until the block ends. One that finds no place yet is made again."""
    waiting = [waiter(rest) for _place in range(PLACES)]

    def nobody_else_finds_one() -> bool:
        for position, connection in enumerate(waiting):
            if is_answered(connection):
                connection.close()
                waiting[position] = waiter(rest)
        return asked(rest, wait=1).retry_after == "1" and not any(map(is_answered, waiting))

    try:
        wait_for(nobody_else_finds_one)
        yield waiting
    finally:
        for connection in waiting:
            connection.close()


def test_every_event_is_there_soon_after_it_happened(rest: Rest) -> None:
    for _time in range(3):
        with ThreadPoolExecutor(1) as other:
            answer = other.submit(asked, rest, 30)
            happens(rest)
            happens(rest)
            # The first one may have come before the question.
            assert 1 <= len(answer.result().events) <= 2
            assert answer.result().seconds < 5


def test_who_finds_no_place_comes_again_and_all_others_are_served(rest: Rest) -> None:
    with all_places_taken(rest):
        turned_away = asked(rest, wait=30)
        assert (turned_away.events, turned_away.retry_after) == ([], "1")
        assert turned_away.seconds < 5
        began = time.monotonic()
        with ThreadPoolExecutor(8) as others:
            list(others.map(lambda _n: rest.get("me/"), range(40)))
        assert time.monotonic() - began < 10


def test_a_place_is_free_again_when_who_waited_has_gone(rest: Rest) -> None:
    """Long before the half minute for which they asked is over."""
    with all_places_taken(rest):
        pass
    wait_for(lambda: asked(rest, wait=1).retry_after is None, within=10)


def test_everybody_who_waits_is_answered_when_something_happens(rest: Rest) -> None:
    with all_places_taken(rest) as waiting:
        happens(rest)
        for each in waiting:
            assert each.recv(100).startswith(b"HTTP/1.1 200")


def test_a_server_that_stops_does_not_wait_for_those_who_wait(tmp_path: Path) -> None:
    with up_server(tmp_path / "data") as server:
        rest = Rest(server.url, server.key)
        with all_places_taken(rest) as waiting:
            began = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - began < 4
            # They were answered: empty, with the cursor to go on with.
            for each in waiting:
                with closing(each.makefile("rb")) as answer:
                    assert json.loads(answer.read().partition(b"\r\n\r\n")[2])["results"] == []
    assert server.lines[-1] == "Stopped.\n"
