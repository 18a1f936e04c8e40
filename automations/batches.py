"""Metric batches as rules look at them: what several rules need is read once."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property

from automations.windows import Track
from runs import metrics
from runs.metrics import Series
from runs.models import MetricBatch, Run, RunStatusChange, Source
from runs.writers import await_writers

# Leads are read in powers of two from here on, so that rules with other windows share them.
_LEAD = 64
# Values of a stretch that are read at once, unless a batch alone has more.
_AHEAD = 100_000

# The latest finite value of each run that is compared with, by run, newest first (section 4.3).
Baseline = Mapping[int, float]


class Ahead:
    """Consecutive changes of one lane: the values of several batches are read at once, and what came before
    a batch is often known from the one before it."""

    def __init__(self, changes: Sequence[MetricBatch | RunStatusChange] = ()) -> None:
        self._first = 0
        self._batches: dict[int, MetricBatch] = {}
        self._stretches: dict[tuple[str, frozenset[str]], StretchView] = {}
        self._left: dict[tuple[str, str], tuple[int, Track]] = {}
        self.go_on(changes)

    def go_on(self, changes: Sequence[MetricBatch | RunStatusChange]) -> None:
        """`changes` come next: in order, and none is left out. What the last ones left behind is kept."""
        kept, self._first = self._first, changes[0].seq if changes else 0
        self._batches = {number: batch for number, batch in self._batches.items() if number >= kept}
        self._batches |= {change.seq: change for change in changes if isinstance(change, MetricBatch)}
        self._left = {place: left for place, left in self._left.items() if left[0] >= kept}
        self._stretches.clear()

    def stretch(self, batch: MetricBatch, watched: frozenset[str]) -> StretchView:
        """Batches that are looked at together, this one among them."""
        place = (batch.source, watched)
        known = self._stretches.get(place)
        if known is None or batch.seq > known.last.seq:
            known = self._stretches[place] = StretchView(self._next(batch), watched, self)
        return known

    def _next(self, batch: MetricBatch) -> list[MetricBatch]:
        """The batches to look at with this one: itself, and some more of its source."""
        found, count = [batch], batch.count
        for other in self._batches.values():
            if other.seq > batch.seq and other.source == batch.source:
                count += other.count
                if count > _AHEAD:
                    break
                found.append(other)
        return found

    def leave(self, batch: MetricBatch, name: str, track: Track) -> None:
        """Remember a metric's values up to this batch."""
        self._left[batch.source, name] = (batch.seq, track)

    def before(self, batch: MetricBatch, name: str, *, count: int) -> list[float] | None:
        """The last `count` finite values before the batch (or all), if they were left behind."""
        seq, track = self._left.get((batch.source, name), (0, None))
        if track is None or seq >= batch.seq or (len(track.values) < count and track.ordinal > 0):
            return None  # what was left of this batch itself ends with its own values
        between = (self._batches.get(number) for number in range(seq + 1, batch.seq))
        if any(other and other.source == batch.source and name in other.names for other in between):
            return None
        return list(track.values[-count:]) if count else []


class BatchView:
    """A batch, its metrics, and what came before it, as of its acceptance."""

    def __init__(self, batch: MetricBatch, watched: Collection[str], ahead: Ahead | None = None) -> None:
        """`watched`: the metrics that rules are routed by."""
        self.batch = batch
        self._ahead = ahead or Ahead([batch])
        self._watched = frozenset(watched)
        self._tracks: dict[str, Track] = {}
        self._leads: dict[str, int] = {}
        self._positions: dict[str, Sequence[int]] = {}
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

    @property
    def last(self) -> MetricBatch:
        """The last of the batches that are looked at."""
        return self.batch

    @cached_property
    def series(self) -> Mapping[str, Series]:
        """The batch's values of every watched metric."""
        return self._ahead.stretch(self.batch, self._watched).pieces[self.batch.seq]

    @cached_property
    def has_nonfinite(self) -> bool:
        """Whether any metric of the batch, watched or not, is NaN or infinite somewhere."""
        return metrics.has_nonfinite(self.batch.run_id, seq=self.batch.seq)

    def positions(self, name: str) -> Sequence[int]:
        """Which of the batch's values of a metric are finite."""
        if name not in self._positions:
            values = self.series[name].values
            if math.isfinite(sum(values)):
                self._positions[name] = range(len(values))
            else:
                self._positions[name] = [i for i, value in enumerate(values) if math.isfinite(value)]
        return self._positions[name]

    def track(self, name: str, *, lead: int) -> Track:
        """The finite values of a metric: at least `lead` before the batch (or all), and its own."""
        series = self.series[name]
        wanted = min(lead, series.finite_before)
        if name not in self._tracks or self._leads[name] < wanted:
            count = 0 if wanted == 0 else max(_LEAD, 1 << (wanted - 1).bit_length())
            self._tracks[name] = track = self._track(name, series, min(count, series.finite_before))
            self._leads[name] = track.new
            self._ahead.leave(self.last, name, track)
        return self._tracks[name]

    def _track(self, name: str, series: Series, lead: int) -> Track:
        batch = self.batch
        before = self._ahead.before(batch, name, count=lead)
        if before is None:
            place = (batch.run_id, batch.source, name)
            before = metrics.tail(*place, count=lead, before=batch.seq, each=self.each(name))
        values = [*before, *_finite(series.values)]
        return Track(values, new=len(before), ordinal=series.finite_before - len(before))

    def each(self, name: str) -> int:
        """How many values of a metric a batch has, about."""
        return len(self.series[name].values)

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
        # Older runs than those in a full baseline were in it only before one of these changed.
        oldest = min(own) if len(own) == window else 0
        place = (project_id, batch.source, name)
        if not metrics.others_changed(*place, leave_out=batch.run_id, since=times[0], oldest=oldest):
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


class StretchView(BatchView):
    """Consecutive batches of one source, as if they were one: a rule that looks at nothing but the run's own
    values and finds nothing in all of them finds nothing in any."""

    def __init__(self, batches: Sequence[MetricBatch], watched: Collection[str], ahead: Ahead) -> None:
        super().__init__(batches[0], watched, ahead)
        self.batches = batches
        self._answers: dict[int, tuple[object, bool]] = {}

    @property
    def last(self) -> MetricBatch:
        return self.batches[-1]

    @cached_property
    def pieces(self) -> Mapping[int, Mapping[str, Series]]:
        """The values of every watched metric, batch by batch."""
        read = metrics.in_batches(self.batches, self._watched)
        return {batch.seq: read.get(batch.seq, {}) for batch in self.batches}

    @cached_property
    def series(self) -> Mapping[str, Series]:
        return self._as_one or {}

    @cached_property
    def _as_one(self) -> Mapping[str, Series] | None:
        return metrics.as_one(self.batches, self._watched)

    @property
    def tells(self) -> bool:
        """Whether to look at all of them says more than to look at the first, and can be done."""
        return len(self.batches) > 1 and self._as_one is not None

    @cached_property
    def has_nonfinite(self) -> bool:
        return metrics.has_nonfinite(self.batch.run_id, seq=self.batch.seq, last=self.last.seq)

    def each(self, name: str) -> int:
        return -(-super().each(name) // len(self.batches))

    def once(self, rule: object, ask: Callable[[StretchView], bool]) -> bool:
        """The answer for a rule, asked once."""
        if id(rule) not in self._answers:
            self._answers[id(rule)] = (rule, ask(self))  # kept with the rule, so that no other has its id
        return self._answers[id(rule)][1]


def _finite(values: Sequence[float]) -> Iterable[float]:
    # A sum is finite only where all its numbers are.
    return values if math.isfinite(sum(values)) else filter(math.isfinite, values)
