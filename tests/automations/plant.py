"""An installation whose parts can be taken away one by one: who sends canaries, decides, delivers, sweeps."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from django.db import DatabaseError

from automations.health import stages
from automations.health.stages import Health, State
from automations.services import canary
from automations.sweep import sweep
from tests import cast
from tests.cast import Clock


@dataclass
class Plant:
    """In steps of some seconds, everybody who is at `work` does theirs.

    Beat rings both pools for a canary `every` so many seconds: it is sent as long as one of them is there.
    """

    clock: Clock
    every: int = 30
    step: int = 5
    work: set[str] = field(default_factory=lambda: {"beat", "decide", "deliver"})
    _until_canary: int = 0

    def live(self, seconds: int) -> Health:
        """How it looks after so long."""
        for _step in range(seconds // self.step):
            self._step()
        return stages.look()

    def seconds_until_red(self, *, at_most: int = 120) -> int:
        """When the first stage turned red."""
        for passed in range(0, at_most + 1, self.step):
            if stages.look().state == State.RED:
                return passed
            self._step()
        raise AssertionError(f"No stage was red within {at_most} s: {stages.look().stages}")

    def _step(self) -> None:
        self.clock.move(seconds=self.step)
        if "beat" in self.work:
            self._beat()
        if "decide" in self.work:
            cast.decide()
        if "deliver" in self.work:
            cast.deliver()

    def _beat(self) -> None:
        if "decide" in self.work:
            sweep()
        self._until_canary -= self.step
        if self.every and self._until_canary <= 0 and self.work & {"decide", "deliver"}:
            self._until_canary = self.every
            with suppress(DatabaseError):  # the worker logs it, and the next one comes
                canary.send()


def red(health: Health) -> list[str]:
    return [stage.key for stage in health.stages if stage.state == State.RED]


def states(health: Health) -> dict[str, str]:
    return {stage.key: str(stage.state) for stage in health.stages}


def sentence(health: Health, key: str) -> str:
    return next(stage.sentence for stage in health.stages if stage.key == key)
