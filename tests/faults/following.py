"""Somebody who follows the feed by long-poll and knows nothing else."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.replay import Told, World, told_by_event
from tests.stories.rest import Rest

WAIT = 5  # seconds
# Loopback needs no proxy.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Follower:
    """Builds up what it is told; `after` has the aliases of every collection as of every number."""

    rest: Rest
    cursor: str = "now"
    world: World = field(default_factory=World)
    told: list[Told] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    after: dict[int, dict[int, dict[str, int]]] = field(default_factory=dict)
    # Seconds from the acceptance of a change to its arrival here.
    lags: list[float] = field(default_factory=list)
    turned_away: int = 0
    problems: list[str] = field(default_factory=list)

    def follow(self, is_over: Callable[[], bool]) -> None:
        """Until it is over, and then to the end of the feed."""
        try:
            while not is_over():
                self.read(wait=WAIT)
            while self.read(wait=0):
                pass
        except (OSError, AssertionError) as error:
            self.problems.append(f"follower: {error!r}")

    def read(self, *, wait: int) -> int:
        """One page; how many events came."""
        page, come_again = self._page(wait)
        arrived = time.time()
        for event in page["results"]:
            self._hear(event, arrived)
        self.cursor = page["next"]
        if come_again:
            self.turned_away += 1
            time.sleep(come_again)
        return len(page["results"])

    def _page(self, wait: int) -> tuple[Any, float]:
        url = f"{self.rest.url}/api/v1/events/?after={self.cursor}&wait={wait}"
        request = urllib.request.Request(url, headers=self.rest.headers)  # noqa: S310
        with _opener.open(request, timeout=WAIT + 60) as answer:
            return json.load(answer), float(answer.headers.get("Retry-After", 0))

    def _hear(self, event: Any, arrived: float) -> None:
        assert not self.numbers or event["sequence"] == self.numbers[-1] + 1, event
        self.numbers.append(event["sequence"])
        self.lags.append(arrived - datetime.fromisoformat(event["received_at"]).timestamp())
        if told := told_by_event(event):
            self.told.append(told)
            self.world.hear(told)
        self.after[event["sequence"]] = {pk: dict(one.aliases) for pk, one in self.world.shelves.items()}
