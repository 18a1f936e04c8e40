"""Somebody with an API key and nothing else: the REST interface over HTTP."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

Data = dict[str, Any]


class Rest:
    """`get`, `post` and so on take a path below `/api/v1/` and raise AssertionError for all but 2xx."""

    def __init__(self, url: str, key: str, *, timeout: float = 30) -> None:
        self.url = url
        self._timeout = timeout
        self._place = urlsplit(url).netloc
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def get(self, path: str) -> Any:
        return json.loads(self.download(f"/api/v1/{path}"))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._ask("POST", path, body)

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._ask("PATCH", path, body)

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._ask("PUT", path, body)

    def results(self, path: str) -> list[Data]:
        """A list, all of its pages."""
        page = self.get(path)
        found = list(page["results"])
        while page["next"]:
            page = json.loads(self.download(page["next"].removeprefix(self.url)))
            found += page["results"]
        return found

    def download(self, path: str) -> bytes:
        """The bytes at a path below the root."""
        return self._request("GET", path)

    def _ask(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        return json.loads(self._request(method, f"/api/v1/{path}", json.dumps(body).encode()) or b"null")

    def _request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        with closing(http.client.HTTPConnection(self._place, timeout=self._timeout)) as connection:
            connection.request(method, path, body, self.headers)
            answer = connection.getresponse()
            content = answer.read()
        assert 200 <= answer.status < 300, (method, path, answer.status, content[:2000])
        return content


# --- What most stories need -----------------------------------------------------------------------


def make_hook(
    rest: Rest, url: str, *, name: str = "hook", signing_secret: str | None = None, timeout: int = 10
) -> int:
    """An integration of team main that posts to `url`, and signs with that value; its id."""
    order: Data = {"team": "main", "type": "webhook", "name": name, "url": url, "timeout": timeout}
    if signing_secret is not None:
        secret = rest.post(
            "secrets/", {"team": "main", "name": f"{name.upper()}_KEY", "value": signing_secret}
        )
        order["signing_secret"] = secret["name"]
    return int(rest.post("integrations/", order)["id"])


def make_rule(
    rest: Rest,
    name: str,
    event: Mapping[str, Any],
    *,
    project: int,
    hook: int,
    payload: Mapping[str, Any],
    **options: Any,
) -> int:
    """An automation of that project with one webhook action; its id."""
    scope = {"type": "project", "id": project}
    actions = [{"type": "webhook", "integration": hook, "payload": dict(payload)}]
    made = rest.post(
        "automations/", {"name": name, "scope": scope, "event": dict(event), "actions": actions, **options}
    )
    return int(made["id"])
