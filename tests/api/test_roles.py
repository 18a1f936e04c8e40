"""Who may do what: one table, every cell of it tried on a house that is put back after each."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import transaction
from drf_spectacular.generators import SchemaGenerator

from tests.api.house import Api

PEOPLE = ("nobody", "viewer", "member", "admin", "stranger", "superuser")

RULE = {
    "name": "new",
    "scope": {"type": "project", "id": "{project}"},
    "event": {"type": "run_status", "statuses": ["failed"]},
}
HOOK = {"name": "new", "team": "penguins", "type": "webhook", "url": "https://hooks.example.com/"}
SINCE = {"integration": "{integration}", "since": "2026-01-01T00:00:00Z"}
METRICS = {"points": [{"values": {"loss": 1}}]}
DATASET = {"name": "new", "project": "{project}"}

# Verb, path, body, and the status for nobody, a viewer, a member and an admin of the team, the admin of
# another team, and a superuser.
TABLE: list[tuple[str, str, Any, str]] = [
    # who, and in which team
    ("GET", "me/", None, "401 200 200 200 200 200"),
    ("GET", "users/", None, "401 403 403 403 403 200"),
    ("GET", "users/{person}/", None, "401 403 403 403 403 200"),
    ("POST", "users/", {"username": "new", "password": "a-long-pass-phrase"}, "401 403 403 403 403 201"),
    ("GET", "keys/", None, "401 200 200 200 200 200"),
    ("POST", "keys/", {"name": "mine"}, "401 201 201 201 201 201"),
    ("POST", "keys/", {"name": "ci", "team": "{team}"}, "401 403 403 201 404 201"),
    ("GET", "keys/{key}/", None, "401 404 404 200 404 200"),
    ("DELETE", "keys/{key}/", None, "401 404 404 204 404 204"),
    ("GET", "organizations/", None, "401 200 200 200 200 200"),
    ("GET", "organizations/{organization}/", None, "401 200 200 200 200 200"),
    ("POST", "organizations/", {"name": "new"}, "401 403 403 403 403 201"),
    ("PATCH", "organizations/{organization}/", {"name": "new"}, "401 403 403 403 403 200"),
    ("GET", "teams/", None, "401 200 200 200 200 200"),
    ("GET", "teams/{team}/", None, "401 200 200 200 404 200"),
    ("POST", "teams/", {"name": "new"}, "401 403 403 403 403 201"),
    ("PATCH", "teams/{team}/", {"name": "new"}, "401 403 403 200 404 200"),
    ("GET", "teams/{team}/members/", None, "401 200 200 200 404 200"),
    ("GET", "teams/{team}/members/{member}/", None, "401 200 200 200 404 200"),
    ("POST", "teams/{team}/members/", {"user": "nina", "role": "admin"}, "401 403 403 201 404 201"),
    ("PATCH", "teams/{team}/members/{member}/", {"role": "viewer"}, "401 403 403 200 404 200"),
    ("DELETE", "teams/{team}/members/{member}/", None, "401 403 403 204 404 204"),
    # projects and runs
    ("GET", "projects/", None, "401 200 200 200 200 200"),
    ("GET", "projects/{project}/", None, "401 200 200 200 404 200"),
    ("POST", "projects/", {"team": "penguins", "name": "new"}, "401 403 201 201 404 201"),
    ("PATCH", "projects/{project}/", {"description": "new"}, "401 403 200 200 404 200"),
    ("GET", "runs/", None, "401 200 200 200 200 200"),
    ("GET", "runs/{run}/", None, "401 200 200 200 404 200"),
    ("POST", "runs/", {"project": "{project}"}, "401 403 201 201 404 201"),
    ("POST", "runs/", {"project": "penguins/new"}, "401 403 201 201 404 201"),
    ("PATCH", "runs/{run}/", {"status": "running"}, "401 403 200 200 404 200"),
    ("DELETE", "runs/{run}/", None, "401 403 204 204 404 204"),
    ("POST", "runs/{run}/restore/", None, "401 403 200 200 404 200"),
    ("POST", "runs/{run}/heartbeat/", None, "401 403 204 204 404 204"),
    ("GET", "runs/{run}/metrics/", None, "401 200 200 200 404 200"),
    ("POST", "runs/{run}/metrics/", METRICS, "401 403 202 202 404 202"),
    # registries; the three have the same roles in this one
    ("GET", "registries/", None, "401 200 200 200 200 200"),
    ("GET", "registries/{registry}/", None, "401 200 200 200 404 200"),
    ("POST", "registries/", {"name": "new"}, "401 403 201 201 201 201"),
    ("PATCH", "registries/{registry}/", {"description": "new"}, "401 403 403 200 404 200"),
    ("GET", "registries/{registry}/members/", None, "401 200 200 200 404 200"),
    ("GET", "registries/{registry}/members/{regular}/", None, "401 200 200 200 404 200"),
    ("POST", "registries/{registry}/members/", {"user": "nina"}, "401 403 403 201 404 201"),
    ("PATCH", "registries/{registry}/members/{regular}/", {"role": "admin"}, "401 403 403 200 404 200"),
    ("DELETE", "registries/{registry}/members/{regular}/", None, "401 403 403 204 404 204"),
    # artifacts
    ("GET", "collections/", None, "401 200 200 200 200 200"),
    ("GET", "collections/{collection}/", None, "401 200 200 200 404 200"),
    ("POST", "collections/", DATASET, "401 403 201 201 404 201"),
    ("POST", "collections/", {"name": "new", "registry": "{registry}"}, "401 403 201 201 404 201"),
    ("PATCH", "collections/{collection}/", {"description": "new"}, "401 403 200 200 404 200"),
    ("DELETE", "collections/{collection}/", None, "401 403 204 204 404 204"),
    ("POST", "collections/{collection}/restore/", None, "401 403 200 200 404 200"),
    ("PUT", "collections/{collection}/tags/new/", None, "401 403 200 200 404 200"),
    ("DELETE", "collections/{collection}/tags/old/", None, "401 403 204 204 404 204"),
    ("GET", "collections/{collection}/aliases/latest/", None, "401 200 200 200 404 200"),
    ("PUT", "collections/{collection}/aliases/new/", {"version": "{version}"}, "401 403 200 200 404 200"),
    ("DELETE", "collections/{collection}/aliases/latest/", None, "401 403 204 204 404 204"),
    ("PUT", "collections/{shelf}/aliases/new/", {"version": "{version}"}, "401 403 200 200 404 200"),
    ("PUT", "collections/{shelf}/aliases/champion/", {"version": "{version}"}, "401 403 403 200 404 200"),
    ("DELETE", "collections/{shelf}/aliases/champion/", None, "401 403 403 204 404 204"),
    ("POST", "collections/{shelf}/links/", {"version": "{version}"}, "401 403 200 200 404 200"),
    (
        "POST",
        "collections/{shelf}/links/",
        {"version": "{version}", "aliases": ["champion"]},
        "401 403 403 200 404 200",
    ),
    # They would take the protected alias away with them.
    ("DELETE", "collections/{shelf}/links/{version}/", None, "401 403 403 204 404 204"),
    ("DELETE", "collections/{shelf}/", None, "401 403 403 204 404 204"),
    ("GET", "versions/", None, "401 200 200 200 200 200"),
    ("GET", "versions/{version}/", None, "401 200 200 200 404 200"),
    ("POST", "versions/", {"collection": "{collection}"}, "401 403 201 201 404 201"),
    ("PATCH", "versions/{version}/", {"description": "new"}, "401 403 200 200 404 200"),
    ("PUT", "versions/{version}/tags/new/", None, "401 403 200 200 404 200"),
    ("DELETE", "versions/{version}/tags/penguin-tag/", None, "401 403 204 204 404 204"),
    ("PUT", "versions/{draft}/files/a/b.bin", None, "401 403 200 200 404 200"),
    ("GET", "versions/{draft}/files/model.bin", None, "401 200 200 200 404 200"),
    ("POST", "versions/{draft}/commit/", None, "401 403 200 200 404 200"),
    ("GET", "versions/{version}/uses/", None, "401 200 200 200 404 200"),
    ("PUT", "versions/{version}/uses/{run}/", None, "401 403 201 201 404 201"),
    ("DELETE", "versions/{version}/uses/{user_run}/", None, "401 403 204 204 404 204"),
    # what is sent, and where to
    ("GET", "secrets/", None, "401 200 200 200 200 200"),
    ("GET", "secrets/{secret}/", None, "401 200 200 200 404 200"),
    ("POST", "secrets/", {"team": "penguins", "name": "new", "value": "v"}, "401 403 403 201 404 201"),
    ("PATCH", "secrets/{secret}/", {"value": "new"}, "401 403 403 200 404 200"),
    ("DELETE", "secrets/{spare}/", None, "401 403 403 204 404 204"),
    ("GET", "integrations/", None, "401 200 200 200 200 200"),
    ("GET", "integrations/{integration}/", None, "401 200 200 200 404 200"),
    ("POST", "integrations/", HOOK, "401 403 403 201 404 201"),
    ("PATCH", "integrations/{integration}/", {"timeout": 7}, "401 403 403 200 404 200"),
    ("POST", "integrations/{integration}/disable/", None, "401 403 403 200 404 200"),
    ("POST", "integrations/{integration}/enable/", None, "401 403 403 200 404 200"),
    ("POST", "integrations/{integration}/test/", None, "401 403 403 200 404 200"),
    ("DELETE", "integrations/{unused}/", None, "401 403 403 204 404 204"),
    ("GET", "inboxes/", None, "401 200 200 200 200 200"),
    ("GET", "inboxes/{inbox}/", None, "401 200 200 200 404 200"),
    ("GET", "inboxes/{inbox}/requests/", None, "401 200 200 200 404 200"),
    ("POST", "inboxes/", {"team": "penguins", "name": "new"}, "401 403 201 201 404 201"),
    ("PATCH", "inboxes/{inbox}/", {"name": "new"}, "401 403 200 200 404 200"),
    ("DELETE", "inboxes/{inbox}/", None, "401 403 204 204 404 204"),
    # rules and what came of them
    ("GET", "automations/", None, "401 200 200 200 200 200"),
    ("GET", "automations/{automation}/", None, "401 200 200 200 404 200"),
    ("POST", "automations/", RULE, "401 403 201 201 404 201"),
    ("POST", "automations/", RULE | {"scope": {"type": "team", "id": "{team}"}}, "401 403 201 201 404 201"),
    (
        "POST",
        "automations/",
        RULE | {"scope": {"type": "organization", "id": "{organization}"}},
        "401 403 403 403 403 201",
    ),
    ("PATCH", "automations/{automation}/", {"mode": "disabled"}, "401 403 200 200 404 200"),
    ("DELETE", "automations/{automation}/", None, "401 403 204 204 404 204"),
    ("POST", "automations/{automation}/test/", None, "401 403 202 202 404 202"),
    ("POST", "automations/{automation}/test/", {"event": "{event}"}, "401 403 202 202 404 202"),
    ("GET", "automations/{automation}/explain/?run={run}", None, "401 200 200 200 404 200"),
    (
        "POST",
        "automations/backtest/",
        RULE | {"actions": [{"type": "noop"}], "days": 7},
        "401 403 200 200 404 200",
    ),
    ("GET", "automations/backtests/{backtest}/", None, "401 404 200 404 404 200"),
    ("POST", "automations/backtests/{backtest}/cancel/", None, "401 404 200 404 404 200"),
    ("GET", "executions/", None, "401 200 200 200 200 200"),
    ("GET", "executions/{execution}/", None, "401 200 200 200 404 200"),
    ("POST", "executions/{execution}/redeliver/", None, "401 403 200 200 404 200"),
    ("GET", "deliveries/", None, "401 200 200 200 200 200"),
    ("GET", "deliveries/{delivery}/", None, "401 200 200 200 404 200"),
    ("POST", "deliveries/recover/", SINCE, "401 403 200 200 404 200"),
    ("GET", "events/", None, "401 200 200 200 200 200"),
    ("GET", "events/{event}/", None, "401 200 200 200 404 200"),
    ("GET", "presets/", None, "401 200 200 200 200 200"),
    # for everybody
    ("GET", "schema/", None, "200 200 200 200 200 200"),
    ("GET", "docs/", None, "200 200 200 200 200 200"),
]


def filled(value: Any, ids: dict[str, int]) -> Any:
    """The value with `{name}` replaced; a string that is nothing else becomes the number."""
    if isinstance(value, dict):
        return {name: filled(item, ids) for name, item in value.items()}
    if isinstance(value, list):
        return [filled(item, ids) for item in value]
    if isinstance(value, str) and value[:1] == "{" and value[-1:] == "}":
        return ids[value[1:-1]]
    return value


def put_back(api: Api, verb: str, path: str, body: Any) -> int:
    """The status of the answer; what it changed is undone."""
    with transaction.atomic():
        status = api.ask(verb, path, body).status
        transaction.set_rollback(True)
    return status


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("somebody", "column"), [(who, PEOPLE.index(who)) for who in PEOPLE], indirect=["somebody"]
)
def test_everybody_may_do_what_the_table_says(somebody: Api, column: int, ids: dict[str, int]) -> None:
    expected, found = {}, {}
    for verb, path, body, row in TABLE:
        question = f"{verb} {path} {body or ''}"
        expected[question] = int(row.split()[column])
        found[question] = put_back(somebody, verb, path.format(**ids), filled(body, ids))
    assert len(expected) == len(TABLE)
    assert found == expected


def operations() -> list[tuple[str, re.Pattern[str]]]:
    """Everything that the schema lists: verb, and what its paths look like."""
    paths = SchemaGenerator().get_schema(public=True)["paths"]  # type: ignore[no-untyped-call]
    return [
        (verb.upper(), re.compile(_FILLED.sub("[^?]+?", path.removeprefix("/api/v1/")) + r"?(\?.*)?"))
        for path, described in paths.items()
        for verb in described
        if verb in {"get", "post", "put", "patch", "delete"}
    ]


_FILLED = re.compile(r"\{[^}]+\}")


def test_every_operation_of_the_schema_is_in_the_table() -> None:
    listed = operations()
    assert len(listed) > 90
    missing = [
        (verb, path.pattern)
        for verb, path in listed
        if not any(verb == row[0] and path.fullmatch(row[1]) for row in TABLE)
    ]
    assert missing == []
