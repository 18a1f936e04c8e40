"""Pictures that a page brings along, for `charts.js` to draw, and the same numbers to be read."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.utils.translation import gettext as _

from automations.approach import Course
from automations.events.base import readable
from automations.events.metrics import MetricEventType
from automations.models import Automation
from runs.models.metrics import spelled

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
