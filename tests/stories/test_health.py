"""Story: somebody watches `/healthz` of a real server while a part of it stands still."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from automations.health.stages import FRESH_SECONDS
from tests.stories import embedded_alone, production_alone
from tests.stories.production import START_WITHIN, House, Process, house
from tests.stories.rest import Rest
from tests.upserver import UpServer, up_server, wait_for

OFTEN = {"TRIPLINE_CANARY_EVERY": "1", "TRIPLINE_SWEEP_EVERY": "1"}
PROMISED = 120.0  # seconds within which a stall is shown


def ask(url: str) -> tuple[int, dict[str, Any]]:
    """What /healthz says: status, and the answer."""
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)) as connection:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def red(found: dict[str, Any]) -> list[str]:
    return [name for name, stage in found["stages"].items() if stage["state"] == "red"]


def is_green(url: str) -> bool:
    status, found = ask(url)
    return (status, found["state"]) == (200, "green")


def wait_for_green(url: str) -> None:
    """Until all web workers say so, each of which remembers for a moment what it saw."""
    last_other = time.monotonic()

    def is_steady() -> bool:
        nonlocal last_other
        if not is_green(url):
            last_other = time.monotonic()
        return time.monotonic() - last_other > 2 * FRESH_SECONDS

    wait_for(is_steady, within=START_WITHIN, every=0.1)


def wait_for_red(url: str) -> list[str]:
    """The stages that turn red first."""
    seen: list[list[str]] = []

    def is_red() -> bool:
        status, found = ask(url)
        assert (status == 503) == (found["state"] == "red")
        seen.append(red(found))
        return status == 503

    wait_for(is_red, within=PROMISED, every=0.25)
    return seen[-1]


# --- Embedded ---------------------------------------------------------------------------------------


@contextmanager
def up_without(folder: Path, queue: str) -> Iterator[UpServer]:
    """A server whose pool for this queue is not there."""
    program = f"""
import django; django.setup()
import sys
from django.core.management import execute_from_command_line
from config import embedded
embedded.POOLS = {{name: size for name, size in embedded.POOLS.items() if name != {queue!r}}}
execute_from_command_line(["manage.py", *sys.argv[1:]])
"""
    env = {**OFTEN, "DJANGO_SETTINGS_MODULE": "config.settings"}
    with up_server(folder / "data", env=env, program=("-c", program)) as server:
        yield server


@embedded_alone
def test_a_fresh_server_is_green_within_seconds_and_shows_nothing_of_its_canary(tmp_path: Path) -> None:
    with up_server(tmp_path / "data", env={"TRIPLINE_CANARY_EVERY": "600"}) as server:
        # The first one is sent at the start: the next would come in ten minutes.
        wait_for(lambda: is_green(server.url), within=15)
        assert ask(server.url)[1]["canary_round_trip_seconds"] < 10
        rest = Rest(server.url, server.key)
        assert [team["name"] for team in rest.results("teams/")] == ["main"]
        assert len(rest.results("organizations/")) == 1
        for path in ("projects", "runs", "automations", "executions", "integrations", "inboxes"):
            assert rest.results(f"{path}/") == [], path
        assert rest.get("events/?after=")["results"] == []
        assert b"tripline_canary_round_trip_seconds" in rest.download("/metrics")


@embedded_alone
@pytest.mark.slow
@pytest.mark.parametrize(("queue", "stage"), [("decide", "deciding"), ("deliver", "delivering")])
def test_a_pool_that_stands_still_is_shown(tmp_path: Path, queue: str, stage: str) -> None:
    with up_without(tmp_path, queue) as server:
        assert wait_for_red(server.url) == [stage]


@embedded_alone
@pytest.mark.slow
def test_an_address_where_nobody_listens_is_shown(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    env = {**OFTEN, "TRIPLINE_BASE_URL": f"http://127.0.0.1:{port}"}
    with up_server(tmp_path / "data", env=env) as server:
        assert wait_for_red(server.url) == ["receiving"]


# --- Production: every part a process of its own ------------------------------------------------------


@contextmanager
def house_with_front(folder: Path) -> Iterator[tuple[House, Process]]:
    """One worker for each queue; and besides the web server that is asked, one where people come."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    env = {**OFTEN, "TRIPLINE_BASE_URL": f"http://127.0.0.1:{port}"}
    with house(folder, workers=("decide", "deliver"), env=env) as built:
        bind = f"127.0.0.1:{port}"
        command = [bind if word == "127.0.0.1:0" else word for word in built.web.command]
        front = replace(built.web, name="front", command=command, log=folder / "front.log", process=None)
        front.start()
        try:
            wait_for(lambda: front.find("Listening at"), within=START_WITHIN)
            yield built, front
        finally:
            front.stop()


@production_alone
@pytest.mark.slow
def test_each_process_that_stops_is_shown_at_its_stage_and_green_again_when_it_is_back(
    tmp_path: Path,
) -> None:
    with house_with_front(tmp_path) as (built, front):
        url = built.rest.url
        decide, deliver = built.workers
        stalls = {"delivering": deliver, "receiving": front, "sweeping": built.beat, "deciding": decide}
        for stage, process in stalls.items():
            wait_for_green(url)
            process.stop()
            assert wait_for_red(url) == [stage], stage
            process.start()
        wait_for_green(url)
