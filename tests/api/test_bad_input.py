"""Whatever is sent to whatever is writable: a 4xx that names the field, nothing stored, never a 500.

What is writable, and of which type, is read out of the schema; a body that works is taken from the table of
roles and spoilt in one place at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from drf_spectacular.generators import SchemaGenerator

from tests.api.house import Answer, Api, House, rows
from tests.api.roles import TABLE
from tests.api.test_roles import filled

pytestmark = pytest.mark.django_db

# One value of every type of JSON.
VALUES: dict[str, Any] = {
    "null": None,
    "boolean": True,
    "integer": 7,
    "number": 1.5,
    "string": "nonsense",
    "array": [1],
    "object": {"a": 1},
}
# A path must be filled with the ids before it is asked; the body works.
Write = tuple[str, str, dict[str, Any]]
WRITES = [(verb, path, body) for verb, path, body, _row in TABLE if isinstance(body, dict)]


@cache
def schema() -> dict[str, Any]:
    return SchemaGenerator().get_schema(public=True)  # type: ignore[no-any-return,no-untyped-call]


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in part:
        part = schema()["components"]["schemas"][part["$ref"].rpartition("/")[2]]
    return part


def admitted(part: dict[str, Any]) -> set[str]:
    """The types of JSON that a property may have."""
    part = resolved(part)
    branches = part.get("oneOf", []) + part.get("anyOf", []) + part.get("allOf", [])
    if branches:
        return set().union(*(admitted(branch) for branch in branches))
    if "type" not in part:
        return {"null"} if part.get("enum") == [None] else {"string"} if "enum" in part else set(VALUES)
    types = part["type"]
    found = set(types if isinstance(types, list) else [types])
    return found | ({"integer"} if "number" in found else set())


def described(verb: str, path: str) -> dict[str, Any]:
    """The properties of the body that this operation takes, by name."""
    asked = [part for part in path.partition("?")[0].split("/") if part]
    for known, operations in schema()["paths"].items():
        parts = [part for part in known.removeprefix("/api/v1/").split("/") if part]
        fits = len(parts) == len(asked) and all(
            one == two or one.startswith("{") for one, two in zip(parts, asked, strict=True)
        )
        if fits and verb.lower() in operations:
            content = operations[verb.lower()]["requestBody"]["content"]
            return dict(resolved(content["application/json"]["schema"])["properties"])
    raise LookupError(f"{verb} {path}")


@pytest.fixture
def writes(ids: dict[str, int], everything: Api) -> Iterator[list[Write]]:
    """Verb, path and a body that works, of everything that takes one; after the test nothing is stored."""
    before = rows()
    yield [(verb, path.format(**ids), filled(body, ids)) for verb, path, body in WRITES]
    assert rows() == before


def refused(api: Api, verb: str, path: str, raw: bytes) -> Answer:
    answer = api.ask(verb, path, raw=raw)
    assert 400 <= answer.status < 500, answer
    return answer


def spoilt(verb: str, path: str) -> Iterator[tuple[str, Any]]:
    """A value of every type that a property does not admit."""
    for name, part in described(verb, path).items():
        if not part.get("readOnly"):
            yield from ((name, value) for kind, value in VALUES.items() if kind not in admitted(part))


def test_a_value_of_another_type_is_refused_by_name(writes: list[Write], everything: Api) -> None:
    for verb, path, body in writes:
        spoils = list(spoilt(verb, path))
        assert len(spoils) >= 3
        for name, value in spoils:
            answer = refused(everything, verb, path, json.dumps(body | {name: value}).encode())
            assert name in answer.json, answer


def test_text_that_cannot_be_stored_is_refused_by_name(writes: list[Write], everything: Api) -> None:
    for verb, path, body in writes:
        for bad, shown in (("a\\u0000b", "a\\x00b"), ("a\\ud800b", "a\\ud800b"), ("\\udfff", "\\udfff")):
            for name in body:
                raw = json.dumps(body | {name: "BAD"}).replace("BAD", bad)
                assert name in refused(everything, verb, path, raw.encode()).json
                nested = json.dumps(body | {name: {"a": [{"BAD": 1}]}}).replace("BAD", bad)
                assert name in refused(everything, verb, path, nested.encode()).json
            raw = json.dumps({**body, "BAD": 1}).replace("BAD", bad)
            answer = refused(everything, verb, path, raw.encode())
            assert path.endswith("metrics/") or shown in answer.json, answer


def test_numbers_that_json_does_not_know_are_refused_by_name(writes: list[Write], everything: Api) -> None:
    for verb, path, body in writes:
        for number in ("NaN", "Infinity", "-Infinity", "1e400", "-1e400"):
            for name in body:
                for value in (number, f"[{number}]", f'{{"a": {{"b": {number}}}}}'):
                    raw = json.dumps(body | {name: "BAD"}).replace('"BAD"', value)
                    assert name in refused(everything, verb, path, raw.encode()).json


def test_a_body_that_is_no_object_or_no_json_is_refused(writes: list[Write], everything: Api) -> None:
    for verb, path, _body in writes:
        for raw in (
            b"[]",
            b"[{}]",
            b'"x"',
            b"7",
            b"true",
            b"{",
            b"}",
            b"nonsense",
            b"{'a': 1}",
            b'{"a": 1,}',
            b"\xff",
        ):
            refused(everything, verb, path, raw)
        refused(everything, verb, path, b'{"a": 1' + b"0" * 5000 + b"}")
        refused(everything, verb, path, b"\xef\xbb\xbf{}")


def test_depth_without_end_is_refused(writes: list[Write], everything: Api) -> None:
    for verb, path, body in writes:
        name = next(iter(body))
        for depth in (65, 5_000, 200_000):
            refused(everything, verb, path, b'{"a":' * depth + b"1" + b"}" * depth)
            refused(everything, verb, path, b"[" * depth + b"]" * depth)
            deep = f'{{"{name}": {"[" * depth}{"]" * depth}}}'
            answer = refused(everything, verb, path, deep.encode())
            assert depth > 65 or name in answer.json


def test_a_field_that_nobody_knows_is_refused_by_name(writes: list[Write], everything: Api) -> None:
    for verb, path, body in writes:
        for name in ("nonsense", "__class__", "", "pk", "x" * 10_000, "名"):
            answer = refused(everything, verb, path, json.dumps({**body, name: 1}).encode())
            assert path.endswith("metrics/") or list(answer.json) == [name], answer


def test_texts_have_an_end(writes: list[Write], everything: Api) -> None:
    for verb, path, body in writes:
        for name, part in described(verb, path).items():
            if "string" in admitted(part) and not part.get("readOnly"):
                raw = json.dumps(body | {name: "x" * 200_000}).encode()
                assert name in refused(everything, verb, path, raw).json


def test_an_empty_body_is_no_body(writes: list[Write], everything: Api) -> None:
    """A change of nothing is none, and a test needs nothing; all else does."""
    for verb, path, _body in writes:
        if verb == "PATCH":
            assert everything.ask(verb, path, raw=b"").status == 200
        elif path.endswith("/test/"):
            continue
        else:
            refused(everything, verb, path, b"")
        refused(everything, verb, path, b"null")


GARBAGE = ["", "nonsense", "-1", "9" * 30, "1e400", "NaN", "%ED%A0%80", "x" * 5000]


def test_no_query_breaks_a_list(ours: House, everything: Api) -> None:
    asked = 0
    for path, operations in schema()["paths"].items():
        if "get" not in operations or "{label}" in path or "{path}" in path:
            continue
        place = path.replace("{team_pk}", str(ours.team.pk)).replace("{registry_pk}", str(ours.registry.pk))
        place = place.replace("{id}", str(ours.run.pk) if "/runs/" in path else str(ours.inbox.pk))
        for parameter in operations["get"].get("parameters", []):
            if parameter["in"] != "query":
                continue
            name = parameter["name"]
            for value in GARBAGE:
                everything.ask("GET", f"{place}?{name}={value}")
                asked += 1
            answer = everything.ask("GET", f"{place}?{name}=a%00b")
            assert (answer.status, list(answer.json)) == (400, [name])
    assert asked > 400


@pytest.mark.parametrize("path", ["runs/%00/", "runs/1%00/", "collections/1/tags/%00/", "%00"])
def test_a_nul_in_a_path_is_refused(everything: Api, path: str) -> None:
    answer = everything.get(path)
    assert (answer.status, list(answer.json)) == (400, ["path"])


def test_a_parameter_with_a_nul_in_its_name_is_refused(everything: Api) -> None:
    answer = everything.get("runs/?na%00me=1")
    assert (answer.status, list(answer.json)) == (400, ["path"])


def test_more_parameters_than_anybody_needs_are_refused(everything: Api) -> None:
    assert everything.get("runs/?" + "&".join(f"a{number}=1" for number in range(2_000))).status == 400
    assert everything.get("runs/?" + "&".join(f"a{number}=%00" for number in range(2_000))).status == 400
