"""Reading metric batches the short way: one for every call of every client."""

from __future__ import annotations

import json

from runs import statements
from runs.models import MetricBatch

_FIELDS = (
    "id",
    "seq",
    "source",
    "count",
    "cause",
    "run_status",
    "run_name",
    "run_user",
    "names",
    "received_at",
)
_BETWEEN = (
    'SELECT id, seq, source, "count", cause, run_status, run_name, run_user, names, received_at'
    " FROM runs_metricbatch WHERE run_id = %s AND seq > %s AND seq <= %s ORDER BY seq"
)


def between(run_id: int, after: int, upto: int) -> list[MetricBatch]:
    """A run's batches with numbers beyond `after` up to `upto`, in order."""
    return [
        statements.partly(
            MetricBatch,
            ("run_id", *_FIELDS),
            (run_id, *others, json.loads(names), statements.moment(received_at)),
        )
        for *others, names, received_at in statements.rows(_BETWEEN, [run_id, after, upto])
    ]
