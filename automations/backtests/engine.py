"""An unsaved rule over the stored runs of its scope, the newest run first.

Every run is decided by the evaluators that decide live, and each thing that it reads is read as of the
acceptance of the change. So what a backtest says is what would have been recorded, had the rule been
active all the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cached_property

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from automations.backtests.kinds import Kind, StatusKind
from automations.backtests.nonfinite import NonfiniteKind
from automations.backtests.replay import DESCRIBED, Replay, Rule
from automations.backtests.windowed import WindowedKind
from automations.events.base import EVENTS
from automations.events.metric_nonfinite import RunMetricNonfinite
from automations.events.metrics import MetricEventType
from automations.events.runs import RunEventType, RunStatusEvent
from automations.models import Automation
from runs.models import Run

# Runs that are looked at together; few at first, so that there is something to see.
_FIRST_PAGE, _PAGE = 10, 50

_KINDS: list[tuple[type[RunEventType], type[Kind]]] = [
    (RunStatusEvent, StatusKind),
    (RunMetricNonfinite, NonfiniteKind),
    (MetricEventType, WindowedKind),
]


def _nothing() -> None:
    """Nobody asks how far it is."""


class Replays:
    """Replays a checked rule (`services.rules.check_automation`) over the runs created since a time.

    `beat` is called many times a second while it works, and may end it by raising. Raises
    `ValidationError` for a rule of a kind that cannot be replayed.
    """

    def __init__(
        self,
        automation: Automation,
        *,
        since: datetime,
        limit: int,
        described: int = DESCRIBED,
        beat: Callable[[], None] = _nothing,
    ) -> None:
        self.automation = automation
        self.since = since
        self.limit = limit
        self._kind = _kind(automation)(_rule(automation), described=described, beat=beat)

    @property
    def runs(self) -> QuerySet[Run]:
        """The runs of the scope in the span, newest first."""
        return runs_of(self.automation).filter(created_at__gte=self.since).order_by("-pk")

    def of(self, run: Run) -> Replay:
        """One run, of any time."""
        (found,) = self._kind.replay([run])
        return found

    @cached_property
    def total(self) -> int:
        """How many runs will be looked at."""
        return len(self._numbers)

    @cached_property
    def _numbers(self) -> list[int]:
        return list(self.runs.values_list("pk", flat=True)[: self.limit])

    def __iter__(self) -> Iterator[Replay]:
        start, size = 0, _FIRST_PAGE
        while start < self.total:
            numbers = self._numbers[start : start + size]
            runs = Run.objects.filter(pk__in=numbers).select_related("project__team").order_by("-pk")
            yield from self._kind.replay(list(runs))
            start, size = start + size, _PAGE


def runs_of(automation: Automation) -> QuerySet[Run]:
    """All runs of the scope that are not deleted."""
    column = {"project": "project", "team": "project__team", "organization": "project__team__organization"}
    scope = {column[automation.scope_type]: automation.scope}
    return Run.objects.filter(deleted_at__isnull=True, **scope)


def _rule(automation: Automation) -> Rule:
    event_type = EVENTS[automation.event_type]
    assert isinstance(event_type, RunEventType)  # noqa: S101  (`_kind` refuses others)
    return Rule(automation, event_type, dict(automation.config))


def _kind(automation: Automation) -> type[Kind]:
    event_type = EVENTS[automation.event_type]
    for of_type, kind in _KINDS:
        if isinstance(event_type, of_type):
            return kind
    can = ", ".join(f"“{one.label}”" for one in EVENTS if isinstance(one, RunEventType))
    raise ValidationError(
        {"event": _("Only rules on runs can be tried on stored runs: %(can)s.") % {"can": can}}
    )
