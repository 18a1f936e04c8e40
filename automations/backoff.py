"""When a delivery is tried again. Pure: attempts made, the receiver's hint and the dice are passed in."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

_MINUTE = 60.0
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR

# Seconds before the first, second … tenth attempt; together a little over three days, so that a receiver
# which breaks on a Friday evening is still served on Monday.
DEFAULT_SCHEDULE: tuple[float, ...] = (
    0.0,
    5.0,
    5 * _MINUTE,
    30 * _MINUTE,
    2 * _HOUR,
    5 * _HOUR,
    10 * _HOUR,
    14 * _HOUR,
    20 * _HOUR,
    24 * _HOUR,
)

# A chat message of yesterday helps nobody: together about two and a half hours.
CHAT_SCHEDULE: tuple[float, ...] = (0.0, 5.0, 30.0, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR)

# Seconds without any request to a receiver that has not answered once, twice … in a row.
_PAUSES: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
# From here on they are all alike.
MOST_SILENCES = len(_PAUSES)

_RETRYABLE_CLIENT_ERRORS = frozenset({408, 425, 429})


def ten_percent() -> float:
    """A factor between 0.9 and 1.1, so that deliveries which failed together do not come back together."""
    return random.uniform(0.9, 1.1)  # noqa: S311  # spreads load, protects nothing


def next_delay(
    attempt: int,
    schedule: Sequence[float] = DEFAULT_SCHEDULE,
    *,
    retry_after: float | None = None,
    jitter: Callable[[], float] = ten_percent,
) -> float | None:
    """Seconds to wait before the next attempt, or None to give up.

    `attempt` counts the attempts already made: 0 asks for the delay before the first one. `retry_after`
    (seconds, what the receiver asked for) is a minimum, honoured up to a day. `jitter` gives the factor for
    the scheduled delay.
    """
    if attempt < 0:
        raise ValueError(f"attempt counts the attempts already made and cannot be {attempt}")
    if attempt >= len(schedule):
        return None
    delay = schedule[attempt] * jitter()
    if retry_after is not None and retry_after > delay:
        return max(delay, min(retry_after, _DAY))
    return delay


def pause(silences: int) -> float:
    """Seconds for which nothing at all is sent to a receiver that let so many tries in a row time out.

    Shorter than the schedule's own delays: one message among many waiting ones finds out whether it is back.
    """
    return _PAUSES[min(silences, MOST_SILENCES) - 1]


def is_retryable(status: int) -> bool:
    """Whether a non-2xx answer may become a 2xx by trying again; redirects and the other 4xx will not."""
    return status in _RETRYABLE_CLIENT_ERRORS or 500 <= status <= 599
