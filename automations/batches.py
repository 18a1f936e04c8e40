"""One metric batch as rules look at it: what several of them need is read once."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cached_property

from automations.windows import Track
from runs import metrics
from runs.metrics import Series
from runs.models import MetricBatch, Run, Source
from runs.writers import await_writers

# Leads are read in powers of two from here on, so that rules with other windows share them.
_LEAD = 64

# The latest finite value of each run that is compared with, by run, newest first (section 4.3).
Baseline = Mapping[int, float]


class BatchView:
    """A batch, its metrics, and what came before it, as of its acceptance."""

    def __init__(self, batch: MetricBatch, watched: Collection[str]) -> None:
        """`watched`: the metrics that rules are routed by."""
        self.batch = batch
        self._watched = set(watched)
        self._tracks: dict[str, Track] = {}
        self._leads: dict[str, int] = {}
        self._positions: dict[str, list[int]] = {}
        self._baselines: dict[tuple[str, int, datetime], Baseline] = {}
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
    def series(self) -> Mapping[str, Series]:
        """The batch's values of every watched metric."""
        batch = self.batch
        return metrics.in_batch(batch.run_id, batch.source, self._watched, seq=batch.seq)

    @cached_property
    def has_nonfinite(self) -> bool:
        """Whether any metric of the batch, watched or not, is NaN or infinite somewhere."""
        return metrics.has_nonfinite(self.batch.run_id, seq=self.batch.seq)

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

    def baselines(self, name: str, track: Track, *, window: int, hold: int) -> Sequence[tuple[int, Baseline]]:
        """What the values are compared with, each as of its own acceptance: (end, baseline from there on).

        For the batch's values, and for the `hold - 1` before them that a streak may need.
        """
        own = self._baseline(name, window, self.received_at)
        lead = min(hold - 1, track.new)
        if lead == 0:
            return [(track.new, own)]
        batch, project_id = self.batch, self.run.project_id
        times = metrics.acceptances(batch.run_id, batch.source, name, count=lead, before=batch.seq)
        if not metrics.others_changed(project_id, batch.source, name, leave_out=batch.run_id, since=times[0]):
            return [(track.new - lead, own)]
        found = [
            (end, self._baseline(name, window, moment))
            for end, moment in enumerate(times, start=track.new - lead)
        ]
        return [*found, (track.new, own)]

    def _baseline(self, name: str, window: int, as_of: datetime) -> Baseline:
        key = (name, window, as_of)
        if not self._baselines:
            await_writers()
        if key not in self._baselines:
            self._baselines[key] = metrics.latest_finite(
                self.run.project_id,
                self.batch.source,
                name,
                as_of=as_of,
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
