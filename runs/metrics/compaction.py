"""Joining small chunks: a run that logs one value at a time is left with a row for each.

Only below the lane's cursor, where nothing is added or decided any more. What a row holds of each batch
stays readable, so nobody who reads notices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q, QuerySet

from runs import clock
from runs.metrics.chunks import STRETCH, Packed, Part, pack_parts, stretch_start, unpack_parts
from runs.models import Lane, MetricChunk, MetricSummary

# A row is made of neighbours as long as they have so many values together.
MAX_VALUES = 2048
# A lane in which nothing happened for so long is joined up to its cursor, not only in whole stretches.
QUIET = timedelta(hours=1)

# So many lanes are looked at in one call.
LANES = 1000


def compact(*, most: int = 2000) -> int:
    """Join what can be joined, `most` times at most; the number of rows that are there no more.

    The next call goes on where this one stopped.
    """
    quiet_since = clock.now() - QUIET
    due = Lane.objects.filter(
        Q(cursor__gte=F("compacted") + STRETCH) | Q(cursor__gt=F("compacted"), received_at__lt=quiet_since)
    )
    gone = 0
    for run_id, compacted, cursor, received_at in due.order_by("pk").values_list(*_LANE)[:LANES]:
        is_quiet = received_at is not None and received_at < quiet_since
        upto = cursor if is_quiet else stretch_start(cursor + 1) - 1
        for joined in _joined(run_id, compacted, upto):
            if joined == 0:
                return gone  # somebody else is at it
            gone, most = gone + joined, most - 1
            if most == 0:
                return gone
        Lane.objects.filter(pk=run_id, compacted=compacted).update(compacted=upto)
    return gone


_LANE = ("pk", "compacted", "cursor", "received_at")


def _joined(run_id: int, after: int, upto: int) -> Iterator[int]:
    """Join the rows of a run beyond `after`; for each time how many rows are there no more, or 0."""
    for source, name in MetricSummary.objects.filter(run=run_id).values_list("source", "name"):
        rows = MetricChunk.objects.filter(run=run_id, source=source, name=name).order_by("seq")
        for stretch in _stretches(rows, stretch_start(after + 1), upto):
            for group in _neighbours(stretch):
                yield _join(rows.filter(seq__range=(group[0], group[-1])), len(group))


def _stretches(rows: QuerySet[MetricChunk], since: int, upto: int) -> Iterator[Sequence[tuple[int, int]]]:
    """The rows of one stretch after the other: the number, and how many values."""
    found = rows.values_list("seq", "count")
    while first := found.filter(seq__range=(since, upto)).first():
        end = stretch_start(first[0]) + STRETCH - 1
        yield list(found.filter(seq__range=(first[0], min(end, upto))))
        since = end + 1


def _neighbours(stretch: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The numbers of those to be joined: not too many values together."""
    groups: list[list[int]] = []
    room = 0
    for seq, count in stretch:
        if not groups or count > room:
            groups.append([])
            room = MAX_VALUES
        groups[-1].append(seq)
        room -= count
    return [group for group in groups if len(group) > 1]


def _join(rows: QuerySet[MetricChunk], count: int) -> int:
    """Make one row of these, if they are still so many; how many are there no more."""
    found = [_Row(*row) for row in rows.values_list(*_Row.__match_args__)]
    if len(found) != count:
        return 0
    parts = [part for row in found for part in row.batches()]
    whole = {
        "count": sum(row.count for row in found),
        "nonfinite": sum(row.nonfinite for row in found),
        "min_step": min(row.min_step for row in found),
        "max_step": max(row.max_step for row in found),
        "last_received_at": parts[-1].received_at,
        "parts": pack_parts(parts),
        **{name: b"".join(bytes(getattr(row, name)) for row in found) for name in _ARRAYS},
    }
    first, others = found[0], rows.filter(seq__gt=found[0].seq)
    with transaction.atomic():
        # Whoever joins the same rows at this moment changes the first one's count.
        changed = rows.filter(seq=first.seq, count=first.count).update(**whole)
        if changed and others.delete()[0] == count - 1:
            return count - 1
        transaction.set_rollback(True)
    return 0


_ARRAYS = ("steps", "timestamps", "values")


@dataclass(frozen=True, slots=True)
class _Row:
    """As much of a chunk as joining needs."""

    seq: int
    received_at: datetime
    count: int
    nonfinite: int
    min_step: int
    max_step: int
    parts: Packed | None
    steps: Packed
    timestamps: Packed
    values: Packed

    def batches(self) -> Sequence[Part]:
        if self.parts is not None:
            return unpack_parts(self.parts)
        return [Part(self.seq, self.received_at, self.count, self.nonfinite)]
