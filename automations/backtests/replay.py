"""What a rule would have done on one run: what holds, then the filters, loops and the limit, as live."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from automations.backtests.limits import Limit
from automations.events.runs import RunEventType, RunFacts
from automations.firing import MAX_DEPTH
from automations.models import Automation
from automations.verdicts import Reason
from runs import cause
from runs.models import Run

# Firings of one run that are described, by default; the others are counted.
DESCRIBED = 100


@dataclass(frozen=True, slots=True)
class Rule:
    """An unsaved automation, checked as one to be saved, and what is asked again and again of it."""

    automation: Automation
    event_type: RunEventType[Any]
    config: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """What must be known of a change as of its acceptance."""

    seq: int
    received_at: datetime
    cause: str
    facts: RunFacts


@dataclass(frozen=True, slots=True)
class Match:
    """A change on which the condition holds, at these hits; nothing is filtered or limited yet."""

    seq: int
    hits: Sequence[int]
    describe: Callable[[int], Reason]


@dataclass(frozen=True, slots=True)
class Firing:
    seq: int
    received_at: datetime
    reason: Reason

    @property
    def step(self) -> int | None:
        """The value's step; a change of status has none."""
        return self.reason.data.get("step")

    @property
    def value(self) -> float | str | None:
        return self.reason.data.get("value")


@dataclass(slots=True)
class Replay:
    """One run: the firings in order (the first ones of very many), how many there are, how many matches the
    limit held back; and without any, why not."""

    run: Run
    firings: list[Firing] = field(default_factory=list)
    count: int = 0
    held_back: int = 0
    reason: Reason | None = None
    # Of the watched metric, where it was logged.
    last_step: int | None = None

    @property
    def first(self) -> Firing | None:
        return self.firings[0] if self.firings else None


def settle(rule: Rule, replay: Replay, matches: Iterable[tuple[Match, Change]], *, described: int) -> Replay:
    """Let those matches fire that would have, in the order of their acceptance."""
    limit = Limit(rule.automation.period)
    for match, change in matches:
        stopped = _stopped(rule, change)
        if stopped is not None:
            replay.reason = replay.reason or stopped
            continue
        bucket = rule.event_type.limit_bucket(change.facts) if rule.automation.per_status else ""
        firing = limit.admit(len(match.hits), moment=change.received_at, bucket=bucket)
        for hit in match.hits[: min(firing, described - len(replay.firings))]:
            replay.firings.append(Firing(change.seq, change.received_at, match.describe(hit)))
        replay.count += firing
        replay.held_back += len(match.hits) - firing
    if replay.count:
        replay.reason = None
    return replay


def _stopped(rule: Rule, change: Change) -> Reason | None:
    refused = rule.event_type.refused(rule.config, change.facts)
    if refused is not None:
        return refused.reason
    if cause.depth(change.cause) >= MAX_DEPTH:
        return Reason("loop", {"count": 1, "depth": MAX_DEPTH})
    return None
