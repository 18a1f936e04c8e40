"""The write verb for metrics."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from runs import cause, ingest, metrics
from runs.errors import named
from runs.models import Lane, MetricBatch, Run
from runs.names import NAME_LENGTH, validate_text
from runs.services import lanes


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to one call: how many values are stored, and whether an earlier call stored them."""

    count: int
    duplicate: bool


def log_metrics(run: Run, call: ingest.Call, *, key: str | None = None) -> Accepted:
    """Store one batch of values, all or nothing; the same `key` again changes nothing.

    Raises `ValidationError` by field.
    """
    _check_key(key)
    columns = None if ingest.needs_last_step(call) else ingest.columns(call, last_step=-1)
    with transaction.atomic():
        lane = lanes.lock(run)
        if key is not None:
            before = MetricBatch.objects.filter(run=run, key=key).values_list("count", flat=True).first()
            if before is not None:
                return Accepted(before, duplicate=True)
        if columns is None:
            columns = ingest.columns(call, last_step=metrics.last_step(run, call.source))
        if columns:
            _store(lane, columns, source=call.source, key=key)
    return Accepted(ingest.count(columns.values()), duplicate=False)


def _store(lane: Lane, columns: dict[str, ingest.Column], *, source: str, key: str | None) -> None:
    run = lane.run
    place = lanes.take(lane)
    metrics.append(run, columns, source=source, seq=place.seq, received_at=place.received_at)
    MetricBatch.objects.create(
        run=run,
        seq=place.seq,
        source=source,
        key=key,
        count=ingest.count(columns.values()),
        names=list(columns),
        received_at=place.received_at,
        cause=cause.current(),
        run_status=run.status,
        run_name=run.name,
        run_user=run.user.username if run.user else "",
    )


def _check_key(key: str | None) -> None:
    if key is None:
        return
    if not 0 < len(key) <= NAME_LENGTH:
        raise ValidationError({"Idempotency-Key": _("A key has 1 to 250 characters.")})
    with named("Idempotency-Key"):
        validate_text(key)
