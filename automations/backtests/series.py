"""A metric rule over a run's stored series: in large portions, each of which is decided as one batch.

The evaluator gives the same hits for any batches (section 4), so only what is said of a firing needs the
batch that it came in.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from automations.backtests.replay import Match, Rule
from automations.batches import Baseline, BatchView
from automations.events.metrics import MetricFacts
from automations.verdicts import Reason
from automations.windows import Track
from runs import metrics
from runs.histories import Stretch
from runs.metrics import Series, Span
from runs.models import MetricBatch

# Values that are decided at once; a batch is never divided.
PORTION = 100_000

# What each of these batches' values is compared with: (the batch, the other runs' values as of it).
Baselines = Callable[[Sequence[Span]], Sequence[tuple[Span, Baseline]]]


@dataclass(frozen=True, slots=True)
class Place:
    """A series, and how its values are compared with other runs, where they are."""

    run_id: int
    source: str
    name: str
    baselines: Baselines


class View(BatchView):
    """Consecutive batches as if they were one, for the evaluator. All that it asks for is at hand."""

    def __init__(self, place: Place, series: Series, track: Track, spans: Sequence[Span]) -> None:
        batch = MetricBatch(run_id=place.run_id, seq=spans[-1].seq, source=place.source)
        super().__init__(batch, [place.name])
        self.series = {place.name: series}
        self._place = place
        self._track_of_all = track
        self._spans = spans

    def track(self, name: str, *, lead: int) -> Track:
        return self._track_of_all

    def is_history_metric(self, name: str) -> bool:
        return False  # which source counts was decided before

    def baselines(self, name: str, track: Track, *, window: int, hold: int) -> Sequence[tuple[int, Baseline]]:
        first = max(track.new - hold + 1, 0)
        found: list[tuple[int, Baseline]] = []
        for span, baseline in self._place.baselines(self._spans):
            if not found or found[-1][1] != baseline:
                found.append((max(first, span.finite_before - track.ordinal), baseline))
        return found


class Scan:
    """Where the condition holds in one series; afterwards, why it does not where that is so."""

    def __init__(self, rule: Rule, place: Place, *, beat: Callable[[], None]) -> None:
        self.reason: Reason | None = None
        self._rule = rule
        self._place = place
        self._beat = beat
        self._lead = rule.event_type.reach(rule.config) + rule.config["hold"] - 2  # type: ignore[attr-defined]

    def matches(self, stretches: Iterable[Stretch]) -> Iterator[Match]:
        before: list[float] = []
        earlier: list[Span] = []
        for portion in _portions(stretches):
            self._beat()
            found = self._decide(portion, before, earlier)
            yield from found.matches()
            before = list(found.track.values[-self._lead :]) if self._lead else []
            oldest = found.track.ordinal + len(found.track.values) - len(before)
            spans = [*earlier, *(stretch.span for stretch in portion)]
            earlier = [span for span in spans if span.finite_before + span.finite_count > oldest]

    def _decide(self, portion: Sequence[Stretch], before: list[float], earlier: list[Span]) -> _Decided:
        values: list[float] = []
        for stretch in portion:
            values += stretch.values
        spans = [stretch.span for stretch in portion]
        finite = values
        if sum(span.finite_count for span in spans) < len(values):
            finite = list(filter(math.isfinite, values))
        ordinal = spans[0].finite_before - len(before)
        known = [*before, *finite] if before else finite
        track = Track(known, new=len(before), ordinal=ordinal, pulse=self._beat)
        whole = Series((), (), values, spans[0].first_index, spans[0].finite_before)
        event_type: Any = self._rule.event_type
        facts = event_type.gather(View(self._place, whole, track, [*earlier, *spans]), self._rule.config)
        verdict = event_type.decide_run(self._rule.config, facts)
        if self.reason is None or verdict.reason is not None:
            self.reason = verdict.reason
        return _Decided(self._rule, self._place, spans, track, verdict.hits)


def _portions(stretches: Iterable[Stretch]) -> Iterator[list[Stretch]]:
    portion: list[Stretch] = []
    count = 0
    for stretch in stretches:
        if portion and count + stretch.span.count > PORTION:
            yield portion
            portion, count = [], 0
        portion.append(stretch)
        count += stretch.span.count
    if portion:
        yield portion


@dataclass(frozen=True, slots=True)
class _Decided:
    """A portion, and where in it the condition holds."""

    rule: Rule
    place: Place
    spans: Sequence[Span]
    track: Track
    hits: Sequence[int]

    def matches(self) -> Iterator[Match]:
        """The hits by batch, counted from each one's first value."""
        start, done = self.spans[0].first_index, 0
        while done < len(self.hits):
            hit = start + self.hits[done]
            number = bisect_right(self.spans, hit, key=lambda span: span.first_index) - 1
            span = self.spans[number]
            first = span.first_index - start
            upto = bisect_right(self.hits, first + span.count - 1, lo=done)
            hits = [hit - first for hit in self.hits[done:upto]]
            yield Match(span.seq, hits, _Told(self, span).describe)
            done = upto


class _Told:
    """What is said of a batch's firings: from its own facts, as when it was decided."""

    def __init__(self, decided: _Decided, span: Span) -> None:
        self._decided = decided
        self._span = span

    def describe(self, hit: int) -> Reason:
        event_type: Any = self._decided.rule.event_type
        reason: Reason = event_type.describe(self._decided.rule.config, self._facts, hit)
        return reason

    @cached_property
    def _facts(self) -> MetricFacts:
        rule, place, span = self._decided.rule, self._decided.place, self._span
        event_type: Any = rule.event_type
        batch = MetricBatch.objects.get(run=place.run_id, seq=span.seq)
        series = metrics.in_batches([batch], [place.name])[span.seq][place.name]
        offset = span.finite_before - self._decided.track.ordinal
        lead = event_type.reach(rule.config) + rule.config["hold"] - 2
        before = self._decided.track.values[max(0, offset - lead) : offset]
        values = [*before, *filter(math.isfinite, series.values)]
        track = Track(values, new=len(before), ordinal=span.finite_before - len(before))
        facts: MetricFacts = event_type.gather(View(place, series, track, [span]), rule.config)
        return facts
