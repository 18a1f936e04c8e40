"""The write verb for metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models.signals import post_save
from django.utils.translation import gettext as _

from runs import cause, ingest, metrics, statements
from runs.errors import named
from runs.models import Lane, MetricBatch, Run
from runs.names import NAME_LENGTH, validate_text
from runs.services import lanes


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to one call: how many values are stored, and whether an earlier call stored them."""

    count: int
    duplicate: bool


def log_metrics(run: Run, call: ingest.AnyCall, *, key: str | None = None) -> Accepted:
    """Store one batch of values, all or nothing; the same `key` again changes nothing.

    Raises `ValidationError` by field.
    """
    _check_key(key)
    columns = None if ingest.needs_last_step(call) else ingest.columns(call, last_step=-1)
    with transaction.atomic():
        lane = lanes.lock_to_log(run)
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
    values = {
        "run_id": run.pk,
        "seq": place.seq,
        "source": source,
        "key": key,
        "count": ingest.count(columns.values()),
        "names": list(columns),
        "received_at": place.received_at,
        "cause": cause.current(),
        "run_status": run.status,
        "run_name": run.name,
        "run_user": run.user.username if run.user else "",
    }
    pk = statements.insert(_INSERT_BATCH, _stored(values))
    batch = statements.partly(MetricBatch, ("id", *values), (pk, *values.values()), run=run)
    # What `save` says, without what it costs: to those who observe, a row was inserted.
    post_save.send(
        MetricBatch, instance=batch, created=True, raw=False, using=DEFAULT_DB_ALIAS, update_fields=None
    )


_BATCH = [field.attname for field in MetricBatch._meta.concrete_fields if not field.primary_key]
_INSERT_BATCH = statements.insertion(MetricBatch, _BATCH)


def _stored(batch: dict[str, Any]) -> list[Any]:
    moment, names = statements.stored(batch["received_at"]), statements.json(batch["names"])
    converted = batch | {"names": names, "received_at": moment}
    return [converted[name] for name in _BATCH]


def _check_key(key: str | None) -> None:
    if key is None:
        return
    if not 0 < len(key) <= NAME_LENGTH:
        raise ValidationError({"Idempotency-Key": _("A key has 1 to 250 characters.")})
    with named("Idempotency-Key"):
        validate_text(key)
