"""A whole series, thinned where it is to be drawn."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

from django.db.models import QuerySet

from runs.metrics.chunks import Series, count_finite, floats, ints
from runs.models import MetricChunk, MetricSummary, Run


def series(
    run: Run,
    source: str,
    name: str,
    *,
    step_min: int | None = None,
    step_max: int | None = None,
    max_points: int | None = None,
) -> Series | None:
    """The whole series of a metric, or None when it was never logged.

    With `max_points`, thinned to at most so many: each stretch keeps its first, lowest, highest and last
    value and its first that is no number.
    """
    chunks = MetricChunk.objects.filter(run=run, source=source, name=name).order_by("seq")
    if step_min is not None:
        chunks = chunks.filter(max_step__gte=step_min)
    if step_max is not None:
        chunks = chunks.filter(min_step__lte=step_max)
    found = _joined(chunks)
    if found is None:
        exists = MetricSummary.objects.filter(run=run, source=source, name=name).exists()
        return Series(array("q"), array("d"), array("d")) if exists else None
    if step_min is not None or step_max is not None:
        low = -math.inf if step_min is None else step_min
        high = math.inf if step_max is None else step_max
        found = _picked(found, [i for i, step in enumerate(found.steps) if low <= step <= high])
    if max_points is not None and len(found.values) > max_points:
        found = _picked(found, extremes(found.values, max_points))
    return found


def _joined(chunks: QuerySet[MetricChunk]) -> Series | None:
    steps, timestamps, values = array("q"), array("d"), array("d")
    first: tuple[int, int] | None = None
    # No instances: a series may have come in as many calls as it has values.
    columns = ("first_index", "finite_before", "steps", "timestamps", "values")
    for index, finite_before, packed_steps, packed_times, packed_values in chunks.values_list(*columns):
        first = first or (index, finite_before)
        steps.extend(ints(packed_steps))
        timestamps.extend(floats(packed_times))
        values.extend(floats(packed_values))
    return None if first is None else Series(steps, timestamps, values, *first)


def _picked(whole: Series, positions: list[int]) -> Series:
    start = positions[0] if positions else 0
    return Series(
        array("q", [whole.steps[i] for i in positions]),
        array("d", [whole.timestamps[i] for i in positions]),
        array("d", [whole.values[i] for i in positions]),
        whole.first_index + start if positions else 0,
        whole.finite_before + count_finite(whole.values[:start]) if positions else 0,
    )


def extremes(values: Sequence[float], max_points: int) -> list[int]:
    """Positions of what stands out in about `max_points / 5` stretches of equal length."""
    stretches = max(1, max_points // 5)
    total = len(values)
    kept: set[int] = set()
    for number in range(stretches):
        start, end = number * total // stretches, (number + 1) * total // stretches
        kept.update(_landmarks(values, range(start, end))[:max_points])
    return sorted(kept)


def _landmarks(values: Sequence[float], stretch: range) -> list[int]:
    """The last, first, lowest, highest and first non-finite position of a stretch, each once."""
    part = values[stretch.start : stretch.stop]
    if math.isfinite(sum(part)):  # and so is each of them: most stretches, and much quicker
        low, high = part.index(min(part)), part.index(max(part))
        return list(dict.fromkeys([stretch[-1], stretch[0], stretch[low], stretch[high]]))
    finite = [i for i in stretch if math.isfinite(values[i])]
    found = [stretch[-1], stretch[0]]
    if finite:
        found += [min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)]
    if len(finite) < len(stretch):
        found.append(next(i for i in stretch if not math.isfinite(values[i])))
    return list(dict.fromkeys(found))
