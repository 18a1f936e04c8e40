"""Runs in the order of a metric's value, page by page."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass
from typing import Any

from django.db.models import Case, F, FilteredRelation, Model, Q, QuerySet, When
from django.utils.translation import gettext_lazy as _

from runs.models import MetricSummary, Source
from runs.rest.paging import Cursor, KeysetPagination, foreign_refused

# What of a metric stands in the table: each with its name in a question.
SHOWN = {"last": _("Last"), "min": _("Min"), "max": _("Max")}
_PREFIX = "metric:"


def value_of(summary: MetricSummary, of: str) -> float | str | None:
    return {"min": summary.minimum, "max": summary.maximum}.get(of, summary.last)


@dataclass(frozen=True, slots=True)
class Ranking:
    """`-metric:val/loss` as an order: runs that have no number there come last, either way."""

    metric: str
    of: str
    is_descending: bool

    @classmethod
    def asked(cls, ordering: str, of: str) -> Ranking | None:
        """None where the order is not one by a metric."""
        name = ordering.removeprefix("-")
        if not name.startswith(_PREFIX):
            return None
        return cls(name.removeprefix(_PREFIX), of, ordering.startswith("-"))

    @staticmethod
    def term(metric: str) -> str:
        return _PREFIX + metric

    def applied(self, runs: QuerySet[Any]) -> QuerySet[Any]:
        """Each with its number, `rank`."""
        mine = Q(summaries__source=Source.HISTORY, summaries__name=self.metric)
        found: QuerySet[Any] = runs.annotate(ranked=FilteredRelation("summaries", condition=mine))
        if self.of == "last":
            is_number = When(ranked__last_nonfinite="", then=F("ranked__last_finite"))
            found = found.annotate(rank=Case(is_number))
        else:
            found = found.annotate(rank=F({"min": "ranked__minimum", "max": "ranked__maximum"}[self.of]))
        return found


class RankedPages(KeysetPagination):
    """Of runs with a `rank`. Equal ones, and those without one, are in the order of their ids."""

    page_size = 50
    max_page_size = 200

    def __init__(self, ranking: Ranking) -> None:
        self.ranking = ranking

    def _read(self, text: str, model: type[Model]) -> Cursor:
        with foreign_refused():
            backward, rank, pk = json.loads(base64.urlsafe_b64decode(text.encode("ascii")))
            number = None if rank is None else float(rank)
            if number is not None and not math.isfinite(number):
                raise ValueError(text)
            return Cursor(bool(backward), [number, int(pk)])

    def _values(self, row: Any) -> list[Any]:
        return [row.rank, row.pk]

    def _fetch(self, queryset: QuerySet[Any], cursor: Cursor | None, most: int) -> list[Any]:
        """Sorted by the numbers alone; whole rows are read of the few that are shown."""
        ranked = self.ranking.applied(queryset)
        ranks = dict(self._from(ranked, cursor).values_list("pk", "rank")[:most])
        rows = queryset.in_bulk(list(ranks))
        found = [rows[pk] for pk in ranks if pk in rows]  # one may have been deleted just now
        for row in found:
            row.rank = ranks[row.pk]
        return found

    def _from(self, queryset: QuerySet[Any], cursor: Cursor | None) -> QuerySet[Any]:
        is_backward = cursor is not None and cursor.backward
        goes_down = self.ranking.is_descending != is_backward
        without = {"nulls_first" if is_backward else "nulls_last": True}
        rank = F("rank").desc(**without) if goes_down else F("rank").asc(**without)
        if cursor is not None:
            queryset = queryset.filter(_beyond(cursor, "lt" if goes_down else "gt"))
        return queryset.order_by(rank, "-pk" if goes_down else "pk")


def _beyond(cursor: Cursor, direction: str) -> Q:
    rank, pk = cursor.values
    next_id, without = Q(**{f"pk__{direction}": pk}), Q(rank__isnull=True)
    if rank is None:
        return (without & next_id) | ~without if cursor.backward else without & next_id
    found = Q(**{f"rank__{direction}": rank}) | (Q(rank=rank) & next_id)
    return found if cursor.backward else found | without
