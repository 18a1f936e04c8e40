"""Ringing for a worker. What waits is a row; a lost ring is repeated by the sweep.

Publishing never blocks a request: no retry, short socket timeouts, and after a failure no further try
for a few seconds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

log = logging.getLogger("tripline.doorbell")

QUIET_SECONDS = 5.0

# Seconds from one ring for an outlet to the next, and when the last one is heard (`time.monotonic`).
_PACE = 0.02
_rung: dict[int | None, float] = {}

Keeper: TypeAlias = Callable[[str, int | None], None]


@dataclass(slots=True)
class _Breaker:
    """After a failure nobody tries until then (`time.monotonic`)."""

    quiet_until: float = 0.0


_breaker = _Breaker()


@dataclass(slots=True)
class _Door:
    """Who stands at it and hears every ring, in place of the workers."""

    keeper: Keeper | None = None


_door = _Door()


@contextmanager
def answered_by(keeper: Keeper) -> Iterator[None]:
    """Have `keeper` told of each task and its argument meanwhile, and no worker of any process.

    For who does the work itself, before a server with workers is there.
    """
    _door.keeper = keeper
    try:
        yield
    finally:
        _door.keeper = None


def _ring(task: str, argument: int | None, *, after: float = 0.0) -> None:
    if _door.keeper is not None:
        _door.keeper(task, argument)
        return
    if time.monotonic() < _breaker.quiet_until:
        return
    from automations import tasks

    try:
        getattr(tasks, task).apply_async(
            (argument,), countdown=after or None, retry=False, ignore_result=True
        )
    except (OperationalError, RedisError, OSError) as error:
        _breaker.quiet_until = time.monotonic() + QUIET_SECONDS
        log.warning("The broker does not answer (%s); the sweep will ring in its place.", error)


def ring_lane(run_id: int) -> None:
    _ring("evaluate_lane", run_id)


def ring_event(event_id: int) -> None:
    _ring("evaluate_event", event_id)


def ring_prune() -> None:
    """When a server starts: one that is restarted every day would else never come to it."""
    _ring("prune", None)


def ring_backtest(backtest_id: int) -> None:
    _ring("backtest", backtest_id)


def ring_canary() -> None:
    """When a server starts: its first one need not wait for an interval."""
    _ring("canary", None)


def ring_drain(integration_id: int | None, *, after: float = 0.0) -> None:
    """`None` stands for the deliveries that need no integration; `after` is in seconds.

    Rings that come close together are one: who answers it finds all that waits. Else, the quicker messages go
    out, the more senders would come only to stand in each other's way.
    """
    if not after and _door.keeper is None:
        now, last = time.monotonic(), _rung.get(integration_id, 0.0)
        if last > now:
            return  # one is on its way
        after = max(0.0, last + _PACE - now)
        _rung[integration_id] = now + after
    _ring("drain", integration_id, after=after)
