"""Pictures that a page brings along, for `charts.js` to draw, and the same numbers to be read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from django.utils.translation import gettext as _

from automations.approach import Course
from automations.events.base import EVENTS, Config, readable
from automations.events.metric_nonfinite import RunMetricNonfinite
from automations.events.metrics import (
    MetricEventType,
    RunMetricThreshold,
    limit,
    metric_name,
    wanted_source,
)
from automations.models import Automation
from automations.windows import Track
from runs import metrics
from runs.metrics import Series
from runs.models import Run, Source
from runs.models.metrics import spelled

# Values of a line, and how long a series may be for its aggregates to be drawn too.
POINTS, _AGGREGATED = 500, 100_000
# Rows on either side of the one that is pointed at.
_ROWS_AROUND = 5


@dataclass(frozen=True, slots=True)
class Line:
    """`values` are numbers, what is none as it is spelled, and None where there is a gap; a faint line stands
    behind the others."""

    label: str
    steps: Sequence[int]
    values: Sequence[float | str | None]
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Pointer:
    """A step that is pointed at."""

    step: int
    label: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Border:
    """A number that the lines are compared with."""

    value: float
    label: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Drawing:
    """`at` is the position in the lines around which they are read, if there is one."""

    title: str
    lines: Sequence[Line]
    marks: Sequence[Pointer]
    thresholds: Sequence[Border]
    at: int | None = None

    @property
    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @property
    def text(self) -> str:
        """What is pointed at and compared with, in words."""
        marks = [f"{mark.label} · {_('step')} {mark.step}" for mark in self.marks]
        borders = [f"{border.label} · {readable(border.value)}" for border in self.thresholds]
        return "; ".join([*marks, *borders])

    @property
    def rows(self) -> list[tuple[int, list[Any], bool]]:
        """The steps around it: (step, each line's value there, whether it is the one)."""
        if self.at is None:
            return []
        steps, last = self.lines[0].steps, self.at + _ROWS_AROUND
        around = range(max(0, self.at - _ROWS_AROUND), min(len(steps), last + 1))
        return [(steps[i], [readable(line.values[i]) for line in self.lines], i == self.at) for i in around]


def of_course(automation: Automation, event_type: MetricEventType[Any], course: Course) -> Drawing:
    """How near a run came to a rule."""
    config, steps = automation.config, list(course.steps)
    compared = event_type.compared_text(config)
    numbers = [None if math.isnan(number) else spelled(number) for number in course.numbers]
    lines = [Line(compared, steps, numbers)]
    if event_type.compares_values and event_type.reach(config) > 1:
        lines.append(Line(str(config["metric"]), steps, list(course.values), faint=True))
    closest = Pointer(steps[course.closest], _("closest"))
    borders = [Border(one, _("threshold")) for one in course.borders]
    return Drawing(compared, lines, [closest], borders, at=course.closest)


# --- Where a rule would have fired ----------------------------------------------------------------


def of_firings(rule: Automation, run: Run, firings: Sequence[Mapping[str, Any]]) -> Drawing | None:
    """A run's watched metric, and the steps of the firings (the data of their reasons); None of a rule on
    no metric."""
    event_type, config = EVENTS[rule.event_type], dict(rule.config)
    if not isinstance(event_type, MetricEventType | RunMetricNonfinite):
        return None
    if not config["metric"] and firings:
        config["metric"] = firings[0]["metric"]  # of a rule on any metric, the one that it was
    series = _series(config, run)
    if series is None:
        return None
    line = _thinned(metric_name(config), series.steps, series.values)
    marks = [Pointer(one["step"], _("would have fired")) for one in firings]
    if not isinstance(event_type, RunMetricThreshold):
        return Drawing(f"{run.name}: {line.label}", [line], marks, [])
    border = Border(limit(config), _("threshold"))
    lines = [line] if event_type.reach(config) == 1 else [*_compared(event_type, config, series), line]
    return Drawing(f"{run.name}: {lines[0].label}", [*lines[:1], *_behind(lines[1:])], marks, [border])


def _series(config: Config, run: Run) -> Series | None:
    """History first, where either counts (R21)."""
    wanted, name = wanted_source(config), metric_name(config)
    sources = [Source.HISTORY, Source.SYSTEM] if wanted == "auto" else [Source(wanted)]
    if not name:
        return None
    found = (metrics.series(run, source, name) for source in sources)
    return next((series for series in found if series is not None), None)


def _compared(event_type: RunMetricThreshold, config: Config, series: Series) -> list[Line]:
    """The aggregates that the threshold is compared with, where the series is not too long for it."""
    if len(series.values) > _AGGREGATED:
        return []
    places = [place for place, value in enumerate(series.values) if math.isfinite(value)]
    track = Track([series.values[place] for place in places])
    numbers = track.aggregates(config["aggregation"], window=config["window"])
    return [
        _thinned(
            event_type.compared_text(config), [series.steps[place] for place in places], numbers, gaps=True
        )
    ]


def _thinned(label: str, steps: Sequence[int], values: Sequence[float], *, gaps: bool = False) -> Line:
    """With `gaps` NaN is where nothing is compared."""
    places = metrics.extremes(values, POINTS) if len(values) > POINTS else range(len(values))
    shown = [None if gaps and math.isnan(values[place]) else spelled(values[place]) for place in places]
    return Line(label, [steps[place] for place in places], shown)


def _behind(lines: Sequence[Line]) -> list[Line]:
    return [replace(line, faint=True) for line in lines]
