"""MLflow as the peer that a bench is held against: a server of it that runs already.

Of a metric MLflow tells nobody; what it sends webhooks for is its registry. To have it send them to this
machine it wants `MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http` and `MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true`, and to
learn of a new one at once and not within a minute `MLFLOW_WEBHOOK_CACHE_TTL=0`.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.stories.receiver import Receiver
from tests.upserver import wait_for

HEADERS = {"Content-Type": "application/json"}


def post(url: str, path: str, body: dict[str, Any], *, verb: str = "POST") -> Any:
    """What the peer answers; each call over a connection of its own, as the one-file client makes it."""
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)) as connection:
        connection.request(verb, f"/api/2.0/mlflow/{path}", json.dumps(body), HEADERS)
        answer = connection.getresponse()
        content = answer.read()
    assert answer.status == 200, (path, answer.status, content[:500])
    return json.loads(content)


def alias_moves(url: str, receiver: Receiver, *, calls: int, pause: float) -> list[float]:
    """Seconds from the call that moves an alias until the receiver has the webhook, one call at a time."""
    name = f"latency-{time.time_ns()}"
    post(url, "registered-models/create", {"name": name})
    for _version in range(2):
        post(url, "model-versions/create", {"name": name, "source": "s3://nowhere/model"})
    found = []
    with _hooked(url, receiver, name):
        for number in range(calls + 5):
            alias = {"name": name, "alias": "production", "version": str(1 + number % 2)}
            found.append(_arrival(url, receiver, alias))
            time.sleep(pause)
    return found[5:]  # the first ones warm up


@contextmanager
def _hooked(url: str, receiver: Receiver, name: str) -> Iterator[None]:
    """Every moved alias is told to the receiver; later it is gone, and would be tried again and again."""
    events = [{"entity": "MODEL_VERSION_ALIAS", "action": "CREATED"}]
    made = post(url, "webhooks", {"name": name, "url": receiver.url, "events": events})
    try:
        yield
    finally:
        post(url, f"webhooks/{made['webhook']['webhook_id']}", {}, verb="DELETE")


def _arrival(url: str, receiver: Receiver, alias: dict[str, Any]) -> float:
    before, began = len(receiver.letters), time.perf_counter()
    post(url, "registered-models/alias", alias)
    wait_for(lambda: len(receiver.letters) > before, within=30, every=0.001)
    return receiver.letters[-1].at - began
