"""Places on pages to which upper layers add, so that imports go down only.

A layer adds its parts when it is loaded (`AppConfig.ready`); whoever renders the page asks for them all, in
the order in which they were added: those of the registry before those of the automations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from django.http import HttpRequest
from django.utils.safestring import SafeString

from runs.models import Project, Run, Team

S = TypeVar("S")
R = TypeVar("R")


class Place(Generic[S, R]):
    """Functions of a request and what the page is about; each gives its part of one place.

    What the person may not see is left out by the function itself.
    """

    def __init__(self) -> None:
        self._parts: list[Callable[[HttpRequest, S], R]] = []

    def add(self, part: Callable[[HttpRequest, S], R]) -> Callable[[HttpRequest, S], R]:
        """A decorator."""
        self._parts.append(part)
        return part

    def parts(self, request: HttpRequest, subject: S) -> list[R]:
        return [part(request, subject) for part in self._parts]


# A piece of a page, rendered; "" where there is nothing to show.
Panel: TypeAlias = SafeString


@dataclass(frozen=True, slots=True)
class Tab:
    """A page of a project, in the line of tabs above each of them."""

    key: str
    label: str
    url: str


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that the search box found: what it is, its name, where it belongs, its page."""

    kind: str
    name: str
    place: str
    url: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened to a metric at a step."""

    source: str
    metric: str
    step: int
    label: str
    url: str


@dataclass(frozen=True, slots=True)
class Threshold:
    """A value that a metric is compared with."""

    source: str
    metric: str
    value: float
    label: str
    url: str


@dataclass(frozen=True, slots=True)
class Marks:
    """What is drawn into the charts of a run."""

    marks: Sequence[Mark] = ()
    thresholds: Sequence[Threshold] = ()


# Above and in the columns of the home page.
WELCOME: Place[None, Panel] = Place()
HOME: Place[None, Panel] = Place()
TEAM: Place[Team, Panel] = Place()
RUN: Place[Run, Panel] = Place()
MARKS: Place[Run, Marks] = Place()
# Where something is made that watches a metric of the project, for who may; a metric is added to its query.
BELL: Place[Project, str] = Place()
PROJECT_TABS: Place[Project, Tab] = Place()
# Up to `runs.views.search.LIMIT` hits for what was typed.
SEARCH: Place[str, list[Hit]] = Place()
