"""The stages of the way that a change takes, and whether each moves.

A stage is red by what waits at it, and by the canary that stopped at it. What lies behind a canary that
stopped is not known.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from django.conf import settings
from django.db import DatabaseError
from django.utils.functional import Promise
from django.utils.translation import get_language, gettext as _, gettext_lazy, ngettext

from automations.health import backlog, trips
from automations.health.backlog import Waiting
from automations.health.trips import Trip
from automations.health.words import spoken
from runs import clock
from runs.models import SweepClock

log = logging.getLogger("tripline.health")

# Changes that wait longer than this for a decision are not being decided.
UNDECIDED = timedelta(seconds=30)
# A sender's lease has a margin already; this is for the sweep to ring.
ABANDONED = timedelta(seconds=30)
UNSWEPT = timedelta(seconds=30)
# What `recent` tells is at most so old.
FRESH_SECONDS = 2.0


class State(StrEnum):
    GREEN = "green"
    RED = "red"
    UNKNOWN = "unknown"
    OFF = "off"


_LABELS: dict[str, Promise] = {
    "accepting": gettext_lazy("Accepting"),
    "deciding": gettext_lazy("Deciding"),
    "delivering": gettext_lazy("Delivering"),
    "receiving": gettext_lazy("Receiving"),
    "sweeping": gettext_lazy("Sweeping"),
}
STAGES = tuple(_LABELS)


@dataclass(frozen=True, slots=True)
class Stage:
    """One of `STAGES`. `age` in seconds is that of what the sentence speaks of, None for nothing."""

    key: str
    state: State
    age: float | None
    sentence: str

    @property
    def label(self) -> str:
        return str(_LABELS[self.key])


@dataclass(frozen=True, slots=True)
class Health:
    """Everything as it was `at` that moment (None: the database does not say)."""

    stages: Sequence[Stage]
    queues: Sequence[Waiting] = ()
    canaries: Sequence[Trip] = ()
    at: datetime | None = None

    @property
    def state(self) -> State:
        """Red when a stage is; green when none is and all are known."""
        states = {stage.state for stage in self.stages}
        return next((state for state in (State.RED, State.UNKNOWN) if state in states), State.GREEN)

    @property
    def stalled(self) -> list[Stage]:
        return [stage for stage in self.stages if stage.state == State.RED]


@dataclass(slots=True)
class _Sight:
    """All that the stages are judged by, read once."""

    now: datetime
    queues: list[Waiting]
    stuck: backlog.Stuck | None
    sweep: SweepClock | None
    canaries: list[Trip]
    canary: Trip | None = None
    stopped_at: str = ""
    by_key: dict[str, Waiting] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.by_key = {waiting.key: waiting for waiting in self.queues}
        self.canary = trips.decisive(self.canaries, self.now)
        self.stopped_at = self.canary.stopped_at if self.canary else ""

    @property
    def canary_age(self) -> float:
        """Seconds since a canary was logged, or since somebody sweeps, if none was."""
        started = self.sweep.started_at if self.sweep else self.now
        newest = self.canaries[0].logged_at if self.canaries else started
        return max(0.0, (self.now - max(newest, started)).total_seconds())

    @property
    def canary_overdue(self) -> bool:
        # One may fall out where two come at the border of an interval. And where beat has stopped, no
        # sweep must be noticed before no canary.
        return self.canary_age > 15 + max(2.5 * settings.TRIPLINE_CANARY_EVERY, longest_without_sweep())

    @property
    def sweep_age(self) -> float | None:
        return max(0.0, (self.now - self.sweep.swept_at).total_seconds()) if self.sweep else None

    @property
    def is_swept(self) -> bool:
        age = self.sweep_age
        return age is not None and age <= longest_without_sweep()


def longest_without_sweep() -> float:
    return max(UNSWEPT.total_seconds(), 3 * settings.TRIPLINE_SWEEP_EVERY)


def recent() -> Health:
    """`look`, at most two seconds ago in this process: cheap enough for every page."""
    language = get_language() or ""
    taken = _taken.get(language)
    if taken is None or time.monotonic() - taken[0] > FRESH_SECONDS:
        taken = _taken[language] = (time.monotonic(), look())
    return taken[1]


_taken: dict[str, tuple[float, Health]] = {}


def forget() -> None:
    """For tests: the next `recent` looks."""
    _taken.clear()


def look() -> Health:
    """How everything is now. A database that does not answer is an answer."""
    try:
        return _judged(_seen(clock.now()))
    except DatabaseError as error:
        log.error("The database does not answer: %s", " ".join(str(error).split()))
        dark = [Stage(key, State.UNKNOWN, None, _("The database does not say.")) for key in STAGES[1:]]
        return Health([Stage("accepting", State.RED, None, _("The database does not answer.")), *dark])


def _seen(now: datetime) -> _Sight:
    return _Sight(
        now=now,
        queues=backlog.everything(now),
        stuck=backlog.stuck(now),
        sweep=SweepClock.objects.first(),
        canaries=trips.newest(now) if settings.TRIPLINE_CANARY_EVERY else [],
    )


def _judged(sight: _Sight) -> Health:
    judges = (_accepting, _deciding, _delivering, _receiving, _sweeping)
    return Health([judge(sight) for judge in judges], sight.queues, sight.canaries, sight.now)


def _accepting(sight: _Sight) -> Stage:
    age = sight.canary_age if sight.canaries else None
    # When nobody sweeps, nobody sends canaries either: that is another stage.
    if settings.TRIPLINE_CANARY_EVERY and sight.canary_overdue and sight.is_swept:
        text = _("No canary could be logged for %(age)s; the log of the workers says why.")
        spent = spoken(sight.canary_age)
        return Stage("accepting", State.RED, sight.canary_age, text % {"age": spent})
    return Stage("accepting", State.GREEN, age, _("The web server and the database answer."))


def _deciding(sight: _Sight) -> Stage:
    lanes, events = sight.by_key["lanes"], sight.by_key["events"]
    count = lanes.count + events.count
    age = max(lanes.age(sight.now), events.age(sight.now))
    if age > UNDECIDED.total_seconds():
        text = ngettext(
            "%(count)d queue has waited %(age)s for a decision.",
            "%(count)d queues wait for a decision, the longest for %(age)s.",
            count,
        )
        return Stage("deciding", State.RED, age, text % {"count": count, "age": spoken(age)})
    if sight.stopped_at == "deciding":
        return _stopped(sight, "deciding", _("The canary of %(age)s ago has not been decided."))
    return Stage("deciding", State.GREEN, age, _("Changes are decided as they come."))


def _delivering(sight: _Sight) -> Stage:
    stuck, abandoned, due = sight.stuck, sight.by_key["abandoned"], sight.by_key["due"]
    age = due.age(sight.now)
    if stuck:
        text = ngettext(
            "%(count)d message has been due for %(age)s, and nobody tries it.",
            "%(count)d messages are due, the first for %(age)s, and nobody tries them.",
            stuck.count,
        )
        age = (sight.now - stuck.since).total_seconds()
        return Stage("delivering", State.RED, age, text % {"count": stuck.count, "age": spoken(age)})
    if abandoned.age(sight.now) > ABANDONED.total_seconds():
        text = ngettext(
            "%(count)d message was being sent, and its sender has not been heard of for %(age)s.",
            "%(count)d messages were being sent, and their senders have not been heard of for %(age)s.",
            abandoned.count,
        )
        age = abandoned.age(sight.now)
        return Stage("delivering", State.RED, age, text % {"count": abandoned.count, "age": spoken(age)})
    if sight.stopped_at == "delivering":
        return _stopped(sight, "delivering", _("The canary of %(age)s ago was decided, and nobody sends it."))
    return Stage("delivering", State.GREEN, age, _("What is due is sent."))


def _receiving(sight: _Sight) -> Stage:
    if not settings.TRIPLINE_CANARY_EVERY:
        return Stage("receiving", State.OFF, None, _("No canary is sent (TRIPLINE_CANARY_EVERY is 0)."))
    canary = sight.canary
    if canary is None:
        return Stage("receiving", State.UNKNOWN, None, _("The first canary is on its way."))
    if sight.stopped_at == "receiving":
        if canary.answer:
            text = _("The canary's inbox answers with status %(status)s.") % {"status": canary.answer}
        else:
            text = _("The canary's inbox does not answer at TRIPLINE_BASE_URL.")
        return Stage("receiving", State.RED, _since(sight, canary), text)
    if sight.stopped_at or sight.canary_overdue:
        text = _("No canary has come so far lately.")
        return Stage("receiving", State.UNKNOWN, _since(sight, canary), text)
    took = spoken(canary.seconds or 0.0)
    return Stage("receiving", State.GREEN, _since(sight, canary), _("The last canary took %s.") % took)


def _sweeping(sight: _Sight) -> Stage:
    age = sight.sweep_age
    if age is None:
        return Stage("sweeping", State.RED, None, _("Nobody has ever swept: is celery beat running?"))
    if not sight.is_swept:
        text = _("Nobody has swept for %(age)s: celery beat, the broker or the workers stand still.")
        return Stage("sweeping", State.RED, age, text % {"age": spoken(age)})
    return Stage("sweeping", State.GREEN, age, _("What a lost message leaves behind is looked for."))


def _stopped(sight: _Sight, key: str, text: str) -> Stage:
    age = _since(sight, sight.canary)
    return Stage(key, State.RED, age, text % {"age": spoken(age)})


def _since(sight: _Sight, canary: Trip | None) -> float:
    return max(0.0, (sight.now - canary.logged_at).total_seconds()) if canary else 0.0
