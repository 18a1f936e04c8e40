"""Who may do what: one table, every cell of it tried on a house that is put back after each."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from runs.models import User
from tests.api.conftest import Crowd
from tests.api.doors import Door, Root, fingerprint
from tests.api.house import Api
from tests.api.roles import PEOPLE, TABLE, Row
from tests.api.ways import WAYS

pytestmark = [pytest.mark.django_db, pytest.mark.once]

NOBODY, STAFF = PEOPLE.index("nobody"), PEOPLE.index("staff")


def filled(value: Any, ids: dict[str, Any]) -> Any:
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


def named(row: Row) -> str:
    verb, path, body, *_rest = row
    return f"{verb} {path} {body or ''}"


def expected(row: Row, column: int) -> int:
    cells = row[3].split()
    assert len(cells) == len(PEOPLE), row
    return int(cells[column])


@pytest.mark.parametrize("who", PEOPLE)
def test_everybody_may_do_by_rest_what_the_table_says(crowd: Crowd, ids: dict[str, Any], who: str) -> None:
    api, column = Api(getattr(crowd, who, None)), PEOPLE.index(who)
    told = {named(row): expected(row, column) for row in TABLE}
    found = {named(row): put_back(api, row[0], row[1].format(**ids), filled(row[2], ids)) for row in TABLE}
    assert len(told) == len(TABLE)
    assert found == told


def doors(row: Row) -> tuple[Door, ...]:
    key, body = f"{row[0]} {row[1]}", json.dumps(row[2])
    found = [
        ways
        for name, ways in WAYS.items()
        if name == key or (name.startswith(f"{key} with ") and name.rpartition(" with ")[2] in body)
    ]
    assert len(found) <= 1, row
    return found[0] if found else ()


def allowed(row: Row, column: int, door: Door) -> bool:
    """As REST allows it; in the admin all are staff, and the admin is for nobody else."""
    also_as_staff = door.admin and column != NOBODY and expected(row, STAFF) < 400
    return expected(row, column) < 400 or also_as_staff


@pytest.mark.slow
def test_pages_and_the_admin_allow_what_rest_allows(crowd: Crowd, ids: dict[str, Any], root: User) -> None:
    """Everybody in one house: its forms are read once for all."""
    superuser = Root(root)
    clients = {
        (who, admin): signed_in(getattr(crowd, who, None), as_staff=admin)
        for who in PEOPLE
        for admin in (False, True)
    }
    before = superuser.untouched
    told, found = {}, {}
    for column, who in enumerate(PEOPLE):
        for row in TABLE:
            for door in doors(row):
                name = f"{who}: {named(row)} by {door}"
                told[name] = allowed(row, column, door)
                found[name] = tried(door, clients[who, door.admin], superuser, ids)
    assert found == told
    assert len(told) > 130 * len(PEOPLE)
    assert fingerprint() == before


def tried(door: Door, client: Client, superuser: Root, ids: dict[str, Any]) -> bool:
    """Whether it opens; what was done by it is undone."""
    with transaction.atomic():
        opened = door.opens(client, superuser, ids)
        transaction.set_rollback(True)
    return opened


def signed_in(person: User | None, *, as_staff: bool = False) -> Client:
    """The pages know no staff, so that these may stay staff there too."""
    client = Client()
    if person is not None:
        if as_staff:
            User.objects.filter(pk=person.pk).update(is_staff=True)
        client.force_login(person)
    return client


def test_every_way_leads_to_one_row_of_the_table() -> None:
    used = [door for row in TABLE for door in doors(row)]
    assert len(used) == sum(len(ways) for ways in WAYS.values())


def test_in_the_admin_it_is_staff_alone(crowd: Crowd, ids: dict[str, Any], root: User) -> None:
    """Ada, who may do everything in her team, without being staff."""
    client, superuser = signed_in(crowd.admin), Root(root)
    tried = [door for ways in WAYS.values() for door in ways if door.admin]
    assert len(tried) > 90
    for door in tried:
        assert not door.opens(client, superuser, ids), door


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
