"""MLflow as the peer that a bench is held against: a server of it that runs already.

Of a metric MLflow tells nobody; what it sends webhooks for is its registry. To have it send them to this
machine it wants `MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http` and `MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true`.
"""

from __future__ import annotations

import http.client
import json
import time
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

from tests.stories.receiver import Receiver
from tests.upserver import wait_for

HEADERS = {"Content-Type": "application/json"}


def post(url: str, path: str, body: dict[str, Any]) -> Any:
    """What the peer answers; each call over a connection of its own, as the one-file client makes it."""
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)) as connection:
        connection.request("POST", f"/api/2.0/mlflow/{path}", json.dumps(body), HEADERS)
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
    events = [{"entity": "MODEL_VERSION_ALIAS", "action": "CREATED"}]
    post(url, "webhooks", {"name": name, "url": receiver.url, "events": events})
    found = []
    for number in range(calls + 5):
        alias = {"name": name, "alias": "production", "version": str(1 + number % 2)}
        found.append(_arrival(url, receiver, alias))
        time.sleep(pause)
    return found[5:]  # the first ones warm up


def _arrival(url: str, receiver: Receiver, alias: dict[str, Any]) -> float:
    before, began = len(receiver.letters), time.perf_counter()
    post(url, "registered-models/alias", alias)
    wait_for(lambda: len(receiver.letters) > before, within=30, every=0.001)
    return receiver.letters[-1].at - began
