"""What other runs had logged as of any moment (section 4.3), for very many moments.

`runs.metrics.latest_finite` answers for one moment, live. Here the newest runs are held with the acceptance
times of their values, each read once, so that no moment costs a question.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from automations.batches import Baseline
from runs import histories
from runs.models import MetricSummary

# Summaries, and courses of runs, that are read at once.
_SUMMARIES = 500
_COURSES = 20


@dataclass(slots=True)
class Course:
    """When a run's latest finite value changed, and to what; times in seconds since 1970."""

    times: list[float]
    values: list[float]

    def at(self, moment: float) -> float | None:
        place = bisect_right(self.times, moment)
        return self.values[place - 1] if place else None


@dataclass(slots=True)
class _Other:
    """A run that logged the metric. From `until` on, its last acceptance, its value is `last`."""

    run_id: int
    last: float
    until: float
    deleted_at: float
    course: Course | None = None


class Others:
    """All runs of a project that logged a finite value of a metric, the newest first."""

    def __init__(self, project_id: int, source: str, name: str) -> None:
        self._source = source
        self._name = name
        rows = MetricSummary.objects.filter(source=source, name=name, run__project=project_id)
        self._rows = rows.filter(finite_count__gt=0).order_by("-run_id")
        self._found: list[_Other] = []
        self._places: dict[int, int] = {}
        self._all_read = False
        # For each of the first ones when it or one before it logged for the first time, turned around:
        # it rises, so that those who had not yet are stepped over at once.
        self._earliest: list[float] = []

    def at(self, when: float, *, leave_out: int, window: int) -> Baseline:
        """The latest finite value of each of the `window` newest other runs that had one by then."""
        found: dict[int, float] = {}
        place = self._first_that_may_count(when)
        while len(found) < window and (place < len(self._found) or self._read_more()):
            other = self._found[place]
            if other.run_id != leave_out and other.deleted_at > when:
                value = other.last if other.until <= when else self._course(place).at(when)
                if value is not None:
                    found[other.run_id] = value
            place += 1
        return found

    def times_of(self, run_id: int) -> Sequence[float]:
        """When the run's finite values were accepted."""
        while run_id not in self._places and self._read_more():
            pass
        return self._course(self._places[run_id]).times

    def _first_that_may_count(self, when: float) -> int:
        for other in self._found[len(self._earliest) :]:
            if other.course is None:
                break
            first = other.course.times[0] if other.course.times else math.inf
            self._earliest.append(max(-first, self._earliest[-1] if self._earliest else -math.inf))
        return bisect_left(self._earliest, -when)

    def _read_more(self) -> bool:
        if self._all_read:
            return False
        rows = self._rows.filter(run__lt=self._found[-1].run_id) if self._found else self._rows
        columns = ("run_id", "last_finite", "received_at", "run__deleted_at")
        page = list(rows.values_list(*columns)[:_SUMMARIES])
        self._all_read = len(page) < _SUMMARIES
        for run_id, last, received_at, deleted_at in page:
            gone = deleted_at.timestamp() if deleted_at else math.inf
            self._places[run_id] = len(self._found)
            self._found.append(_Other(run_id, last, received_at.timestamp(), gone))
        return bool(page)

    def _course(self, place: int) -> Course:
        if self._found[place].course is None:
            # Its neighbours are needed next: of older runs' values the same is asked, a little earlier.
            near = [one for one in self._found[place : place + _COURSES] if one.course is None]
            read = histories.of_runs([one.run_id for one in near], self._source, self._name)
            for one in near:
                one.course = _course(read[one.run_id])
        found = self._found[place].course
        assert found is not None  # noqa: S101  (read above)
        return found


def _course(stretches: Sequence[histories.Stretch]) -> Course:
    course = Course([], [])
    for stretch in stretches:
        if stretch.span.finite_count:
            course.times.append(stretch.span.received_at.timestamp())
            course.values.append(next(filter(math.isfinite, reversed(stretch.values))))
    return course
