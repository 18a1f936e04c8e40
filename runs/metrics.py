"""The only place that reads or writes metric chunks."""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Max

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
    before = {summary.name: summary for summary in known}
    chunks = []
    summaries = []
    for name, column in columns.items():
        summary = before.get(name) or MetricSummary(
            run=run, source=source, name=name, count=0, finite_count=0
        )
        chunks.append(
            MetricChunk(
                run=run,
                source=source,
                name=name,
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
        )
        summary.received_at = received_at
        _extend(summary, column)
        summaries.append(summary)
    MetricChunk.objects.bulk_create(chunks)
    MetricSummary.objects.bulk_create(
        summaries,
        update_conflicts=True,
        unique_fields=["run", "source", "name"],
        update_fields=[
            "count",
            "finite_count",
            "last_step",
            "last_finite",
            "last_nonfinite",
            "minimum",
            "maximum",
            "received_at",
        ],
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


def first_nonfinite(run_id: int, *, before: int, source: str = "", name: str = "") -> int | None:
    """The number of the first batch before `before` in which the metric (or any) was NaN or infinite."""
    chunks = MetricChunk.objects.filter(run=run_id, nonfinite__gt=0, seq__lt=before)
    if name:
        chunks = chunks.filter(source=source, name=name)
    return chunks.order_by("seq").values_list("seq", flat=True).first()


def logged_before(run_id: int, source: str, name: str, *, seq: int) -> bool:
    """Whether the run had logged this metric when batch `seq` was accepted."""
    return MetricChunk.objects.filter(run=run_id, source=source, name=name, seq__lt=seq).exists()


def tail(run_id: int, source: str, name: str, *, count: int, before: int, finite: bool = True) -> list[float]:
    """The last `count` values accepted before batch `before`, oldest first, or as many as there are.

    Finite ones only, unless `finite` is false.
    """
    found: list[float] = []
    if count <= 0:
        return found
    page_size = min(count, _TAIL_PAGE)
    chunks = MetricChunk.objects.filter(run=run_id, source=source, name=name).order_by("-seq")
    # Page by page, not by a cursor: PostgreSQL would first read the whole series for it.
    while len(found) < count:
        page = list(chunks.filter(seq__lt=before).values_list("seq", "values")[:page_size])
        for _seq, packed in page:
            newest_first = reversed(_floats(packed))
            found.extend(filter(math.isfinite, newest_first) if finite else newest_first)
        if len(page) < page_size:
            break
        before = page[-1][0]
    return found[:count][::-1]


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


def _joined(chunks: Iterable[MetricChunk]) -> Series | None:
    steps, timestamps, values = array("q"), array("d"), array("d")
    first: MetricChunk | None = None
    for chunk in chunks:
        first = first or chunk
        steps.extend(_ints(chunk.steps))
        timestamps.extend(_floats(chunk.timestamps))
        values.extend(_floats(chunk.values))
    if first is None:
        return None
    return Series(steps, timestamps, values, first.first_index, first.finite_before)


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
    what was accepted later is not seen (section 4.3).
    """
    summaries = MetricSummary.objects.filter(
        source=source, name=name, finite_count__gt=0, run__project=project_id, run__deleted_at__isnull=True
    )
    found: dict[int, float] = {}
    for summary in summaries.exclude(run=leave_out).order_by("-run").iterator(chunk_size=100):
        value = summary.last_finite if summary.received_at <= as_of else _finite_as_of(summary, as_of)
        if value is not None:
            found[summary.run_id] = value
            if len(found) == limit:
                break
    return found


def _finite_as_of(summary: MetricSummary, as_of: datetime) -> float | None:
    chunks = MetricChunk.objects.filter(
        run=summary.run_id, source=summary.source, name=summary.name, received_at__lte=as_of
    )
    for packed in chunks.order_by("-seq").values_list("values", flat=True).iterator(chunk_size=16):
        for value in reversed(_floats(packed)):
            if math.isfinite(value):
                return value
    return None
