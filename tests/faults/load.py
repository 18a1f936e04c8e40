"""Clients that never give up: what they send is accepted in the end, once, whatever breaks meanwhile."""

from __future__ import annotations

import http.client
import json
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.faults.accounts import Order, Subject
from tests.faults.shapes import Waiting
from tests.stories.rest import Data, Rest, make_hook
from tests.upserver import run_beside

NOOP = "noop"
# A batch of so many values makes as many executions as one batch may.
BATCH = 100
BATCHES_PER_RUN = 50
KEYS = 40
MAKE_KEYS = f"""
from runs.models import User
from runs.services.people import create_key
admin = User.objects.get(username="admin")
for number in range({KEYS}):
    print(create_key(admin, f"load {{number}}")[1])
"""
GIVE_UP_AFTER = 120.0  # seconds of resending one request: more than any of the faults may last
# With so many changes undecided, nobody logs those that take long to decide: the harness would only wait
# longer for what it looks for. Other clients bear four times as many; and no message is made while so many
# wait for a receiver that hangs now and then, so that all of them are through soon after the last fault.
MOST_WAITING = 30
MOST_UNSENT = 500
# How far one kind of client may be ahead of the other, as a part of the whole.
AHEAD = 0.02
# Seconds between what each client still makes when all that was asked for is made.
SLOWLY = 1.0

BELOW_ZERO: Data = {
    "type": "run_metric_threshold",
    "metric": "loss",
    "aggregation": "none",
    "comparison": "below",
    "threshold": 0,
}


@dataclass(frozen=True)
class Rule:
    """What its webhook is about begins with the thing; what is put in order ends with a number."""

    event: Data
    about: str
    order: Order = "any"
    options: Data = field(default_factory=dict)


MOVED: Data = {"type": "alias_added", "alias": "^a-"}
RULES: dict[str, Rule] = {
    "started": Rule({"type": "run_status", "statuses": ["running"]}, "${run_id}"),
    "ended": Rule({"type": "run_status", "statuses": ["finished"]}, "${run_id}"),
    "low": Rule(BELOW_ZERO, "${run_id} ${step}", options={"period": 0}),
    "low in order": Rule(BELOW_ZERO, "${run_id} ${step}", "ordered", options={"period": 0}),
    "first": Rule(BELOW_ZERO, "${run_id} ${step}"),
    "moved": Rule(MOVED, "${alias} ${artifact_version_string}"),
    "moved last": Rule(MOVED, "${alias} ${artifact_version_string}", "latest_only"),
    "added": Rule({"type": "version_added"}, "${artifact_digest}"),
}
ORDERS = {name: rule.order for name, rule in RULES.items()}


class Unanswered(Exception):  # noqa: N818  # a statement about a request
    """A request was resent for minutes, and nobody accepted it."""


@dataclass
class Ledger:
    """What was accepted and must come to something."""

    accepted: set[Subject] = field(default_factory=set)
    silent: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    resent: int = 0
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def count_request(self) -> int:
        with self._counting:
            self.requests += 1
            return self.requests

    def count_resent(self) -> None:
        with self._counting:
            self.resent += 1

    @property
    def silent_count(self) -> int:
        return sum(self.silent.copy().values())


@dataclass
class Client:
    """Sends each request until it is answered. All of them may be repeated without harm."""

    place: str
    keys: list[str]
    ledger: Ledger
    _connection: http.client.HTTPConnection | None = None

    def send(self, method: str, path: str, body: Mapping[str, Any], *, once: str = "") -> Any:
        """`once` is the Idempotency-Key of what is not repeatable by itself."""
        deadline = time.monotonic() + GIVE_UP_AFTER
        while True:
            status, content = self.ask(method, path, body, once=once)
            if 200 <= status < 300:
                return json.loads(content or b"null")
            assert status == 0 or status >= 500, (method, path, status, content[:2000])
            if time.monotonic() > deadline:
                raise Unanswered(method, path, status, content[:2000])
            self.ledger.count_resent()
            time.sleep(0.05)

    def ask(self, method: str, path: str, body: Mapping[str, Any], *, once: str = "") -> tuple[int, bytes]:
        """Status and content; status 0 when the request broke off, and may have been accepted or not."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self.place, timeout=30)
        try:
            self._connection.request(method, f"/api/v1/{path}", json.dumps(body), self._headers(once))
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = None
            return 0, b""

    def _headers(self, once: str) -> dict[str, str]:
        # Another key each time: noting when one was used first is a write, too.
        key = self.keys[self.ledger.count_request() % len(self.keys)]
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        return {**headers, "Idempotency-Key": once} if once else headers


@dataclass(frozen=True)
class Scene:
    """Two projects with rules; in `loud`, everything is told to a receiver."""

    loud: int
    silent: int
    collection: int
    versions: list[int]
    keys: list[str]


def set_scene(url: str, key: str, hook: str, env: Mapping[str, str]) -> Scene:
    """`hook` is the receiver. Every rule has an integration of its own."""
    rest = Rest(url, key)
    loud, silent = (
        rest.post("projects/", {"team": "main", "name": name})["id"] for name in ("loud", "still")
    )
    for name, rule in RULES.items():
        target = make_hook(rest, hook, name=name, timeout=5)
        payload = {"rule": "${automation_name}", "about": rule.about}
        action = {"type": "webhook", "integration": target, "payload": payload, "order": rule.order}
        _make_rule(rest, name, rule.event, project=loud, action=action, **rule.options)
    event = {**BELOW_ZERO, "metric": "load"}
    _make_rule(rest, NOOP, event, project=silent, action={"type": "noop"}, period=0)
    collection = rest.post("collections/", {"project": loud, "name": "models", "type": "model"})["id"]
    versions = [rest.post("versions/", {"collection": collection, "digest": d})["id"] for d in ("v0", "v1")]
    return Scene(loud, silent, collection, versions, [key, *_more_keys(env)])


SET_SCENE: frozenset[Subject] = frozenset({("added", "v0"), ("added", "v1")})


def _make_rule(rest: Rest, name: str, event: Data, *, project: int, action: Data, **options: Any) -> None:
    scope = {"type": "project", "id": project}
    rest.post("automations/", {"name": name, "scope": scope, "event": event, "actions": [action], **options})


def _more_keys(env: Mapping[str, str]) -> list[str]:
    make = "from runs.services.people import create_key\nfrom runs.models import User\n"
    make += "admin = User.objects.get(username='admin')\n"
    return run_beside(
        env, f"{make}for n in range({KEYS}): print(create_key(admin, f'load {{n}}')[1])"
    ).split()


# --- What the clients do --------------------------------------------------------------------------


LOUD_TURN = 26


def loud_turn(client: Client, scene: Scene, name: str) -> None:
    """A training run from start to end, with a new version and an alias on its way: 26 webhooks."""
    found: list[Subject] = [("started", name), ("ended", name), ("added", name), ("first", f"{name} 1")]
    run = client.send("POST", "runs/", {"project": scene.loud, "run_id": name})["id"]
    _log(client, run, {0: 1.0}, once=f"{name}-0")  # not below zero: it fires nothing
    for batch in range(3):
        steps = range(1 + 3 * batch, 4 + 3 * batch)
        _log(client, run, dict.fromkeys(steps, -1.0), once=f"{name}-{steps[0]}")
        found += [(rule, f"{name} {step}") for step in steps for rule in ("low", "low in order")]
    client.send("POST", "versions/", {"collection": scene.collection, "digest": name, "run": run})
    for number, version in enumerate([*scene.versions, scene.versions[1]]):  # the last is no move
        path = f"collections/{scene.collection}/aliases/a-{name}/"
        client.send("PUT", path, {"version": version})
        found += [(rule, f"a-{name} v{min(number, 1)}") for rule in ("moved", "moved last")]
    client.send("PATCH", f"runs/{run}/", {"status": "finished"})
    _log(client, run, {10: 1.0}, once=f"{name}-10")  # and so the lane ends with what fires nothing
    client.ledger.accepted.update(found)


def _log(client: Client, run: int, values: Mapping[int, float], *, once: str, metric: str = "loss") -> None:
    points = [{"step": step, "values": {metric: value}} for step, value in values.items()]
    client.send("POST", f"runs/{run}/metrics/", {"points": points}, once=once)


@dataclass
class Load:
    """Clients of both kinds, until they have sent what they should and nobody wants more of them."""

    scene: Scene
    place: str
    loud_events: int
    silent_events: int
    look: Callable[[], Waiting]
    ledger: Ledger = field(default_factory=Ledger)
    # Set when the faults are over: until then the clients go on, though slowly.
    enough: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)
    waiting: Waiting = field(default_factory=Waiting)

    def progress(self) -> float:
        """From 0 to 1, the slower of the two kinds."""
        return min(1.0, self._loud_part(), self._silent_part())

    def _loud_part(self) -> float:
        return len(self.ledger.accepted) / max(1, self.loud_events)

    def _silent_part(self) -> float:
        return self.ledger.silent_count / self.silent_events if self.silent_events else 1.0

    def run(self, loud_clients: int = 3, silent_clients: int = 2) -> list[Future[None]]:
        """Start; the futures end when the clients do, and raise what they raised."""
        pool = ThreadPoolExecutor(loud_clients + silent_clients + 1)
        works = [*[self._be_loud] * loud_clients, *[self._be_silent] * silent_clients]
        futures = [pool.submit(work, f"{work.__name__[4:]}{n}") for n, work in enumerate(works)]
        pool.submit(self._look_at_backlog, futures)
        pool.shutdown(wait=False)
        return futures

    def _client(self) -> Client:
        return Client(self.place, self.scene.keys, self.ledger)

    def _be_loud(self, name: str) -> None:
        client = self._client()
        for turn in count():
            if self._is_over(
                self._loud_part, self._silent_part, backlog=4 * MOST_WAITING, unsent=MOST_UNSENT
            ):
                return
            loud_turn(client, self.scene, f"{name}-{turn}")

    def _be_silent(self, name: str) -> None:
        client = self._client()
        for turn in count():
            run_id, run = f"{name}-{turn}", None
            for batch in range(BATCHES_PER_RUN):
                if self._is_over(self._silent_part, self._loud_part, backlog=MOST_WAITING):
                    return
                if run is None:
                    order = {"project": self.scene.silent, "run_id": run_id}
                    run = client.send("POST", "runs/", order)["id"]
                values = dict.fromkeys(range(batch * BATCH, (batch + 1) * BATCH), -1.0)
                _log(client, run, values, once=f"{run_id}-{batch}", metric="load")
                self.ledger.silent[run_id] = (batch + 1) * BATCH

    def _is_over(
        self,
        mine: Callable[[], float],
        others: Callable[[], float],
        *,
        backlog: int,
        unsent: float = math.inf,
    ) -> bool:
        """Whether to stop. Waits while the other kind of client is behind, or too much is undecided.

        When all has been sent it goes on, slowly, for as long as the faults do.
        """
        while not self.stop.is_set():
            done = mine() >= 1
            if done and self.enough.is_set():
                return True
            is_free = self.waiting.changes <= backlog and self.waiting.messages <= unsent
            if is_free and (done or mine() <= others() + AHEAD):
                return self.stop.wait(SLOWLY if done else 0.0)
            self.stop.wait(0.05)
        return True

    def _look_at_backlog(self, clients: Iterable[Future[None]]) -> None:
        while not all(client.done() for client in clients):
            self.waiting = self.look()
            time.sleep(0.25)
