"""Writing a batch, and the summaries of its series."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from django.db.models import Max

from runs import statements
from runs.ingest import Column
from runs.metrics.chunks import pack
from runs.models import MetricChunk, MetricSummary, Run
from runs.models.metrics import spelled

T = TypeVar("T")

_CHUNK = (
    "run_id",
    "source",
    "name",
    "seq",
    "received_at",
    "first_index",
    "finite_before",
    "count",
    "nonfinite",
    "min_step",
    "max_step",
    "steps",
    "timestamps",
    "values",
)
_SERIES = ("run_id", "source", "name")
_STATE = (
    "count",
    "finite_count",
    "last_finite",
    "minimum",
    "maximum",
    "last_step",
    "last_nonfinite",
    "received_at",
)
_INSERT_CHUNK = statements.insertion(MetricChunk, _CHUNK)
_WRITE_SUMMARY = statements.insertion(
    MetricSummary, (*_SERIES, "project_id", *_STATE), once=_SERIES, replaced=_STATE
)


def append(run: Run, columns: Mapping[str, Column], *, source: str, seq: int, received_at: datetime) -> None:
    """Store one batch, a chunk per metric, and bring the summaries up to date.

    Called in the transaction that holds the run's lane lock. Three statements, however many there are.
    """
    known, accepted = _standings(run.pk, source, columns), statements.stored(received_at)
    steps, timestamps = _once(_packed_steps), _once(pack)
    chunks, summaries = [], []
    for name, column in columns.items():
        place, before = (run.pk, source, name), known.get(name, _Standing())
        after = before.after(column.values)
        low, high, packed = steps(column.steps)
        nonfinite = len(column.values) - (after.finite_count - before.finite_count)
        bounds = (before.count, before.finite_count, len(column.values), nonfinite, low, high)
        arrays = (packed, timestamps(column.timestamps), pack(column.values))
        chunks.append((*place, seq, accepted, *bounds, *arrays))
        last = "" if math.isfinite(column.values[-1]) else spelled(column.values[-1])
        summaries.append((*place, run.project_id, *after.row(), column.steps[-1], last, accepted))
    statements.run_each(_INSERT_CHUNK, chunks)
    statements.run_each(_WRITE_SUMMARY, summaries)


@dataclass(frozen=True, slots=True)
class _Standing:
    """What a series amounts to so far."""

    count: int = 0
    finite_count: int = 0
    last_finite: float | None = None
    minimum: float | None = None
    maximum: float | None = None

    def row(self) -> tuple[int, int, float | None, float | None, float | None]:
        return self.count, self.finite_count, self.last_finite, self.minimum, self.maximum

    def after(self, added: array[float]) -> _Standing:
        """The same with these values."""
        values = added.tolist()
        # A sum is finite only where all its numbers are.
        finite = values if math.isfinite(sum(values)) else list(filter(math.isfinite, values))
        count, finite_count = self.count + len(values), self.finite_count + len(finite)
        if not finite:
            return replace(self, count=count)
        low, high = min(finite), max(finite)
        low = low if self.minimum is None else min(low, self.minimum)
        high = high if self.maximum is None else max(high, self.maximum)
        return _Standing(count, finite_count, finite[-1], low, high)


def _standings(run_id: int, source: str, names: Collection[str]) -> dict[str, _Standing]:
    places = ", ".join(["%s"] * len(names))
    found = statements.rows(_STANDINGS + f" AND name IN ({places})", [run_id, source, *names])
    return {name: _Standing(*state) for name, *state in found}


_STANDINGS = (
    'SELECT name, "count", finite_count, last_finite, minimum, maximum FROM runs_metricsummary'
    " WHERE run_id = %s AND source = %s"
)


def _packed_steps(steps: array[int]) -> tuple[int, int, bytes]:
    """The lowest and the highest, and all of them."""
    return min(steps), max(steps), pack(steps)


def _once(make: Callable[[Any], T]) -> Callable[[Any], T]:
    """`make` for arrays that columns share: made once for each of them."""
    made: dict[int, T] = {}

    def remembered(numbers: Any) -> T:
        if id(numbers) not in made:
            made[id(numbers)] = make(numbers)
        return made[id(numbers)]

    return remembered


def last_step(run: Run, source: str) -> int:
    """The highest of the metrics' last steps, -1 when nothing was logged."""
    found = MetricSummary.objects.filter(run=run, source=source).aggregate(last=Max("last_step"))["last"]
    return -1 if found is None else int(found)
