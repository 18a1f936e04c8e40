"""`kill -9` of the server with hundreds of events in its hands: nothing is lost, nothing has two ids."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import pytest

from tests.stories import embedded_alone
from tests.stories.receiver import HANG, Letter, Receiver, friendly, receiving
from tests.stories.rest import Rest, make_hook, make_rule
from tests.upserver import UpServer, up_server, wait_for

pytestmark = [embedded_alone, pytest.mark.slow]

# What an event is about, as its webhook says: the rule's name, and the run and step or the alias.
Subject: TypeAlias = tuple[str, str]
Result = TypeVar("Result")
PAYLOADS = {
    "started": {"rule": "${automation_name}", "about": "${run_id}"},
    "low": {"rule": "${automation_name}", "about": "${run_id} ${step}"},
    "moved": {"rule": "${automation_name}", "about": "${alias}"},
}


@dataclass
class Scene:
    """A project with a rule for each kind of change; every change makes one event."""

    rest: Rest
    project: int
    collection: int
    version: int
    runs: dict[str, int] = field(default_factory=dict)  # id by run_id

    def start_run(self, name: str) -> Subject:
        self.runs[name] = self.rest.post("runs/", {"project": self.project, "run_id": name})["id"]
        return ("started", name)

    def log(self, name: str, steps: range) -> list[Subject]:
        """One call; every value of it fires."""
        points = [{"step": step, "values": {"loss": -step}} for step in steps]
        self.rest.post(f"runs/{self.runs[name]}/metrics/", {"points": points})
        return [("low", f"{name} {step}") for step in steps]

    def put_alias(self, alias: str) -> Subject:
        self.rest.put(f"collections/{self.collection}/aliases/{alias}/", {"version": self.version})
        return ("moved", alias)


def set_scene(server: UpServer, receiver: Receiver) -> Scene:
    rest = Rest(server.url, server.key)
    project = rest.post("projects/", {"team": "main", "name": "faults"})["id"]
    hook = make_hook(rest, receiver.url, timeout=30)
    events: dict[str, dict[str, Any]] = {
        "started": {"type": "run_status", "statuses": ["running"]},
        "low": {
            "type": "run_metric_threshold",
            "metric": "loss",
            "aggregation": "none",
            "comparison": "below_or_equal",
            "threshold": 0,
        },
        "moved": {"type": "alias_added", "alias": "^a-"},
    }
    for name, event in events.items():
        options = {"period": 0} if name == "low" else {}
        make_rule(rest, name, event, project=project, hook=hook, payload=PAYLOADS[name], **options)
    collection = rest.post("collections/", {"project": project, "name": "models", "type": "model"})["id"]
    version = rest.post("versions/", {"collection": collection, "digest": "d1"})["id"]
    return Scene(rest, project, collection, version)


def many(work: Callable[[str], Result], names: Iterable[str]) -> list[Result]:
    """From four clients at once."""
    with ThreadPoolExecutor(4) as clients:
        return list(clients.map(work, names))


def count(data_dir: Path, table: str, condition: str = "1") -> int:
    """Rows in the database of a server, dead or alive."""
    with closing(sqlite3.connect(data_dir / "tripline.sqlite3")) as database:
        (rows,) = database.execute(f"SELECT count(*) FROM {table} WHERE {condition}").fetchone()  # noqa: S608
    return int(rows)


def subject(letter: Letter) -> Subject:
    return (letter.data["rule"], letter.data["about"])


def ids_by_subject(letters: Iterable[Letter]) -> dict[Subject, set[str]]:
    found: dict[Subject, set[str]] = {}
    for letter in letters:
        found.setdefault(subject(letter), set()).add(letter.webhook_id)
    return found


def assert_each_arrived_under_one_id(expected: list[Subject], letters: list[Letter]) -> None:
    assert len(set(expected)) == len(expected)
    ids = ids_by_subject(letters)
    assert set(ids) == set(expected)
    assert {len(each) for each in ids.values()} == {1}
    assert len({webhook_id for each in ids.values() for webhook_id in each}) == len(expected)


def kill(server: UpServer) -> None:
    assert server.stop(signal.SIGKILL) == -signal.SIGKILL


def test_with_200_deliveries_pending_every_one_arrives_under_one_id(tmp_path: Path) -> None:
    answered = 40
    data_dir = tmp_path / "data"
    with receiving(lambda letter: 200 if letter.number <= answered else HANG) as receiver:
        with up_server(data_dir) as server:
            expected = make_240_events(set_scene(server, receiver))
            wait_for(lambda: count(data_dir, "automations_execution") == 240, within=60)
            wait_for(lambda: count(data_dir, "automations_delivery", "state = 'succeeded'") == answered)
            wait_for(lambda: len(receiver.letters) > answered)
            kill(server)
        in_hand = count(data_dir, "automations_delivery", "state = 'pending' AND lease IS NOT NULL")
        assert count(data_dir, "automations_delivery", "state = 'pending'") == 200
        assert in_hand > 0
        receiver.manner = friendly
        began = time.monotonic()
        with up_server(data_dir) as server:
            wait_for(lambda: len(ids_by_subject(receiver.letters)) > 120, within=30)
            kill(server)
        assert count(data_dir, "automations_delivery", "state = 'pending'") > 0
        with up_server(data_dir):
            wait_for(lambda: count(data_dir, "automations_delivery", "state = 'pending'") == 0, within=30)
        # A lease lasts a minute; nobody waited for one to run out.
        assert time.monotonic() - began < 45
        assert_each_arrived_under_one_id(expected, receiver.letters)
        # What was in hand had arrived already, and came again: under the same id.
        assert len(receiver.letters) >= 240 + in_hand
    assert count(data_dir, "automations_execution", "state != 'finished'") == 0


def make_240_events(scene: Scene) -> list[Subject]:
    names = [f"run-{number}" for number in range(80)]
    started = many(scene.start_run, names)
    low = many(lambda name: scene.log(name, range(1)), names)
    moved = many(scene.put_alias, [f"a-{number}" for number in range(80)])
    return [*started, *(each for group in low for each in group), *moved]


def test_what_was_accepted_and_not_yet_decided_is_decided_once(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with receiving() as receiver:
        with up_server(data_dir) as server:
            scene = set_scene(server, receiver)
            expected = make_200_events(scene)
            kill(server)
        decided = count(data_dir, "automations_execution")
        undecided = count(data_dir, "runs_lane", "cursor < head")
        undecided += count(data_dir, "automations_event", "decided_at IS NULL")
        assert decided < 200
        assert undecided > 0
        with up_server(data_dir):
            wait_for(lambda: count(data_dir, "automations_execution") == 200, within=30)
            wait_for(lambda: count(data_dir, "automations_delivery", "state = 'pending'") == 0, within=30)
        assert_each_arrived_under_one_id(expected, receiver.letters)
    assert count(data_dir, "automations_execution") == 200
    assert count(data_dir, "runs_lane", "cursor < head") == 0


def make_200_events(scene: Scene) -> list[Subject]:
    """The last calls carry so many values that deciding takes longer than answering."""
    names = [f"run-{number}" for number in range(40)]
    started = many(scene.start_run, names)
    moved = many(scene.put_alias, [f"a-{number}" for number in range(40)])
    low = many(lambda name: scene.log(name, range(30)), names[:4])
    return [*started, *moved, *(each for group in low for each in group)]
