"""The other ways to what REST does: a page, or the admin; tried as a browser would, and with forged forms."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Protocol
from unittest import mock

from django.apps import apps
from django.db import connection
from django.db.models import Model
from django.template.backends.django import Template
from django.test import Client

from runs.models import User
from tests.adminpages import Pages

Ids = Mapping[str, Any]


class Root(Pages):
    """A superuser's pages, which show everything.

    Forms and rows are read once: whatever is done by a door, the caller puts everything back.
    """

    def __init__(self, user: User) -> None:
        super().__init__(user)
        self._read: dict[str, dict[str, Any]] = {}

    def fields(self, url: str) -> dict[str, Any]:
        if url not in self._read:
            self._read[url] = self.form(url).fields
        return dict(self._read[url])

    @cached_property
    def untouched(self) -> str:
        return fingerprint()


class Door(Protocol):
    """`admin`: only staff get as far as asking."""

    admin: bool

    def opens(self, client: Client, root: Root, ids: Ids) -> bool:
        """Whether this person gets what they want."""
        ...


@dataclass(frozen=True)
class See:
    """A page of ours that is looked at."""

    path: str
    admin = False

    def opens(self, client: Client, root: Root, ids: Ids) -> bool:
        with _nothing_drawn():
            answer: Any = client.get(self.path.format(**ids), follow=True)
        asked_to_sign_in = any("/login/" in url for url, _status in answer.redirect_chain)
        assert answer.status_code in {200, 403, 404}, (self, answer.status_code)
        return answer.status_code == 200 and not asked_to_sign_in


@dataclass(frozen=True)
class Send:
    """A form on a page of ours."""

    path: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    admin = False

    def opens(self, client: Client, root: Root, ids: Ids) -> bool:
        return _writes(root, client, self.path.format(**ids), filled_in(self.fields, ids))


@dataclass(frozen=True)
class Look:
    """The admin's page of a row."""

    model: type[Model]
    row: str
    admin = True

    def opens(self, client: Client, root: Root, ids: Ids) -> bool:
        with _nothing_drawn():
            answer = client.get(_change(root, self.model, self.row, ids))
        return bool(answer.status_code == 200)


@dataclass(frozen=True)
class Save:
    """The admin's form, as a superuser has it, with some fields changed; without a row, to add one.

    `inline` names rows within the page: then these are the fields of one more.
    """

    model: type[Model]
    row: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    inline: str = ""
    admin = True

    def opens(self, client: Client, root: Root, ids: Ids) -> bool:
        url = _change(root, self.model, self.row, ids) if self.row else root.add_url(self.model)
        found, fields = root.fields(url), filled_in(self.fields, ids)
        if self.inline:
            total = int(found[f"{self.inline}-TOTAL_FORMS"])
            fields = {f"{self.inline}-{total}-{name}": value for name, value in fields.items()}
            found[f"{self.inline}-TOTAL_FORMS"] = str(total + 1)
        return _writes(root, client, url, found | fields)


@dataclass(frozen=True)
class Act:
    """A bulk action on one row of the admin's list."""

    model: type[Model]
    action: str
    row: str
    query: Mapping[str, str] = field(default_factory=dict)
    admin = True

    def opens(self, client: Client, root: Root, ids: Ids) -> bool:
        data = {"action": self.action, "index": 0, "_selected_action": [ids[self.row]], "post": "yes"}
        if self.action == "delete_selected":
            del data["index"]
        return _writes(root, client, root.list_url(self.model, **self.query), data)


@dataclass(frozen=True)
class Delete:
    """The admin's page that asks whether a row shall go."""

    model: type[Model]
    row: str
    admin = True

    def opens(self, client: Client, root: Root, ids: Ids) -> bool:
        url = root.delete_url(self.model._default_manager.get(pk=ids[self.row]))
        return _writes(root, client, url, {"post": "yes"})


def _change(root: Root, model: type[Model], row: str, ids: Ids) -> str:
    return root.change_url(model._default_manager.get(pk=ids[row]))


def filled_in(fields: Mapping[str, Any], ids: Ids) -> dict[str, Any]:
    return {name: value.format(**ids) if isinstance(value, str) else value for name, value in fields.items()}


def _writes(root: Root, client: Client, url: str, data: Mapping[str, Any]) -> bool:
    """Whether anything of ours is another afterwards; nothing may be when the answer is a refusal."""
    before = root.untouched
    with _nothing_drawn():
        answer = client.post(url, data)
    assert answer.status_code < 500, (url, answer.status_code)
    written = fingerprint() != before
    assert not written or answer.status_code in {200, 302}, (url, answer.status_code)
    return written


@contextmanager
def _nothing_drawn() -> Iterator[None]:
    """Views decide who may what, not templates: here an answer is its status, and the page stays empty."""
    with mock.patch.object(Template, "render", return_value=""):
        yield


def fingerprint() -> str:
    """Of every row of every table of ours."""
    found = hashlib.sha256()
    with connection.cursor() as cursor:
        for statement in _every_row():
            cursor.execute(statement)
            found.update(repr(cursor.fetchall()).encode())
    return found.hexdigest()


@cache
def _every_row() -> list[str]:
    quoted = connection.ops.quote_name
    return [
        f"SELECT * FROM {quoted(model._meta.db_table)} ORDER BY {quoted(model._meta.pk.attname)}"  # noqa: S608
        for label in ("runs", "registry", "automations")
        for model in apps.get_app_config(label).get_models()
    ]
