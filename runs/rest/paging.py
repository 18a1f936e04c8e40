"""Order and pages of lists."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import Field, Model, Q, QuerySet
from django.utils.translation import gettext as _
from rest_framework import filters, pagination
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

TIMES = frozenset({"created_after", "created_before"})
# Indexes begin with nothing or with these, and go on with the time.
_WITH_TIMES = frozenset({"project"})


class StableOrderingFilter(filters.OrderingFilter):
    """`?ordering=`; the id decides between equals, so that pages neither repeat nor skip.

    The newest are first. In a list between times that is by time, not by id: its index begins right there.
    """

    def get_ordering(self, request: Request, queryset: Any, view: Any) -> Sequence[str]:
        ordering = list(super().get_ordering(request, queryset, view) or ["id"])
        given = request.query_params.get(self.ordering_param)
        if given and not {term.strip() for term in given.split(",")} <= set(ordering):
            raise ValidationError({self.ordering_param: [_("One cannot order by “%s”.") % given[:80]]})
        if ordering == ["-id"] and _is_between_times(request.query_params.keys()):
            ordering = ["-created_at"]
        if not {"id", "-id"} & set(ordering):
            ordering.append("-id" if ordering[0].startswith("-") else "id")
        return ordering


def _is_between_times(asked: Set[str]) -> bool:
    narrowing = asked - {"page_size", "cursor"}
    return bool(narrowing & TIMES) and narrowing <= TIMES | _WITH_TIMES


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place between two rows: the ordered values of the row next to it, and where to go from there."""

    backward: bool
    values: list[Any]

    def written(self) -> str:
        text = json.dumps([self.backward, *self.values], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode()

    @classmethod
    def read(cls, text: str, model: type[Model], ordering: Sequence[str]) -> Cursor:
        """Raises `ValidationError` for what `written` did not write for this order."""
        with foreign_refused():
            backward, *values = json.loads(base64.urlsafe_b64decode(text.encode("ascii")))
            pairs = zip(ordering, values, strict=True)
            return cls(bool(backward), [_read(_field(model, name), value) for name, value in pairs])


@contextmanager
def foreign_refused() -> Iterator[None]:
    """Whatever goes wrong in reading a cursor: it is none of this list."""
    try:
        yield
    except (ValueError, TypeError, OverflowError, RecursionError, DjangoValidationError):
        raise ValidationError(
            {"cursor": [_("This is no cursor of this list; follow “next” from the first page.")]}
        ) from None


class KeysetPagination(pagination.CursorPagination):
    """`next`, `previous`, `results`; each page costs the same, however far one reads.

    DRF's own looks at the first ordered column only: it counts its way through rows that are equal in it,
    and goes round in circles after a thousand of them.
    """

    page_size = 100
    max_page_size = 1000
    page_size_query_param = "page_size"

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        self.url = request.build_absolute_uri()
        self.ordering = [str(name) for name in queryset.query.order_by] or ["-id"]
        size = self.get_page_size(request)
        text = request.query_params.get(self.cursor_query_param)
        cursor = self._read(text, queryset.model) if text else None
        found = self._fetch(queryset, cursor, size + 1)
        backward = cursor is not None and cursor.backward
        self.rows = found[:size][::-1] if backward else found[:size]
        there_are_more = len(found) > size
        self.has_next = bool(found) and (backward or there_are_more)
        self.has_previous = bool(found) and (there_are_more if backward else cursor is not None)
        return self.rows

    def _read(self, text: str, model: type[Model]) -> Cursor:
        return Cursor.read(text, model, self.ordering)

    def _fetch(self, queryset: QuerySet[Any], cursor: Cursor | None, most: int) -> list[Any]:
        found = self._from(queryset, cursor)
        if not queryset.query.select_related:
            return list(found[:most])
        # First which rows, then what is read with them: joins lead a database away from the order's index.
        keys = list(found.values_list("pk", flat=True)[:most])
        rows = queryset.in_bulk(keys)
        if not rows.keys() >= set(keys):  # one was deleted just now: the next takes its place
            return self._fetch(queryset, cursor, most)
        return [rows[key] for key in keys]

    def _from(self, queryset: QuerySet[Any], cursor: Cursor | None) -> QuerySet[Any]:
        if cursor is None:
            return queryset.order_by(*self.ordering)
        names = [_turned(name) for name in self.ordering] if cursor.backward else self.ordering
        return queryset.filter(_beyond(names, cursor.values)).order_by(*names)

    def get_next_link(self) -> str | None:
        return self._link(self.rows[-1], backward=False) if self.has_next else None

    def get_previous_link(self) -> str | None:
        return self._link(self.rows[0], backward=True) if self.has_previous else None

    def _link(self, row: Model, *, backward: bool) -> str:
        written = Cursor(backward, self._values(row)).written()
        return replace_query_param(self.url, self.cursor_query_param, written)

    def _values(self, row: Model) -> list[Any]:
        return [_field(type(row), name).value_to_string(row) for name in self.ordering]

    def get_page_size(self, request: Request) -> int:
        given = request.query_params.get("page_size")
        if given is None:
            return self.page_size
        if not given.isascii() or not given.isdecimal() or not 0 < int(given[:9]) <= self.max_page_size:
            raise ValidationError({"page_size": [_("This must be 1 to %d.") % self.max_page_size]})
        return int(given)

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": link, "previous": link, "results": schema},
        }


def _read(field: Field[Any, Any], text: Any) -> Any:
    value = field.to_python(text)
    if value is None:
        raise ValueError(text)
    # A time that has no equal in UTC cannot be compared.
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def _field(model: type[Model], name: str) -> Any:
    return model._meta.get_field(name.lstrip("-"))


def _turned(name: str) -> str:
    return name.removeprefix("-") if name.startswith("-") else f"-{name}"


def _beyond(ordering: Sequence[str], values: Sequence[Any]) -> Q:
    """Rows after these values in this order: equal in the first columns, beyond in the one that follows."""
    name, value = ordering[0], values[0]
    column, direction = name.lstrip("-"), "lt" if name.startswith("-") else "gt"
    beyond = Q(**{f"{column}__{direction}": value})
    if len(ordering) == 1:
        return beyond
    # The bound would follow from the rest; but where to begin in an index a database sees only in it.
    return Q(**{f"{column}__{direction}e": value}) & (beyond | _beyond(ordering[1:], values[1:]))
