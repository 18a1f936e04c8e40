"""The batches of a series, as rules and explanations read them."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice, repeat
from typing import Any

from django.db.models import Q, QuerySet

from runs import statements
from runs.ingest import INT64_MAX
from runs.metrics.chunks import (
    SELECT_WHOLE,
    WHOLE,
    Packed,
    Part,
    Series,
    batches_of,
    joined,
    stretch_start,
    unpack_parts,
    values_of,
)
from runs.models import MetricBatch, MetricChunk

# At most so many chunks are read at once when a window is filled.
_TAIL_PAGE = 64


def in_batches(batches: Sequence[MetricBatch], names: Collection[str]) -> dict[int, dict[str, Series]]:
    """The values of these metrics in consecutive batches of one run and source, by number and name.

    Batches and metrics without any are left out.
    """
    if not names:
        return {}
    found = _between(batches, names, since=batches[0].seq)
    if any(_held(batch, names) > found.get(batch.seq, {}).keys() for batch in batches):
        # Somebody has decided them already, and they were joined to the ones before them.
        found = _between(batches, names, since=stretch_start(batches[0].seq))
    return found


def as_one(batches: Sequence[MetricBatch], names: Collection[str]) -> dict[str, Series] | None:
    """The values of these metrics in consecutive batches of one run and source, each metric's in one series.

    None where somebody has decided them already, and they were joined to others.
    """
    found: dict[str, list[Sequence[Any]]] = {}
    for name, *row in _rows_between(batches, names, since=batches[0].seq):
        found.setdefault(name, []).append(row)
    held = Counter(name for batch in batches for name in _held(batch, names))
    if any(len(found.get(name, ())) < count for name, count in held.items()):
        return None
    # Whoever joins batches says so in the first of them.
    if any(row[_PARTS] is not None for rows in found.values() for row in rows):
        return None
    return {name: joined(sorted(rows, key=lambda row: int(row[_SEQ]))) for name, rows in found.items()}


_SEQ, _PARTS = WHOLE.index("seq"), WHOLE.index("parts")


def _held(batch: MetricBatch, names: Collection[str]) -> set[str]:
    return set(batch.names).intersection(names)


def _between(
    batches: Sequence[MetricBatch], names: Collection[str], *, since: int
) -> dict[int, dict[str, Series]]:
    """The same, looked for in rows that begin at `since` or later."""
    first, last = batches[0].seq, batches[-1].seq
    found: dict[int, dict[str, Series]] = {}
    for name, *row in _rows_between(batches, names, since=since):
        for seq, series in batches_of(*row):
            if first <= seq <= last:
                found.setdefault(seq, {})[name] = series
    return found


def _rows_between(
    batches: Sequence[MetricBatch], names: Collection[str], *, since: int
) -> list[tuple[Any, ...]]:
    """The name of the metric, and then `WHOLE`."""
    place = (batches[0].run_id, batches[0].source, since, batches[-1].seq)
    return statements.rows(f"{_BETWEEN} AND name IN ({statements.places(len(names))})", [*place, *names])


_BETWEEN = (
    f"SELECT name, {SELECT_WHOLE} FROM runs_metricchunk"  # noqa: S608 (columns of ours)
    " WHERE run_id = %s AND source = %s AND seq BETWEEN %s AND %s"
)


def has_nonfinite(run_id: int, *, seq: int, last: int | None = None) -> bool:
    """Whether batch `seq`, or one from there to `last`, holds a NaN or an infinity, of whatever metric."""
    until = seq if last is None else last
    diverging = MetricChunk.objects.filter(
        run=run_id, nonfinite__gt=0, seq__range=(stretch_start(seq), until)
    )
    rows = diverging.filter(Q(seq__gte=seq) | Q(parts__isnull=False)).values_list("seq", "parts")
    wanted = range(seq, until + 1)
    return any(each in wanted for first, parts in rows for each in _nonfinite_in(first, parts))


def _nonfinite_in(seq: int, parts: Packed | None) -> set[int]:
    """The batches in a row with something that is not finite."""
    return {seq} if parts is None else {part.seq for part in unpack_parts(parts) if part.nonfinite}


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
    after, last = -1, INT64_MAX if up_to is None else up_to
    for page_size in chain((1, 8), repeat(_TAIL_PAGE)):  # who looks for the first one seldom needs more
        begins = chunks.filter(seq__gt=after).order_by("seq").values_list("seq", flat=True).distinct()
        page = list(begins[:page_size])
        until = page[-1] if len(page) == page_size else last
        yield from _nonfinite_between(chunks, after, until)
        if until == last:
            return
        after = until


def _nonfinite_between(chunks: QuerySet[MetricChunk], after: int, until: int) -> list[Piece]:
    """Of the batches beyond `after`, some of which may lie in a row that begins before it."""
    rows = chunks.filter(seq__range=(stretch_start(after + 1), until))
    rows = rows.filter(Q(seq__gt=after) | Q(parts__isnull=False))
    found = []
    for source, name, *row in rows.values_list("source", "name", *WHOLE):
        diverging = _nonfinite_in(row[0], row[1])
        found += [
            Piece(seq, source, name, series)
            for seq, series in batches_of(*row)
            if seq in diverging and after < seq <= until
        ]
    return sorted(found, key=lambda piece: piece.seq)


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
    found, first_index, finite_before = [], 0, 0
    for seq, received_at, count, nonfinite, parts in chunks.values_list(*_PART, "parts"):
        for part in [Part(seq, received_at, count, nonfinite)] if parts is None else unpack_parts(parts):
            finite = part.count - part.nonfinite
            found.append(Span(part.seq, part.received_at, first_index, part.count, finite_before, finite))
            first_index, finite_before = first_index + part.count, finite_before + finite
    return found


_PART = ("seq", "received_at", "count", "nonfinite")


def logged_before(run_id: int, source: str, name: str, *, seq: int) -> bool:
    """Whether the run had logged this metric when batch `seq` was accepted."""
    return MetricChunk.objects.filter(run=run_id, source=source, name=name, seq__lt=seq).exists()


def tail(run_id: int, source: str, name: str, *, count: int, before: int, each: int = 1) -> list[float]:
    """The last `count` finite values accepted before batch `before`, oldest first, or all there are.

    `each`: how many values a batch is thought to have, so that not many more are read.
    """
    found = _latest(run_id, source, name, count=count, before=before, page=-(-count // each))
    return [value for value, _moment in found]


def acceptances(run_id: int, source: str, name: str, *, count: int, before: int) -> list[datetime]:
    """When each of these values was accepted."""
    found = _latest(run_id, source, name, count=count, before=before, page=count)
    return [moment for _value, moment in found]


def _latest(
    run_id: int, source: str, name: str, *, count: int, before: int, page: int
) -> list[tuple[float, datetime]]:
    if count <= 0:
        return []
    pairs = (
        (value, accepted)
        for seq, accepted, values in newest_first(run_id, source, name, before=before, page=page)
        if seq < before
        for value in filter(math.isfinite, reversed(values))
    )
    return list(islice(pairs, count))[::-1]


def newest_first(
    run_id: int, source: str, name: str, *, before: int, page: int
) -> Iterator[tuple[int, datetime, array[float]]]:
    """The batches in all rows that begin before `before`, newest first: number, acceptance, values.

    About `page` of them are read at once.
    """
    # Page by page, not by a cursor: PostgreSQL would first read the whole series for it. The first page is
    # a small one, because each of its rows may hold all that is wanted.
    seen = INT64_MAX
    for size in chain((min(page, 8),), repeat(min(max(page, 8), _TAIL_PAGE))):
        rows = statements.rows(_NEWEST_FIRST, [run_id, source, name, before, size])
        for row in rows:
            for seq, accepted, values in values_of(*row):
                # Between two pages rows may have been joined.
                if seq < seen:
                    yield seq, accepted, values
        if len(rows) < size:
            return
        before = seen = rows[-1][0]


_NEWEST_FIRST = (
    'SELECT seq, received_at, parts, "values" FROM runs_metricchunk'
    " WHERE run_id = %s AND source = %s AND name = %s AND seq < %s ORDER BY seq DESC LIMIT %s"
)
