"""People with a page open, without a browser: what the server answers, and with how many questions."""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from automations.health import stages
from runs.models import User
from tests.pages.browsing import MARKUP

__all__ = ["MARKUP", "Visitor", "assert_only_text"]


class Visitor:
    """Signed in as somebody, or nobody; asks as a browser without scripts does."""

    def __init__(self, user: User | None = None, *, enforce_csrf_checks: bool = False) -> None:
        self.client = Client(enforce_csrf_checks=enforce_csrf_checks)
        if user is not None:
            self.client.force_login(user)

    def sees(self, place: str) -> str:
        """The page, which must be there."""
        answer = self.client.get(place, follow=True)
        assert answer.status_code == 200, (place, answer.status_code)
        return answer.content.decode()

    def status(self, place: str) -> int:
        return int(self.client.get(place).status_code)

    def submits(self, place: str, **fields: Any) -> Any:
        """The answer to a form, not followed."""
        return self.client.post(place, fields)

    def told(self, place: str, **fields: Any) -> list[str]:
        """What flashes up after a form."""
        answer = self.client.post(place, fields, follow=True)
        assert answer.status_code == 200, (place, answer.status_code)
        return [str(message) for message in answer.context["messages"]]

    def queries(self, place: str) -> int:
        """How many statements the page takes, once it is warm."""
        stages.forget()
        self.sees(place)  # the mark in the header is looked up once in two seconds
        with CaptureQueriesContext(connection) as asked:
            self.sees(place)
        return len(asked)


def assert_only_text(page: str) -> None:
    """Whatever names and texts hold, none of it is a tag of the page."""
    assert "<script>document" not in page
    assert "<img src=x" not in page
