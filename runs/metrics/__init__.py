"""The only place that reads or writes metric chunks."""

from runs.metrics.chunks import Series, floats
from runs.metrics.compaction import compact
from runs.metrics.neighbours import latest_finite, latest_finite_since, others_changed
from runs.metrics.pieces import (
    Piece,
    Span,
    acceptances,
    as_one,
    has_nonfinite,
    in_batches,
    logged_before,
    spans,
    tail,
    with_nonfinite,
)
from runs.metrics.series import extremes, series
from runs.metrics.storing import append, last_step

__all__ = [
    "Piece",
    "Series",
    "Span",
    "acceptances",
    "append",
    "as_one",
    "compact",
    "extremes",
    "floats",
    "has_nonfinite",
    "in_batches",
    "last_step",
    "latest_finite",
    "latest_finite_since",
    "logged_before",
    "others_changed",
    "series",
    "spans",
    "tail",
    "with_nonfinite",
]
