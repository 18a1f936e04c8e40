"""Pages of a long list that cost the same, however far one reads: by the newest, by one unique number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest

M = TypeVar("M", bound=Model)

SIZE = 50


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """Some rows of a list, the newest first; `older` and `newer` are query strings, "" at the ends."""

    rows: QuerySet[M]
    older: str
    newer: str


def page(request: HttpRequest, queryset: QuerySet[M], *, by: str = "pk", size: int = SIZE) -> Page[M]:
    """The page that `?before=` or `?after=` asks for, a number of the list's column `by`; else the first.

    The rows are a queryset once more, so that it can be told what to read with them.
    """
    before, after = number(request.GET.get("before")), number(request.GET.get("after"))
    if before is None and after is not None:
        numbers = _numbers(queryset.filter(**{f"{by}__gt": after}).order_by(by), by, size)[::-1]
        is_first, is_last = len(numbers) <= size, False
        numbers = numbers[-size:]
    else:
        older = queryset if before is None else queryset.filter(**{f"{by}__lt": before})
        numbers = _numbers(older.order_by(f"-{by}"), by, size)
        is_first, is_last = before is None, len(numbers) <= size
        numbers = numbers[:size]
    rows = queryset.filter(**{f"{by}__in": numbers}).order_by(f"-{by}")
    return Page(
        rows,
        older="" if is_last or not numbers else _query(request, before=numbers[-1]),
        newer="" if is_first or not numbers else _query(request, after=numbers[0]),
    )


def _numbers(queryset: QuerySet[Any], by: str, size: int) -> list[int]:
    """One more than a page holds, to see whether there is another."""
    return list(queryset.values_list(by, flat=True)[: size + 1])


def number(text: str | None) -> int | None:
    """A number that a person may have written by hand; None for everything else."""
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 19 else None


def _query(request: HttpRequest, **place: int) -> str:
    query = request.GET.copy()
    for name in ("before", "after"):
        query.pop(name, None)
    for name, value in place.items():
        query[name] = str(value)
    return f"?{query.urlencode()}"
