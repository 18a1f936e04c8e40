"""A person at the admin: opens pages, fills in their forms as a browser would, and runs bulk actions."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from runs.models import User


class _Form(HTMLParser):
    """The fields of the page's main form, with the values that a browser would send back."""

    def __init__(self, form_id: str) -> None:
        super().__init__()
        self.form_id, self.inside = form_id, False
        # A name that comes several times has a list of values.
        self.fields: dict[str, Any] = {}
        self.options: dict[str, dict[str, str]] = {}
        self._select = self._textarea = self._option = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.inside = found.get("id") == self.form_id
        if not self.inside:
            return
        name = found.get("name", "")
        if tag == "input" and name:
            self._input(name, found)
        elif tag == "select" and name:
            self._select = name
            self.options[name] = {}
            self.fields.setdefault(name, "")
        elif tag == "option" and self._select:
            self._option = found.get("value", "")
            self.options[self._select][self._option] = ""
            if "selected" in found:
                self.fields[self._select] = self._option
        elif tag == "textarea" and name:
            self._textarea = name
            self.fields[name] = ""

    def _input(self, name: str, found: Mapping[str, str]) -> None:
        kind = found.get("type", "text")
        if "disabled" in found or kind in {"submit", "button", "file"}:
            return
        if kind in {"checkbox", "radio"} and "checked" not in found:
            return
        value = found.get("value", "on" if kind == "checkbox" else "")
        known = self.fields.get(name)
        several = [*known, value] if isinstance(known, list) else [known, value]
        self.fields[name] = value if known is None else several

    def handle_data(self, data: str) -> None:
        if self._textarea:
            self.fields[self._textarea] += data
        elif self._select and data.strip():
            self.options[self._select][self._option] = data.strip()

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            # A browser drops the line break that follows the opening tag.
            self.fields[self._textarea] = self.fields[self._textarea].removeprefix("\n")
            self._textarea = ""
        elif tag == "select":
            self._select = ""
        elif tag == "form":
            self.inside = False


_ADD_PAGES: dict[tuple[str, bool], dict[str, Any]] = {}


class Pages:
    def __init__(self, user: User) -> None:
        self.user = user
        self.client = Client()
        self.client.force_login(user)

    # Addresses

    def list_url(self, model: type[Model], **query: Any) -> str:
        return self._url(model, "changelist") + (f"?{urlencode(query)}" if query else "")

    def add_url(self, model: type[Model]) -> str:
        return self._url(model, "add")

    def change_url(self, row: Model) -> str:
        return self._url(type(row), "change", row.pk)

    def delete_url(self, row: Model) -> str:
        return self._url(type(row), "delete", row.pk)

    def history_url(self, row: Model) -> str:
        return self._url(type(row), "history", row.pk)

    def _url(self, model: type[Model], page: str, *args: Any) -> str:
        return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)

    # Looking

    def open_list(self, model: type[Model], **query: Any) -> Any:
        return self.client.get(self.list_url(model, **query))

    def shown(self, model: type[Model], **query: Any) -> list[Any]:
        """The rows of the list."""
        return list(self.open_list(model, **query).context["cl"].result_list)

    def offered(self, model: type[Model], field: str, *, term: str = "") -> list[str]:
        """What the autocomplete of a foreign key suggests."""
        return list(self.suggested(model, field, term=term).values())

    def suggested(self, model: type[Model], field: str, *, term: str = "") -> dict[str, str]:
        """The same by id."""
        query = {
            "app_label": model._meta.app_label,
            "model_name": model._meta.model_name,
            "field_name": field,
            "term": term,
        }
        answer = self.client.get(f"{reverse('admin:autocomplete')}?{urlencode(query)}")
        return {found["id"]: found["text"] for found in answer.json()["results"]}

    def form(self, url: str) -> _Form:
        answer = self.client.get(url)
        assert answer.status_code == 200, (url, answer.status_code)
        return self.parsed(answer)

    def parsed(self, answer: Any) -> _Form:
        """The form that a page shows."""
        parsed = _Form(f"{answer.context['opts'].model_name}_form")
        parsed.feed(answer.content.decode())
        return parsed

    def queries(self, url: str) -> int:
        answer, count = self.counted(url)
        assert answer.status_code == 200, (url, answer.status_code)
        return count

    def counted(self, url: str) -> tuple[Any, int]:
        """The page, and how many queries it took."""
        with CaptureQueriesContext(connection) as seen:
            answer = self.client.get(url)
        return answer, len(seen)

    # Writing

    def save(self, url: str, /, **changes: Any) -> Any:
        """Open the page, change these fields, press Save."""
        return self.client.post(url, {**self._empty_or_present(url), **changes})

    def _empty_or_present(self, url: str) -> dict[str, Any]:
        """The fields of a page. That for adding a row is the same every time, and read once."""
        key = (url, self.user.is_superuser)
        if not url.endswith("/add/"):
            return self.form(url).fields
        if key not in _ADD_PAGES:
            _ADD_PAGES[key] = self.form(url).fields
        return _ADD_PAGES[key]

    def save_row(self, url: str, prefix: str, /, **fields: Any) -> Any:
        """Open the page, add a row to the inline, press Save."""
        found = self.form(url).fields
        total = int(found[f"{prefix}-TOTAL_FORMS"])
        row = {f"{prefix}-{total}-{name}": value for name, value in fields.items()}
        return self.client.post(url, {**found, f"{prefix}-TOTAL_FORMS": total + 1, **row})

    def act(self, model: type[Model], action: str, rows: Iterable[Any], **query: Any) -> Any:
        """Choose rows of the list, run a bulk action on them, follow to the list again."""
        chosen = [getattr(row, "pk", row) for row in rows]
        data = {"action": action, "index": 0, "_selected_action": chosen}
        if action == "delete_selected":
            data = {"action": action, "post": "yes", "_selected_action": chosen}
        return self.client.post(self.list_url(model, **query), data, follow=True)

    def delete(self, row: Model) -> Any:
        return self.client.post(self.delete_url(row), {"post": "yes"}, follow=True)


def errors(answer: Any) -> dict[str, list[str]]:
    """The errors that a refused form shows, by field; those of inlines by prefix and field."""
    assert answer.status_code == 200, (answer.status_code, answer.headers.get("Location"))
    found = {name: list(texts) for name, texts in answer.context["adminform"].form.errors.items()}
    for inline in answer.context["inline_admin_formsets"]:
        for form in inline.formset.forms:
            found |= {f"{form.prefix}-{name}": list(texts) for name, texts in form.errors.items()}
    assert found, "the form was refused without a word"
    return found


def notes(answer: Any) -> str:
    """The messages on top of the page."""
    return " ".join(str(message) for message in answer.context["messages"])


def text(answer: Any) -> str:
    """The page as a reader sees it."""
    return html.unescape(re.sub(r"<[^>]+>", " ", answer.content.decode()))
