"""Who dies next, and where: every commit boundary in turn, and anybody at any moment between."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.orders import MOMENTS, Point
from tests.faults.shapes import Shape
from tests.upserver import wait_for

# Seconds to wait, while everything is up, for somebody to come to a boundary.
PATIENCE = 4.0
TICK = 0.1
DISCOVERY = 12.0
# Of the kills at random moments: the part that waits for what was hit before to get up.
UP_FIRST = 0.8
# The load must get on between two faults; it is not waited for longer than this.
PACE_WITHIN = 20.0


@dataclass(frozen=True)
class Plan:
    """How many faults: in all, at each moment of each boundary, and of each kind at random."""

    kills: int
    per_point: int
    per_strike: int
    # Only boundaries in whose names one of these is found; all when there are none.
    only: tuple[str, ...] = ()

    def wants(self, boundary: str) -> bool:
        return not self.only or any(part in boundary for part in self.only)


@dataclass
class Killer:
    """Carries out a plan against a shape under load."""

    shape: Shape
    plan: Plan
    chance: random.Random
    progress: Callable[[], float]
    deadline: float
    boundaries: dict[str, set[str]] = field(default_factory=dict)
    kills: Counter[Point] = field(default_factory=Counter)
    by_role: Counter[str] = field(default_factory=Counter)
    strikes: Counter[str] = field(default_factory=Counter)
    # Points that nobody came to in time: they are waited for beside the others, too.
    misses: Counter[Point] = field(default_factory=Counter)
    # Boundaries that needed a restart.
    seldom: set[str] = field(default_factory=set)

    @property
    def done(self) -> int:
        return self.kills.total() + self.strikes.total()

    def run(self) -> None:
        """Discover, then kill until the plan is done, or the time."""
        self.shape.orders.forget_seen()
        self._discover()
        while time.monotonic() < self.deadline and (fault := self._next()) is not None:
            self._keep_pace()
            fault()

    # --- What to do next --------------------------------------------------------------------------

    def _discover(self) -> None:
        """Let the load come to the boundaries there are; those of a start are met at the first restart."""
        time.sleep(min(DISCOVERY, max(0.0, self.deadline - time.monotonic()) / 10))

    def _learn(self) -> None:
        seen = self.shape.orders.seen()
        self.boundaries = {name: roles for name, roles in seen.items() if self.plan.wants(name)}

    def points(self) -> list[Point]:
        return [Point(boundary, moment) for boundary in sorted(self.boundaries) for moment in MOMENTS]

    def short_of(self) -> list[Point]:
        """Where fewer died than planned."""
        return [point for point in self.points() if self.kills[point] < self.plan.per_point]

    def total(self) -> int:
        """Kills to come to, as far as is known."""
        planned = len(self.points()) * self.plan.per_point
        return max(self.plan.kills, planned + len(self.shape.strikes()) * self.plan.per_strike)

    def _next(self) -> Callable[[], None] | None:
        """Boundaries at random and victims in turn, so that each fault meets every other's aftermath."""
        self._learn()
        points = self._neediest()
        strikes = {
            name: strike
            for name, strike in self.shape.strikes().items()
            if self.strikes[name] < self.plan.per_strike or (not points and self.done < self.total())
        }
        if not points and not strikes:
            return None
        if strikes and (not points or self._is_a_strikes_turn()):
            name = min(strikes, key=lambda name: self.strikes[name])
            return lambda: self._strike(name, strikes[name])
        point = self.chance.choice(points)
        return lambda: self._kill_at(point)

    def _is_a_strikes_turn(self) -> bool:
        """Both kinds of fault get on equally well, as parts of what is planned."""
        at_points = len(self.points()) * self.plan.per_point
        at_random = len(self.shape.strikes()) * self.plan.per_strike
        return self.strikes.total() * at_points <= self.kills.total() * at_random

    def _neediest(self) -> list[Point]:
        """Points that are short of kills: those first that somebody comes to, and that had the fewest."""
        moments = Counter(point.moment for point in self.kills.elements())

        def need(point: Point) -> tuple[int, int, int]:
            return self.misses[point], self.kills[point], moments[point.moment]

        short = self.short_of()
        return [point for point in short if need(point) == min(map(need, short))]

    def _keep_pace(self) -> None:
        """Spread the faults over the load."""
        until = min(self.deadline, time.monotonic() + PACE_WITHIN)
        while time.monotonic() < until and not self._is_on_time():
            time.sleep(TICK)

    def _is_on_time(self) -> bool:
        return self.progress() >= min(1.0, self.done / self.total())

    # --- Doing it ---------------------------------------------------------------------------------

    def _strike(self, name: str, strike: Callable[[], None]) -> None:
        if self.chance.random() < UP_FIRST:
            self.shape.wait_until_up()
        time.sleep(self.chance.uniform(0, 1.5))
        strike()
        self.strikes[name] += 1

    def _kill_at(self, point: Point) -> None:
        """Order a death at a boundary.

        A restart helps where one comes to it at its start, or seldom; and a broker that forgets, where one
        comes to what a lost message left behind.
        """
        others = {each: 1 for each in self.short_of() if self.misses[each]}
        nth = 1 if point.boundary in self.seldom else self.chance.randint(1, 3)
        self.shape.orders.give({**others, point: nth})
        if self._died():
            return
        self.seldom.add(point.boundary)
        self.shape.orders.give({**others, point: 1})
        roles = tuple(self.boundaries[point.boundary])
        helpful = (*roles, "valkey")
        name = self.chance.choice([name for name in self.shape.strikes() if name.startswith(helpful)])
        self.shape.strikes()[name]()
        self.strikes[name] += 1
        if not self._died():
            self.misses[point] += 1

    def _died(self) -> bool:
        """Whether somebody took the order soon; if nobody did, it is withdrawn."""
        patience = PATIENCE
        while patience > 0 and self.shape.orders.death() is None and time.monotonic() < self.deadline:
            time.sleep(TICK)
            if self.shape.is_up():
                patience -= TICK
        if self.shape.orders.death() is None and self.shape.orders.withdraw():
            return False
        # It says so right after it took the order.
        wait_for(lambda: self.shape.orders.death() is not None)
        death = self.shape.orders.death()
        assert death is not None
        self.kills[death.point] += 1
        self.by_role[death.role] += 1
        return True
