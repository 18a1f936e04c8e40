"""What a run of the harness says: progress, tables, one line of JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

from tests.faults.harness import Outcome
from tests.faults.killing import Killer
from tests.faults.load import Load
from tests.faults.orders import AFTER, BEFORE, Point
from tests.stories.receiver import CLOSE, HANG

EVERY = 5.0  # seconds between two lines of progress
SHOWN = 20  # of each kind of fault
ANSWERS = {CLOSE: "closed", HANG: "hung"}


class Progress:
    """A line every few seconds."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._next = 0.0

    def __call__(self, killer: Killer, load: Load) -> None:
        elapsed = time.monotonic() - self._began
        if elapsed < self._next:
            return
        self._next = elapsed + EVERY
        print(
            f"{elapsed:6.0f} s   kills {killer.done:,} of {killer.total():,}"
            f"   webhook events {len(load.ledger.accepted):,} of {load.loud_events:,}"
            f"   noop events {load.ledger.silent_count:,} of {load.silent_events:,}"
            f"   undecided {load.waiting.changes:,}   unsent {load.waiting.messages:,}",
            flush=True,
        )


def show(outcome: Outcome) -> None:
    """Tables for people, then one line for programs."""
    _show_kills(outcome.killer)
    _table(["what", "count"], [(name, f"{value:,}") for name, value in _counts(outcome).items()])
    for kind, found in outcome.balance.faults.items():
        for each in found[:SHOWN]:
            print(f"{kind.upper()}: {each}")
        if len(found) > SHOWN:
            print(f"{kind.upper()}: and {len(found) - SHOWN:,} more")
    for line in _remarks(outcome):
        print(line)
    print(json.dumps(summary(outcome)))


def summary(outcome: Outcome) -> dict[str, Any]:
    killer = outcome.killer
    return {
        "shape": outcome.order.shape,
        "seed": outcome.order.seed,
        "good": outcome.is_good,
        "settled": outcome.settled,
        **{name.replace(" ", "_"): value for name, value in _counts(outcome).items()},
        "short": [str(point) for point in killer.short_of()],
        "boundaries": {str(point): killer.kills[point] for point in killer.points()},
        "random": dict(killer.strikes),
        "gave_up": dict(outcome.gave_up),
        "loaded_in": round(outcome.loaded_in, 1),
        "settled_in": round(outcome.settled_in, 1),
        "noop_per_second": round(outcome.ledger.silent_count / outcome.settled_in, 1),
    }


def _show_kills(killer: Killer) -> None:
    rows = [
        (boundary, killer.kills[Point(boundary, BEFORE)], killer.kills[Point(boundary, AFTER)], _who(roles))
        for boundary, roles in sorted(killer.boundaries.items())
    ]
    _table(["killed at the commit of", "before", "after", "who comes there"], rows)
    victims = [(f"{role}, at a commit", killer.by_role[role]) for role in sorted(killer.by_role)]
    victims += [(f"{name}, at random", killer.strikes[name]) for name in sorted(killer.strikes)]
    _table(["killed", "times"], victims)


def _who(roles: Iterable[str]) -> str:
    return ", ".join(sorted(roles))


def _counts(outcome: Outcome) -> dict[str, int]:
    answers = {
        f"answers {ANSWERS.get(status, status)}": count for status, count in sorted(outcome.answers.items())
    }
    return {
        "kills": outcome.killer.done,
        "requests": outcome.ledger.requests,
        "requests resent": outcome.ledger.resent,
        "webhook events": len(outcome.ledger.accepted),
        "noop events": outcome.ledger.silent_count,
        "webhooks received": outcome.letters,
        **answers,
        "duplicates": outcome.balance.duplicates,
        **{kind: len(found) for kind, found in outcome.balance.faults.items()},
    }


def _remarks(outcome: Outcome) -> list[str]:
    found = []
    if not outcome.settled:
        found.append(f"NOT SETTLED: something still waited after {outcome.order.settle_within:g} s.")
    kills = outcome.killer.kills
    found += [f"SHORT: {kills[point]} kills {point}." for point in outcome.killer.short_of()]
    if not outcome.is_complete:
        found.append("INCOMPLETE: the time was over before all that was asked for.")
    for who, times in sorted(outcome.gave_up.items()):
        found.append(f"{who} ended by itself {times} times, and was started again.")
    seconds = outcome.settled_in
    found.append(
        f"{seconds:.0f} s in all; {outcome.ledger.silent_count / seconds:,.0f} noop events/s, "
        f"{len(outcome.ledger.accepted) / seconds:,.1f} webhook events/s, faults included."
    )
    return found


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    lines = [tuple(head), *(tuple(map(str, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print()
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print()
