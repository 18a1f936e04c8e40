"""Every operation of the schema with bodies, paths and queries that it does and does not describe.

No answer is a 5xx, and every answer is one that the schema describes. Half of the requests are about things
that exist; what a request changes is put back. The same requests are sent in every run.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from config.middleware import utf8_only
from tests.api.house import Api

CHECKS: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
# How many requests that the schema allows, and as many that it does not, are sent to each operation.
EXAMPLES = 8
# Whose id `{id}` is, where the name of the place does not say so.
IDS = {
    "keys": "key",
    "inboxes": "inbox",
    "registries": "registry",
    "deliveries": "delivery",
    "users": "person",
    "teams/{team_pk}/members/{id}/": "member",
    "registries/{registry_pk}/members/{id}/": "regular",
    "versions/{id}/files/{path}/": "draft",
    "versions/{id}/commit/": "draft",
    "collections/{id}/links/": "shelf",
    "collections/{id}/links/{version}/": "shelf",
}


@pytest.fixture
def application() -> Iterator[Any]:
    """As a server calls it, but for the connections that a server may let go of between two requests."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield utf8_only(WSGIHandler())
    for signal in signals:
        signal.connect(close_old_connections)


def settled(case: Case, ids: dict[str, int]) -> None:
    """Let the request be about things that exist, where it names any."""
    place = case.path.removeprefix("/api/v1/").partition("/")[0]
    own = IDS.get(case.path.removeprefix("/api/v1/"), IDS.get(place, place.removesuffix("s")))
    known: dict[str, Any] = ids | {"team_pk": ids["team"], "registry_pk": ids["registry"]}
    labels = {"label": "latest" if "/aliases/" in case.path else "old", "path": "model.bin"}
    for name in case.path_parameters or {}:
        case.path_parameters[name] = ids[own] if name == "id" else (known | labels)[name]
    if place != "keys":
        known["team"] = "penguins"
    for part in (case.query, case.body):
        if isinstance(part, dict):
            part.update({name: known[name] for name in part if name in known and name != "id"})
            if "scope" in part:
                part["scope"] = {"type": "team", "id": ids["team"]}


def fuzz(operation: Any, mode: GenerationMode, keys: list[str], ids: dict[str, int]) -> Counter[int]:
    """How often each status was answered."""
    statuses: Counter[int] = Counter()

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(
        case=operation.as_strategy(generation_mode=mode), key=st.sampled_from(keys), exists=st.booleans()
    )
    def ask(case: Case, key: str, exists: bool) -> None:
        if exists:
            settled(case, ids)
        with transaction.atomic():
            answer = case.call(headers={"Authorization": key})
            transaction.set_rollback(True)
        case.validate_response(answer, checks=CHECKS)
        statuses[answer.status_code] += 1

    ask()
    return statuses


@pytest.mark.slow
@pytest.mark.django_db
def test_nothing_that_can_be_asked_is_answered_with_a_5xx(
    everything: Api, max_: Api, ids: dict[str, int], application: Any
) -> None:
    """By a superuser or a member of the team."""
    keys = [api.headers["Authorization"] for api in (everything, max_)]
    schema = schemathesis.openapi.from_wsgi("/api/v1/schema/", application)
    found: dict[str, Counter[int]] = defaultdict(Counter)
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()
        for mode in GenerationMode:
            found[operation.label] += fuzz(operation, mode, keys, ids)
    assert len(found) > 90
    # Much of it was also asked in a way that is allowed and works.
    working = [name for name, statuses in found.items() if any(200 <= status < 300 for status in statuses)]
    assert len(working) > len(found) / 2
