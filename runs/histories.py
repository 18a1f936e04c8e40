"""What many runs logged of one metric, read together; as `runs.metrics`, it knows what chunks are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from runs import statements
from runs.metrics import Span
from runs.metrics.chunks import floats, stretch_start, unpack_parts
from runs.models import MetricChunk, MetricSummary

# Rows of one long series that are read at once.
_PAGE = 64


@dataclass(frozen=True, slots=True)
class Standing:
    """What a series amounts to at present; the extremes are those of its finite values, if there are any."""

    run_id: int
    source: str
    count: int
    finite_count: int
    minimum: float | None
    maximum: float | None
    last_step: int


def standings(run_ids: Sequence[int], name: str) -> dict[int, dict[str, Standing]]:
    """Of these runs those that logged the metric, by source."""
    found: dict[int, dict[str, Standing]] = {}
    columns = ("run_id", "source", "count", "finite_count", "minimum", "maximum", "last_step")
    for row in MetricSummary.objects.filter(run__in=run_ids, name=name).order_by().values_list(*columns):
        standing = Standing(*row)
        found.setdefault(standing.run_id, {})[standing.source] = standing
    return found


@dataclass(frozen=True, slots=True)
class Stretch:
    """One batch's values of one metric, and where they lie in the series."""

    span: Span
    values: Sequence[float]


def of_runs(run_ids: Sequence[int], source: str, name: str) -> dict[int, list[Stretch]]:
    """The whole series of several runs, in the order of their batches, in one question."""
    places = ", ".join(["%s"] * len(run_ids))
    statement = f"{_STRETCHES} AND run_id IN ({places}) ORDER BY run_id, seq"
    found: dict[int, list[Stretch]] = {run_id: [] for run_id in run_ids}
    for run_id, *row in statements.rows(statement, [source, name, *run_ids]):
        found[run_id] += _stretches(*row)
    return found


def of_run(run_id: int, source: str, name: str) -> Iterator[list[Stretch]]:
    """One long series, some batches at a time."""
    # By ordinals, and from the stretch's beginning on: between two pages rows may have been joined.
    statement = f'{_STRETCHES} AND run_id = %s AND seq >= %s AND first_index + "count" > %s'
    since = seen = 0
    while rows := statements.rows(
        f"{statement} ORDER BY seq LIMIT %s", [source, name, run_id, since, seen, _PAGE]
    ):
        found = [stretch for _run_id, *row in rows for stretch in _stretches(*row)]
        yield [stretch for stretch in found if stretch.span.first_index >= seen]
        last = found[-1].span
        since, seen = stretch_start(last.seq), last.first_index + last.count


def with_nonfinite(run_ids: Sequence[int], name: str) -> set[int]:
    """Those of the runs that ever logged a NaN or an infinity, of this metric or (without a name) of any."""
    chunks = MetricChunk.objects.filter(run__in=run_ids, nonfinite__gt=0)
    if name:
        chunks = chunks.filter(name=name)
    return set(chunks.order_by().values_list("run_id", flat=True).distinct())


def first_seq(run_id: int, source: str, name: str) -> int | None:
    """The number of the first batch that holds the metric."""
    ((found,),) = statements.rows(_FIRST, [run_id, source, name])
    return cast("int | None", found)


_STRETCHES = (
    'SELECT run_id, seq, received_at, parts, first_index, "count", finite_before, nonfinite, "values"'
    " FROM runs_metricchunk WHERE source = %s AND name = %s"
)
_FIRST = "SELECT min(seq) FROM runs_metricchunk WHERE run_id = %s AND source = %s AND name = %s"


def _stretches(*row: Any) -> Iterator[Stretch]:
    """The batches in a row, in order."""
    seq, received_at, parts, first_index, count, finite_before, nonfinite, packed = row
    values = floats(packed)
    if parts is None:
        accepted = cast(datetime, statements.moment(received_at))
        yield Stretch(Span(seq, accepted, first_index, count, finite_before, count - nonfinite), values)
        return
    start = 0
    for part in unpack_parts(parts):
        end, finite = start + part.count, part.count - part.nonfinite
        span = Span(part.seq, part.received_at, first_index + start, part.count, finite_before, finite)
        yield Stretch(span, values[start:end])
        start, finite_before = end, finite_before + finite
