"""The only place that reads or writes metric chunks."""

from __future__ import annotations

import math
import sys
from array import array
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice, repeat

from django.db.models import F, Max, Q, QuerySet

from runs.ingest import Column
from runs.models import MetricChunk, MetricSummary, Run
from runs.models.metrics import spelled

# At most so many chunks are read at once when a window is filled.
_TAIL_PAGE = 64


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


def _ints(packed: bytes | memoryview) -> array[int]:
    numbers = array("q", bytes(packed))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _floats(packed: bytes | memoryview) -> array[float]:
    numbers = array("d", bytes(packed))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def append(run: Run, columns: Mapping[str, Column], *, source: str, seq: int, received_at: datetime) -> None:
    """Store one batch, a chunk per metric, and bring the summaries up to date.

    Called in the transaction that holds the run's lane lock.
    """
    known = MetricSummary.objects.filter(run=run, source=source, name__in=columns)
    summaries = {summary.name: summary for summary in known}
    chunks = []
    for name, column in columns.items():
        summary = summaries.setdefault(
            name, MetricSummary(run=run, source=source, name=name, count=0, finite_count=0)
        )
        chunks.append(_chunk(summary, column, seq=seq, received_at=received_at))
        summary.received_at = received_at
        _extend(summary, column)
    MetricChunk.objects.bulk_create(chunks)
    MetricSummary.objects.bulk_create(
        summaries.values(),
        update_conflicts=True,
        unique_fields=["run", "source", "name"],
        update_fields=_SUMMARY_STATE,
    )


_SUMMARY_STATE = [
    "count",
    "finite_count",
    "last_step",
    "last_finite",
    "last_nonfinite",
    "minimum",
    "maximum",
    "received_at",
]


def _chunk(summary: MetricSummary, column: Column, *, seq: int, received_at: datetime) -> MetricChunk:
    """The next chunk of a series that stands as its summary says."""
    return MetricChunk(
        run_id=summary.run_id,
        source=summary.source,
        name=summary.name,
        seq=seq,
        first_index=summary.count,
        finite_before=summary.finite_count,
        count=len(column.values),
        nonfinite=sum(not math.isfinite(value) for value in column.values),
        min_step=min(column.steps),
        max_step=max(column.steps),
        received_at=received_at,
        steps=_pack(column.steps),
        timestamps=_pack(column.timestamps),
        values=_pack(column.values),
    )


def _extend(summary: MetricSummary, column: Column) -> None:
    last = column.values[-1]
    finite = [value for value in column.values if math.isfinite(value)]
    summary.count += len(column.values)
    summary.finite_count += len(finite)
    summary.last_step = column.steps[-1]
    summary.last_nonfinite = "" if math.isfinite(last) else str(spelled(last))
    if finite:
        low, high = min(finite), max(finite)
        summary.last_finite = finite[-1]
        summary.minimum = low if summary.minimum is None else min(low, summary.minimum)
        summary.maximum = high if summary.maximum is None else max(high, summary.maximum)


def last_step(run: Run, source: str) -> int:
    """The highest of the metrics' last steps, -1 when nothing was logged."""
    found = MetricSummary.objects.filter(run=run, source=source).aggregate(last=Max("last_step"))["last"]
    return -1 if found is None else int(found)


def in_batch(run_id: int, source: str, names: Collection[str], *, seq: int) -> dict[str, Series]:
    """The values of these metrics in one batch, by name; metrics that are not in it are left out."""
    chunks = MetricChunk.objects.filter(run=run_id, source=source, name__in=names, seq=seq)
    return {chunk.name: _of(chunk) for chunk in chunks}


def _of(chunk: MetricChunk) -> Series:
    return Series(
        _ints(chunk.steps),
        _floats(chunk.timestamps),
        _floats(chunk.values),
        chunk.first_index,
        chunk.finite_before,
    )


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
            yield Piece(chunk.seq, chunk.source, chunk.name, _of(chunk))


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
    chunks = MetricChunk.objects.filter(run=run_id, source=source, name=name).order_by("-seq")
    # Page by page, not by a cursor: PostgreSQL would first read the whole series for it.
    while page_size > 0:
        page = list(chunks.filter(seq__lt=before).values_list("seq", "received_at", "values")[:page_size])
        for _seq, received_at, packed in page:
            for value in filter(math.isfinite, reversed(_floats(packed))):
                yield value, received_at
        if len(page) < page_size:
            return
        before = page[-1][0]


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
        found = _picked(found, _extremes(found.values, max_points))
    return found


def _joined(chunks: QuerySet[MetricChunk]) -> Series | None:
    steps, timestamps, values = array("q"), array("d"), array("d")
    first: tuple[int, int] | None = None
    # No instances: a series may have come in as many calls as it has values.
    columns = ("first_index", "finite_before", "steps", "timestamps", "values")
    for index, finite_before, packed_steps, packed_times, packed_values in chunks.values_list(*columns):
        first = first or (index, finite_before)
        steps.extend(_ints(packed_steps))
        timestamps.extend(_floats(packed_times))
        values.extend(_floats(packed_values))
    return None if first is None else Series(steps, timestamps, values, *first)


def _picked(whole: Series, positions: list[int]) -> Series:
    return Series(
        array("q", [whole.steps[i] for i in positions]),
        array("d", [whole.timestamps[i] for i in positions]),
        array("d", [whole.values[i] for i in positions]),
        whole.first_index,
        whole.finite_before,
    )


def _extremes(values: Sequence[float], max_points: int) -> list[int]:
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
        newest_first = filter(math.isfinite, reversed(_floats(packed)))
        found += [(received_at, run_id, value) for value in islice(newest_first, 1)]
    deleted = Run.objects.filter(project=project_id, deleted_at__gt=since, deleted_at__lte=until)
    found += [(run.deleted_at, run.pk, None) for run in deleted if run.deleted_at]
    return sorted(found, key=lambda change: change[0])
