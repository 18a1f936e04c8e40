"""The only place that reads or writes metric chunks."""

from __future__ import annotations

import math
import sys
from array import array
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, islice, repeat
from typing import Any, TypeAlias, TypeVar, cast

from django.db.models import F, Max, Q, QuerySet

from runs import statements
from runs.ingest import Column
from runs.models import MetricChunk, MetricSummary, Run
from runs.models.metrics import spelled

# At most so many chunks are read at once when a window is filled.
_TAIL_PAGE = 64

T = TypeVar("T")
Packed: TypeAlias = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Series:
    """Consecutive values of one metric of one run, in acceptance order; arrays of one length.

    `first_index` is the ordinal of the first value in the whole series, `finite_before` the number of
    finite values before it. Timestamps are seconds since 1970.
    """

    steps: Sequence[int]
    timestamps: Sequence[float]
    values: Sequence[float]
    first_index: int = 0
    finite_before: int = 0


def _pack(numbers: array[int] | array[float]) -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _ints(packed: Packed) -> array[int]:
    numbers = array("q", bytes(packed))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def floats(packed: Packed) -> array[float]:
    numbers = array("d", bytes(packed))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


unpacked_values = floats

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
_WRITE_SUMMARY = statements.insertion(MetricSummary, (*_SERIES, *_STATE), once=_SERIES, replaced=_STATE)


def append(run: Run, columns: Mapping[str, Column], *, source: str, seq: int, received_at: datetime) -> None:
    """Store one batch, a chunk per metric, and bring the summaries up to date.

    Called in the transaction that holds the run's lane lock. Three statements, however many there are.
    """
    known, accepted = _standings(run.pk, source, columns), statements.stored(received_at)
    steps, timestamps = _once(_packed_steps), _once(_pack)
    chunks, summaries = [], []
    for name, column in columns.items():
        place, before = (run.pk, source, name), known.get(name, _Standing())
        after = before.after(column.values)
        low, high, packed = steps(column.steps)
        nonfinite = len(column.values) - (after.finite_count - before.finite_count)
        bounds = (before.count, before.finite_count, len(column.values), nonfinite, low, high)
        arrays = (packed, timestamps(column.timestamps), _pack(column.values))
        chunks.append((*place, seq, accepted, *bounds, *arrays))
        last = "" if math.isfinite(column.values[-1]) else spelled(column.values[-1])
        summaries.append((*place, *after.row(), column.steps[-1], last, accepted))
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
    return min(steps), max(steps), _pack(steps)


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


def in_batches(
    run_id: int, source: str, names: Collection[str], first: int, last: int
) -> dict[int, dict[str, Series]]:
    """The values of these metrics in the batches from `first` to `last`, by number and name.

    Batches and metrics without any are left out.
    """
    places = ", ".join(["%s"] * len(names))
    found: dict[int, dict[str, Series]] = {}
    if not names:
        return found
    for seq, name, *chunk in statements.rows(
        f"{_IN_BATCHES} AND name IN ({places})", [run_id, source, first, last, *names]
    ):
        found.setdefault(seq, {})[name] = _unpacked(*chunk)
    return found


_IN_BATCHES = (
    'SELECT seq, name, steps, timestamps, "values", first_index, finite_before FROM runs_metricchunk'
    " WHERE run_id = %s AND source = %s AND seq BETWEEN %s AND %s"
)


def _unpacked(
    steps: Packed, timestamps: Packed, values: Packed, first_index: int, finite_before: int
) -> Series:
    return Series(_ints(steps), floats(timestamps), floats(values), first_index, finite_before)


def has_nonfinite(run_id: int, *, seq: int) -> bool:
    """Whether batch `seq` holds a NaN or an infinity, of whatever metric."""
    return MetricChunk.objects.filter(run=run_id, nonfinite__gt=0, seq=seq).exists()


@dataclass(frozen=True, slots=True)
class Piece:
    """The values of one metric in one batch."""

    seq: int
    source: str
    name: str
    series: Series


def with_nonfinite(
    run_id: int, *, up_to: int | None = None, source: str = "", name: str = ""
) -> Iterator[Piece]:
    """Everything in which a metric was NaN or infinite, up to batch `up_to`, in the order of the batches.

    Of any source and of any metric, where none is named.
    """
    chunks = MetricChunk.objects.filter(run=run_id, nonfinite__gt=0)
    if up_to is not None:
        chunks = chunks.filter(seq__lte=up_to)
    if source:
        chunks = chunks.filter(source=source)
    if name:
        chunks = chunks.filter(name=name)
    after = -1
    for page_size in chain((1, 8), repeat(_TAIL_PAGE)):  # who looks for the first one seldom needs more
        rest = chunks.filter(seq__gt=after).order_by("seq")
        page = list(rest.values_list("seq", flat=True).distinct()[:page_size])
        if not page:
            return
        after = page[-1]
        for chunk in rest.filter(seq__lte=after):
            columns = (chunk.steps, chunk.timestamps, chunk.values, chunk.first_index, chunk.finite_before)
            yield Piece(chunk.seq, chunk.source, chunk.name, _unpacked(*columns))


@dataclass(frozen=True, slots=True)
class Span:
    """Where a batch's values of one metric lie in the whole series: the first one's ordinal, and how many;
    the same for the finite ones."""

    seq: int
    received_at: datetime
    first_index: int
    count: int
    finite_before: int
    finite_count: int


def spans(run_id: int, source: str, name: str) -> list[Span]:
    """The batches that hold the metric, in order."""
    chunks = MetricChunk.objects.filter(run=run_id, source=source, name=name).order_by("seq")
    rows = chunks.values_list("seq", "received_at", "first_index", "count", "finite_before", "nonfinite")
    return [Span(*row[:5], finite_count=row[3] - row[5]) for row in rows]


def logged_before(run_id: int, source: str, name: str, *, seq: int) -> bool:
    """Whether the run had logged this metric when batch `seq` was accepted."""
    return MetricChunk.objects.filter(run=run_id, source=source, name=name, seq__lt=seq).exists()


def tail(run_id: int, source: str, name: str, *, count: int, before: int) -> list[float]:
    """The last `count` finite values accepted before batch `before`, oldest first, or all there are."""
    pairs = _newest_first(run_id, source, name, before=before, page_size=min(count, _TAIL_PAGE))
    return [value for value, _moment in islice(pairs, max(count, 0))][::-1]


def acceptances(run_id: int, source: str, name: str, *, count: int, before: int) -> list[datetime]:
    """When each of these values was accepted."""
    pairs = _newest_first(run_id, source, name, before=before, page_size=min(count, _TAIL_PAGE))
    return [moment for _value, moment in islice(pairs, max(count, 0))][::-1]


def _newest_first(
    run_id: int, source: str, name: str, *, before: int, page_size: int
) -> Iterator[tuple[float, datetime]]:
    """The finite values accepted before batch `before`, each with its acceptance, newest first."""
    # Page by page, not by a cursor: PostgreSQL would first read the whole series for it.
    while page_size > 0:
        page = statements.rows(_NEWEST_FIRST, [run_id, source, name, before, page_size])
        for _seq, received_at, packed in page:
            accepted = cast(datetime, statements.moment(received_at))
            for value in filter(math.isfinite, reversed(floats(packed))):
                yield value, accepted
        if len(page) < page_size:
            return
        before = page[-1][0]


_NEWEST_FIRST = (
    'SELECT seq, received_at, "values" FROM runs_metricchunk'
    " WHERE run_id = %s AND source = %s AND name = %s AND seq < %s ORDER BY seq DESC LIMIT %s"
)


def series(
    run: Run,
    source: str,
    name: str,
    *,
    step_min: int | None = None,
    step_max: int | None = None,
    max_points: int | None = None,
) -> Series | None:
    """The whole series of a metric, or None when it was never logged.

    With `max_points`, thinned to at most so many: each stretch keeps its first, lowest, highest and last
    value and its first that is no number.
    """
    chunks = MetricChunk.objects.filter(run=run, source=source, name=name).order_by("seq")
    if step_min is not None:
        chunks = chunks.filter(max_step__gte=step_min)
    if step_max is not None:
        chunks = chunks.filter(min_step__lte=step_max)
    found = _joined(chunks)
    if found is None:
        exists = MetricSummary.objects.filter(run=run, source=source, name=name).exists()
        return Series(array("q"), array("d"), array("d")) if exists else None
    if step_min is not None or step_max is not None:
        low = -math.inf if step_min is None else step_min
        high = math.inf if step_max is None else step_max
        found = _picked(found, [i for i, step in enumerate(found.steps) if low <= step <= high])
    if max_points is not None and len(found.values) > max_points:
        found = _picked(found, extremes(found.values, max_points))
    return found


def _joined(chunks: QuerySet[MetricChunk]) -> Series | None:
    steps, timestamps, values = array("q"), array("d"), array("d")
    first: tuple[int, int] | None = None
    # No instances: a series may have come in as many calls as it has values.
    columns = ("first_index", "finite_before", "steps", "timestamps", "values")
    for index, finite_before, packed_steps, packed_times, packed_values in chunks.values_list(*columns):
        first = first or (index, finite_before)
        steps.extend(_ints(packed_steps))
        timestamps.extend(floats(packed_times))
        values.extend(floats(packed_values))
    return None if first is None else Series(steps, timestamps, values, *first)


def _picked(whole: Series, positions: list[int]) -> Series:
    return Series(
        array("q", [whole.steps[i] for i in positions]),
        array("d", [whole.timestamps[i] for i in positions]),
        array("d", [whole.values[i] for i in positions]),
        whole.first_index,
        whole.finite_before,
    )


def extremes(values: Sequence[float], max_points: int) -> list[int]:
    """Positions of what stands out in about `max_points / 5` stretches of equal length."""
    stretches = max(1, max_points // 5)
    total = len(values)
    kept: set[int] = set()
    for number in range(stretches):
        start, end = number * total // stretches, (number + 1) * total // stretches
        kept.update(_landmarks(values, range(start, end))[:max_points])
    return sorted(kept)


def _landmarks(values: Sequence[float], stretch: range) -> list[int]:
    """The last, first, lowest, highest and first non-finite position of a stretch, each once."""
    finite = [i for i in stretch if math.isfinite(values[i])]
    found = [stretch[-1], stretch[0]]
    if finite:
        found += [min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)]
    if len(finite) < len(stretch):
        found.append(next(i for i in stretch if not math.isfinite(values[i])))
    return list(dict.fromkeys(found))


def latest_finite(
    project_id: int, source: str, name: str, *, as_of: datetime, leave_out: int, limit: int
) -> dict[int, float]:
    """The latest finite value of a metric in each of the `limit` newest runs that had one by then.

    By run, newest first; `leave_out` is a run that does not count. Read as of the acceptance time `as_of`:
    what was accepted, or deleted, later is not seen (section 4.3).
    """
    summaries = _of_other_runs(project_id, source, name, leave_out=leave_out).filter(finite_count__gt=0)
    summaries = summaries.filter(Q(run__deleted_at__isnull=True) | Q(run__deleted_at__gt=as_of))
    found: dict[int, float] = {}
    for summary in summaries.order_by("-run_id").iterator(chunk_size=100):
        value = summary.last_finite if summary.received_at <= as_of else _finite_as_of(summary, as_of)
        if value is not None:
            found[summary.run_id] = value
            if len(found) == limit:
                break
    return found


def _of_other_runs(project_id: int, source: str, name: str, *, leave_out: int) -> QuerySet[MetricSummary]:
    summaries = MetricSummary.objects.filter(source=source, name=name, run__project=project_id)
    return summaries.exclude(run=leave_out)


def _finite_as_of(summary: MetricSummary, as_of: datetime) -> float | None:
    """Acceptance times rise with the batches' numbers, so a few looks find where `as_of` lies."""
    run_id, source, name = summary.run_id, summary.source, summary.name
    chunks = MetricChunk.objects.filter(run=run_id, source=source, name=name)

    def accepted(seq: int) -> datetime:
        """When the first batch from `seq` on was."""
        rest = chunks.filter(seq__gte=seq).order_by("seq")
        return rest.values_list("received_at", flat=True)[0]

    if accepted(0) > as_of:
        return None
    last = chunks.order_by("-seq").values_list("seq", flat=True)[0]
    before = bisect_right(range(last + 1), as_of, key=accepted)
    return next(iter(tail(run_id, source, name, count=1, before=before)), None)


def others_changed(project_id: int, source: str, name: str, *, leave_out: int, since: datetime) -> bool:
    """Whether another run of the project logged the metric, or was deleted, after `since`."""
    summaries = _of_other_runs(project_id, source, name, leave_out=leave_out)
    return summaries.filter(Q(received_at__gt=since) | Q(run__deleted_at__gt=since)).exists()


def latest_finite_since(
    project_id: int, source: str, name: str, *, since: datetime, until: datetime, leave_out: int
) -> list[tuple[datetime, int, float | None]]:
    """How `latest_finite` changes after `since`: (when, run, its value from then on), in order.

    None is the value of a run that was deleted.
    """
    summaries = _of_other_runs(project_id, source, name, leave_out=leave_out)
    active = summaries.filter(received_at__gt=since).values("run")
    span = {"received_at__gt": since, "received_at__lte": until}
    chunks = MetricChunk.objects.filter(run__in=active, source=source, name=name, **span)
    chunks = chunks.filter(Q(run__deleted_at__isnull=True) | Q(run__deleted_at__gt=F("received_at")))
    found: list[tuple[datetime, int, float | None]] = []
    for received_at, run_id, packed in chunks.values_list("received_at", "run_id", "values"):
        newest_first = filter(math.isfinite, reversed(floats(packed)))
        found += [(received_at, run_id, value) for value in islice(newest_first, 1)]
    deleted = Run.objects.filter(project=project_id, deleted_at__gt=since, deleted_at__lte=until)
    found += [(run.deleted_at, run.pk, None) for run in deleted if run.deleted_at]
    return sorted(found, key=lambda change: change[0])
