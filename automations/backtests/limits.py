"""Once per run and period (R52), as `automations.firing` keeps it in the database, by acceptance times."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from automations.firing import MAX_PER_BATCH


@dataclass(slots=True)
class Limit:
    """The limit of one rule on one run; `period` in seconds, 0: every match, None: once ever."""

    period: int | None
    _fired_at: dict[str, datetime] = field(default_factory=dict)

    def admit(self, hits: int, *, moment: datetime, bucket: str) -> int:
        """How many of a change's hits fire: the first ones do."""
        if self.period == 0:
            return min(hits, MAX_PER_BATCH)
        last = self._fired_at.get(bucket)
        if last is not None and (self.period is None or moment - last < timedelta(seconds=self.period)):
            return 0
        self._fired_at[bucket] = moment
        return 1
