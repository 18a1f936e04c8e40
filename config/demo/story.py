"""Telling the example's past: who did what when, in order, and what the rules made of it."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count

from automations import delivery, doorbell, evaluation
from config.demo.hourglass import Hourglass

Deed = Callable[[], object]

_WORK: dict[str, Callable[[int], None]] = {
    "evaluate_lane": evaluation.evaluate_lane,
    "evaluate_event": evaluation.evaluate_event,
    "drain": delivery.drain,
}


@dataclass
class Story:
    """Deeds in the order of their moments; a deed may add others, for moments yet to come."""

    glass: Hourglass
    end: datetime
    _deeds: list[tuple[datetime, int, Deed]] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=count)
    # What was rung for, in that order, each once.
    _rung: dict[tuple[str, int], None] = field(default_factory=dict)

    def at(self, moment: datetime, deed: Deed) -> None:
        heapq.heappush(self._deeds, (min(moment, self.end), next(self._numbers), deed))

    def tell(self) -> None:
        """Everything, each deed at its moment; after each, what workers would do is done."""
        with doorbell.answered_by(self._hear):
            while self._deeds:
                moment, _number, deed = heapq.heappop(self._deeds)
                self.glass.turn_to(moment)
                deed()
                self._work()

    def _hear(self, task: str, argument: int | None) -> None:
        # What waits for no integration may be anybody's, and the example has none of it.
        if argument is not None:
            self._rung[task, argument] = None

    def _work(self) -> None:
        """Until nothing more follows; what must wait for its time is looked at again after the next deed."""
        done: set[tuple[str, int]] = set()
        while todo := [ring for ring in self._rung if ring not in done or ring[0] != "drain"]:
            for task, argument in todo:
                del self._rung[task, argument]
                done.add((task, argument))
                _WORK[task](argument)
