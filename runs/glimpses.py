"""A glimpse of many series at once: enough for a line of the size of a word.

Whole series may be long and many, so a few rows of each are read, evenly chosen, and no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from runs import statements
from runs.metrics import extremes, floats
from runs.models import MetricSummary, Source

# Batches read of each series, and values kept of them.
BATCHES = 16
POINTS = 40
# Batches read in all: of very many series fewer are read of each, but never fewer than these.
BATCHES_IN_ALL, BATCHES_AT_LEAST = 6000, 5


@dataclass(slots=True)
class Glimpse:
    """Some values of a series, in order, with their ordinals in the whole of it."""

    positions: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


def glimpses(run_ids: Collection[int], names: Collection[str]) -> dict[tuple[int, str], Glimpse]:
    """By run and metric; of history metrics only. One statement, however many there are."""
    found: dict[tuple[int, str], Glimpse] = {}
    rows = _chunks(run_ids, names)
    shares = Counter((run_id, name) for run_id, name, *_rest in rows)
    for run_id, name, first_index, values in rows:
        glimpse, numbers = found.setdefault((run_id, name), Glimpse()), floats(values)
        share = POINTS // shares[run_id, name] + 2
        kept = extremes(numbers, share) if len(numbers) > POINTS else range(len(numbers))
        glimpse.positions += [first_index + position for position in kept]
        glimpse.values += [numbers[position] for position in kept]
    return {key: _thinned(glimpse) for key, glimpse in found.items()}


def _thinned(glimpse: Glimpse) -> Glimpse:
    if len(glimpse.values) <= POINTS:
        return glimpse
    kept = extremes(glimpse.values, POINTS)
    return Glimpse([glimpse.positions[i] for i in kept], [glimpse.values[i] for i in kept])


def _chunks(run_ids: Collection[int], names: Collection[str]) -> list[tuple[int, str, int, bytes]]:
    """Run, metric, ordinal of the first value, and the values: by series, in order."""
    if not run_ids or not names:
        return []
    marks = ", ".join(["%s"] * len(run_ids)), ", ".join(["%s"] * len(names))
    share = BATCHES_IN_ALL // (len(run_ids) * len(names))
    last = max(BATCHES_AT_LEAST, min(BATCHES, share)) - 1
    limits = (last, last, Source.HISTORY.value)
    return statements.rows(_PICKED.format(*marks), [*limits, *run_ids, *names])


# Of each series, the first batch from each of so many evenly spaced numbers of the run's lane on.
_PICKED = (
    "WITH RECURSIVE place(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM place WHERE n < %s)"
    ' SELECT p.run_id, p.name, p.first_index, p."values" FROM runs_metricchunk p WHERE p.id IN'
    " (SELECT (SELECT c.id FROM runs_metricchunk c"
    " WHERE c.run_id = s.run_id AND c.source = s.source AND c.name = s.name"
    " AND c.seq >= l.head * place.n / %s ORDER BY c.seq LIMIT 1)"
    " FROM runs_metricsummary s JOIN runs_lane l ON l.run_id = s.run_id CROSS JOIN place"
    " WHERE s.source = %s AND s.run_id IN ({}) AND s.name IN ({}))"
    " ORDER BY p.run_id, p.name, p.seq"
)


def common_names(run_ids: Collection[int]) -> list[str]:
    """The history metrics of these runs: those first that most of them have."""
    rows = MetricSummary.objects.filter(run__in=run_ids, source=Source.HISTORY).order_by()
    counts: dict[str, int] = {}
    for name in rows.values_list("name", flat=True):
        counts[name] = counts.get(name, 0) + 1
    return sorted(counts, key=lambda name: (-counts[name], name))
