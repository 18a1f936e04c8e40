"""One metric batch as rules look at it: what several of them need is read once."""

from __future__ import annotations

import math
from collections.abc import Collection
from datetime import datetime
from functools import cached_property

from automations.windows import Track
from runs import metrics
from runs.metrics import Series
from runs.models import MetricBatch, Run, Source

# Leads are read in powers of two from here on, so that rules with other windows share them.
_LEAD = 64


class BatchView:
    """A batch, its metrics, and what came before it, as of its acceptance."""

    def __init__(self, batch: MetricBatch, watched: Collection[str]) -> None:
        """`watched`: the metrics that rules are routed by; "" stands for any."""
        self.batch = batch
        self._watched = set(batch.names) if "" in watched else set(watched)
        self._tracks: dict[str, Track] = {}
        self._leads: dict[str, int] = {}
        self._positions: dict[str, list[int]] = {}
        self._baselines: dict[tuple[str, int], dict[int, float]] = {}
        self._history: dict[str, bool] = {}

    @property
    def run(self) -> Run:
        return self.batch.run

    @property
    def received_at(self) -> datetime:
        return self.batch.received_at

    @property
    def seq(self) -> int:
        return self.batch.seq

    @cached_property
    def series(self) -> dict[str, Series]:
        """The batch's values of every watched metric."""
        batch = self.batch
        return metrics.in_batch(batch.run_id, batch.source, self._watched, seq=batch.seq)

    def positions(self, name: str) -> list[int]:
        """Which of the batch's values of a metric are finite."""
        if name not in self._positions:
            values = self.series[name].values
            self._positions[name] = [i for i, value in enumerate(values) if math.isfinite(value)]
        return self._positions[name]

    def track(self, name: str, *, lead: int) -> Track:
        """The finite values of a metric: at least `lead` before the batch (or all), and its own."""
        series = self.series[name]
        wanted = min(lead, series.finite_before)
        if name not in self._tracks or self._leads[name] < wanted:
            count = 0 if wanted == 0 else max(_LEAD, 1 << (wanted - 1).bit_length())
            batch = self.batch
            before = metrics.tail(batch.run_id, batch.source, name, count=count, before=batch.seq)
            values = [*before, *filter(math.isfinite, series.values)]
            ordinal = series.finite_before - len(before)
            self._tracks[name] = Track(values, new=len(before), ordinal=ordinal)
            self._leads[name] = len(before)
        return self._tracks[name]

    def baseline(self, name: str, *, window: int) -> dict[int, float]:
        """The latest finite values of the project's other runs, newest run first (section 4.3)."""
        key = (name, window)
        if key not in self._baselines:
            self._baselines[key] = metrics.latest_finite(
                self.run.project_id,
                self.batch.source,
                name,
                as_of=self.batch.received_at,
                leave_out=self.batch.run_id,
                limit=window,
            )
        return self._baselines[key]

    def is_history_metric(self, name: str) -> bool:
        """Whether the run had logged a history metric of this name when the batch was accepted."""
        if name not in self._history:
            batch = self.batch
            known = metrics.logged_before(batch.run_id, Source.HISTORY, name, seq=batch.seq)
            self._history[name] = known
        return self._history[name]
