"""Joining small chunks: a run that logs one value at a time is left with a row for each.

Only below the lane's cursor, where nothing is added or decided any more. What a row holds of each batch
stays readable, so nobody who reads notices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import F, Q, QuerySet

from runs import clock
from runs.metrics.chunks import STRETCH, Part, pack_parts, stretch_start, unpack_parts
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
        for group in _groups(rows.filter(seq__range=(stretch_start(after + 1), upto))):
            yield _join(rows.filter(seq__range=(group[0], group[-1])), len(group))


def _groups(rows: QuerySet[MetricChunk]) -> Iterator[list[int]]:
    """The numbers of neighbours to be joined: of one stretch, and not too many values together."""
    group: list[int] = []
    room = 0
    for seq, count in rows.values_list("seq", "count"):
        if not group or count > room or stretch_start(seq) != stretch_start(group[0]):
            if len(group) > 1:
                yield group
            group, room = [], MAX_VALUES
        group.append(seq)
        room -= count
    if len(group) > 1:
        yield group


@transaction.atomic
def _join(rows: QuerySet[MetricChunk], count: int) -> int:
    """Make one row of these, if they are still so many."""
    first, *others = found = list(rows)
    if len(found) != count:
        return 0
    parts = [part for row in found for part in _parts(row)]
    # Whoever joins the same rows at this moment, changes the first one's count.
    changed = rows.filter(pk=first.pk, count=first.count).update(
        count=sum(row.count for row in found),
        nonfinite=sum(row.nonfinite for row in found),
        min_step=min(row.min_step for row in found),
        max_step=max(row.max_step for row in found),
        last_received_at=parts[-1].received_at,
        parts=pack_parts(parts),
        **{column: b"".join(bytes(getattr(row, column)) for row in found) for column in _ARRAYS},
    )
    if changed:
        rows.filter(seq__gt=first.seq).delete()
    return len(others) if changed else 0


_ARRAYS = ("steps", "timestamps", "values")


def _parts(row: MetricChunk) -> Sequence[Part]:
    """The batches in a row."""
    if row.parts is not None:
        return unpack_parts(row.parts)
    return [Part(row.seq, row.received_at, row.count, row.nonfinite)]
