"""A fixed-window rate limit in the cache that all processes share."""

from __future__ import annotations

import math
import time

from django.core.cache import cache


def seconds_to_wait(subject: str, *, limit: int) -> int:
    """0 when one more request is allowed in this second, else the seconds to wait."""
    now = time.time()
    key = f"throttle:{subject}:{int(now)}"
    cache.add(key, 0, timeout=5)
    try:
        count = cache.incr(key)
    except ValueError:  # it expired between the two lines
        return 0
    return 0 if count <= limit else max(1, math.ceil(int(now) + 1 - now))
