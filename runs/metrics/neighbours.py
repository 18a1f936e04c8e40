"""What the other runs of a project had logged of a metric, as of a moment (section 4.3)."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from django.db.models import Q, QuerySet

from runs.ingest import INT64_MAX
from runs.metrics.chunks import values_of
from runs.metrics.pieces import newest_first
from runs.models import MetricChunk, MetricSummary, Run

# At most so many runs are looked at at once.
_PAGE = 1000
_MANY = 1000


def latest_finite(
    project_id: int, source: str, name: str, *, as_of: datetime, leave_out: int, limit: int
) -> dict[int, float]:
    """The latest finite value of a metric in each of the `limit` newest runs that had one by then.

    By run, newest first; `leave_out` is a run that does not count. Read as of the acceptance time `as_of`:
    what was accepted, or deleted, later is not seen (section 4.3).
    """
    summaries = _of_other_runs(project_id, source, name, leave_out=leave_out).filter(finite_count__gt=0)
    found: dict[int, float] = {}
    for summary in _newest_first(summaries, page=min(limit, _PAGE), as_of=as_of):
        value = summary.last_finite if summary.received_at <= as_of else _finite_as_of(summary, as_of)
        if value is not None:
            found[summary.run_id] = value
            if len(found) == limit:
                break
    return found


def _newest_first(
    summaries: QuerySet[MetricSummary], *, page: int, as_of: datetime
) -> Iterator[MetricSummary]:
    """Those of runs that were not deleted by then."""
    # Page by page, not by a cursor: PostgreSQL would sort all of the project's runs for it. And the runs in a
    # statement of their own: joined, it looks through all runs that there are.
    before = INT64_MAX
    while rows := list(summaries.filter(run__lt=before).order_by("-run_id")[:page]):
        runs = Run.objects.filter(pk__in=[row.run_id for row in rows])
        deleted = set(runs.filter(deleted_at__lte=as_of).values_list("pk", flat=True))
        yield from (row for row in rows if row.run_id not in deleted)
        if len(rows) < page:
            return
        before = rows[-1].run_id


def _of_other_runs(project_id: int, source: str, name: str, *, leave_out: int) -> QuerySet[MetricSummary]:
    summaries = MetricSummary.objects.filter(project=project_id, source=source, name=name)
    return summaries.exclude(run=leave_out)


def _finite_as_of(summary: MetricSummary, as_of: datetime) -> float | None:
    """Acceptance times rise with the batches' numbers, so a few looks find where `as_of` lies."""
    run_id, source, name = summary.run_id, summary.source, summary.name
    chunks = MetricChunk.objects.filter(run=run_id, source=source, name=name)

    def accepted(seq: int) -> datetime:
        """When the first batch of the first row from `seq` on was; rows may be joined meanwhile."""
        rest = chunks.filter(seq__gte=seq).order_by("seq")
        return next(iter(rest.values_list("received_at", flat=True)[:1]), _LATER)

    last = chunks.order_by("-seq").values_list("seq", flat=True)[0]
    before = bisect_right(range(last + 1), as_of, key=accepted)
    return _last_finite(
        values
        for _seq, moment, values in newest_first(run_id, source, name, before=before, page=1)
        if moment <= as_of
    )


_LATER = datetime.max.replace(tzinfo=UTC)


def _last_finite(newest_first: Iterable[Sequence[float]]) -> float | None:
    return next(
        (value for values in newest_first for value in reversed(values) if math.isfinite(value)), None
    )


def others_changed(
    project_id: int, source: str, name: str, *, leave_out: int, since: datetime, oldest: int = 0
) -> bool:
    """Whether another run of the project logged the metric, or was deleted, after `since`.

    Runs older than `oldest` are not asked.
    """
    summaries = _of_other_runs(project_id, source, name, leave_out=leave_out).filter(run__gte=oldest)
    others = list(summaries.order_by("-run_id").values_list("run", "received_at")[: _MANY + 1])
    # Of so many one has probably changed: who believes it in vain has more work, and the same result.
    if len(others) > _MANY or any(moment > since for _run, moment in others):
        return True
    return Run.objects.filter(pk__in=[run for run, _moment in others], deleted_at__gt=since).exists()


def latest_finite_since(
    project_id: int, source: str, name: str, *, since: datetime, until: datetime, leave_out: int
) -> list[tuple[datetime, int, float | None]]:
    """How `latest_finite` changes after `since`: (when, run, its value from then on), in order.

    None is the value of a run that was deleted.
    """
    summaries = _of_other_runs(project_id, source, name, leave_out=leave_out)
    active = summaries.filter(received_at__gt=since).values("run")
    chunks = MetricChunk.objects.filter(run__in=active, source=source, name=name, received_at__lte=until)
    chunks = chunks.filter(Q(received_at__gt=since) | Q(last_received_at__gt=since))
    found: list[tuple[datetime, int, float | None]] = []
    for run_id, deleted_at, *row in chunks.values_list("run_id", "run__deleted_at", *_VALUES):
        end = until if deleted_at is None else min(until, deleted_at - _MOMENT)
        for _seq, accepted, values in reversed(list(values_of(*row))):
            value = _last_finite([values]) if since < accepted <= end else None
            if value is not None:
                found.append((accepted, run_id, value))
    deleted = Run.objects.filter(project=project_id, deleted_at__gt=since, deleted_at__lte=until)
    found += [(run.deleted_at, run.pk, None) for run in deleted if run.deleted_at]
    return sorted(found, key=lambda change: change[0])


_VALUES = ("seq", "received_at", "parts", "values")
# Those who write differ by that much at least.
_MOMENT = timedelta(microseconds=1)
