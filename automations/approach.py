"""How near a run came to a metric rule: its whole series, asked of the same pure evaluators.

The series is looked at as one batch that begins with the first value accepted since the rule was armed,
which fires at the same values as the batches it came in.
"""

from __future__ import annotations

import difflib
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from automations.batches import Baseline, BatchView
from automations.events.base import Config
from automations.events.metric_nonfinite import RunMetricNonfinite
from automations.events.metrics import MetricEventType, MetricFacts, metric_name, wanted_source
from automations.events.runs import RunEventType, RunFacts
from automations.models import Automation
from automations.verdicts import Reason, Verdict
from automations.windows import Track, weakest
from runs import metrics
from runs.metrics import Series, Span
from runs.models import MetricBatch, MetricSummary, Run, RunStatus, Source
from runs.models.metrics import spelled

# Other runs' changes that are followed; beyond them only the latest values of the series are compared.
MAX_CHANGES = 50_000
# Estimates that tie for the closest approach and are computed exactly.
MAX_TIES = 1000
# Values on either side of the closest approach that are shown with it.
AROUND = 100


@dataclass(frozen=True, slots=True)
class Course:
    """What a rule compared around its closest approach: the values, and the number made of each.

    `closest` is a position in them; `borders` are the numbers at which the condition begins to hold.
    """

    steps: Sequence[int]
    values: Sequence[float]
    numbers: Sequence[float]
    closest: int
    borders: Sequence[float]


@dataclass(frozen=True, slots=True)
class WhyNot:
    """The first stop; where it is the condition, with the course of what was compared."""

    reason: Reason
    course: Course | None = None


def why_not(
    automation: Automation, event_type: MetricEventType[Any] | RunMetricNonfinite, run: Run
) -> WhyNot:
    """The first stop: the metric, when it was armed, filters, the window, the condition."""
    found = _looked_at(automation, event_type, run)
    return WhyNot(found) if isinstance(found, Reason) else found.why_not()


def _looked_at(
    automation: Automation, event_type: MetricEventType[Any] | RunMetricNonfinite, run: Run
) -> _Approach | Reason:
    """The rule and the series that it watches, or what stops before its values count."""
    config = automation.config
    name = metric_name(config)
    source = _source(config, run, name)
    if isinstance(source, Reason):
        seen = RunFacts(run.name, run.user.username if run.user else "", RunStatus.RUNNING)
        stopped = event_type.refused(config, seen)
        return (stopped and stopped.reason) or source
    if isinstance(event_type, RunMetricNonfinite):
        return _never_diverged(automation, event_type, run, source)
    spans = metrics.spans(run.pk, source, name)
    since = bisect_left(spans, automation.armed_at, key=lambda span: span.received_at)
    if since == len(spans):
        return not_since_armed(automation)
    batches = MetricBatch.objects.filter(run=run, source=source)
    refused = _refusals(event_type, config, batches, spans[since:])
    batch = batches.get(seq=spans[-1].seq)
    batch.run = run
    facts = event_type.gather(WholeSeries(batch, name, spans, since=since), config)
    return _Approach(event_type, config, facts, refused)


def not_since_armed(automation: Automation) -> Reason:
    return Reason("not_since_armed", {"armed_at": automation.armed_at.isoformat(timespec="seconds")})


# --- Which series ---------------------------------------------------------------------------------


def _source(config: Config, run: Run, name: str) -> str | Reason:
    """The source whose series of this name the rule watches (R21), or why there is none.

    "" is any, where a rule names no metric.
    """
    known = MetricSummary.objects.filter(run=run)
    wanted = wanted_source(config)
    sources = known.filter(name=name) if name else known
    logged = sorted(set(sources.values_list("source", flat=True)))  # history comes first
    if not logged:
        return _never_logged(name, sorted(set(known.values_list("name", flat=True))))
    if wanted == "auto":
        return logged[0] if name else ""
    if wanted in logged:
        return wanted
    data = {"metric": name, "logged": Source(logged[0]).label, "wanted": Source(wanted).label}
    return Reason("only_other_source", data)


def _never_logged(name: str, known: list[str]) -> Reason:
    if not known:
        return Reason("nothing_logged")
    nearest = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return Reason("never_logged", {"metric": name, "nearest": nearest})


class WholeSeries(BatchView):
    """Everything that a run logged of a metric, from `spans[since]` on, as if it were one batch."""

    def __init__(self, batch: MetricBatch, name: str, spans: Sequence[Span], *, since: int) -> None:
        super().__init__(batch, [name])
        self._spans = spans
        self._since = spans[since]
        whole = metrics.series(batch.run, batch.source, name) or Series((), (), ())
        first, last = self._since.first_index, spans[-1].first_index + spans[-1].count
        self.series = {
            name: Series(
                whole.steps[first:last],
                whole.timestamps[first:last],
                whole.values[first:last],
                first,
                self._since.finite_before,
            )
        }
        finite = list(filter(math.isfinite, whole.values[:last]))
        self._tracks = {name: Track(finite, new=self._since.finite_before)}

    def track(self, name: str, *, lead: int) -> Track:
        return self._tracks[name]

    def is_history_metric(self, name: str) -> bool:
        return False  # the source was chosen already

    def baselines(self, name: str, track: Track, *, window: int, hold: int) -> Sequence[tuple[int, Baseline]]:
        """As other runs went on meanwhile: one for all values between two of their changes."""
        batch = self.batch
        first = max(track.new - hold + 1, 0)
        spans = [span for span in self._spans if span.finite_before + span.finite_count > first]
        place = (batch.run.project_id, batch.source, name)
        if not spans:
            return [(first, {})]
        began, ended = spans[0].received_at, spans[-1].received_at
        changes = metrics.latest_finite_since(*place, since=began, until=ended, leave_out=batch.run_id)
        if len(changes) > MAX_CHANGES:
            began = changes[-MAX_CHANGES][0]
            spans = [span for span in spans if span.received_at >= began] or spans[-1:]
            began = spans[0].received_at
            changes = [change for change in changes if change[0] > began]
        removed = sum(value is None for _moment, _run, value in changes)
        limit = window + removed  # so many may have to take the place of deleted ones
        values = metrics.latest_finite(*place, as_of=began, leave_out=batch.run_id, limit=limit)
        return list(_timeline(spans, values, changes, window=window, first=first))


def _timeline(
    spans: Sequence[Span],
    values: dict[int, float],
    changes: Sequence[tuple[Any, int, float | None]],
    *,
    window: int,
    first: int,
) -> list[tuple[int, Baseline]]:
    """The baseline at each span at which it is another one than before."""
    found: list[tuple[int, Baseline]] = []
    done = 0
    for span in spans:
        upto = bisect_right(changes, span.received_at, lo=done, key=lambda change: change[0])
        if found and upto == done:
            continue
        for _moment, run_id, value in changes[done:upto]:
            if value is None:
                values.pop(run_id, None)
            else:
                values[run_id] = value
        done = upto
        newest = sorted(values, reverse=True)[:window]
        found.append((max(first, span.finite_before), {run_id: values[run_id] for run_id in newest}))
    return found


# --- Which of its values count --------------------------------------------------------------------


def _refusals(
    event_type: RunEventType[Any], config: Config, batches: Any, spans: Sequence[Span]
) -> list[tuple[range, Verdict]]:
    """Stretches of the series, counted from the first span on, that filters stop, with their verdicts."""
    fields = ("run_name", "run_user", "run_status")
    rows = batches.filter(seq__gte=spans[0].seq).order_by()
    verdicts = {
        facts: verdict
        for facts in rows.values_list(*fields).distinct()
        if (verdict := event_type.refused(config, RunFacts(*facts)))
    }
    if not verdicts:
        return []
    facts_of = {seq: tuple(facts) for seq, *facts in rows.values_list("seq", *fields)}
    start = spans[0].first_index
    return [
        (range(span.first_index - start, span.first_index - start + span.count), verdicts[facts])
        for span in spans
        if (facts := facts_of[span.seq]) in verdicts
    ]


@dataclass(frozen=True, slots=True)
class _Approach:
    """A rule, the facts of a whole series, and the stretches of it that filters stop."""

    event_type: MetricEventType[Any]
    config: Config
    facts: MetricFacts
    refused: Sequence[tuple[range, Verdict]]

    def why_not(self) -> WhyNot:
        reason = self._before_the_condition()
        if reason is not None:
            return WhyNot(reason)
        best = self._best()
        if best is None:
            return WhyNot(Reason("not_evaluated", {"hold": self.config["hold"]}))
        return WhyNot(self._closest(*best), self._course(best[1]))

    def _before_the_condition(self) -> Reason | None:
        verdict = self.event_type.decide_run(self.config, self.facts)
        for hit in verdict.hits:
            if self._refusal(hit) is None:
                why = self.event_type.describe(self.config, self.facts, hit)
                return Reason("matches_now", {"why": self.event_type.explain(why.as_json())})
        if verdict.hits:
            return self._reason_of(self._refusal(verdict.hits[0]))
        if sum(len(stretch) for stretch, _verdict in self.refused) == len(self.facts.values):
            return self._reason_of(self.refused[-1][1])
        if verdict.reason is not None and verdict.reason.code != "condition_not_met":
            return verdict.reason
        return None

    def _refusal(self, position: int) -> Verdict | None:
        """The filter's verdict on the value at this position of the series."""
        number = bisect_right(self.refused, position, key=lambda one: one[0].start) - 1
        if number < 0 or position not in self.refused[number][0]:
            return None
        return self.refused[number][1]

    def _reason_of(self, verdict: Verdict | None) -> Reason:
        return (verdict and verdict.reason) or Reason("condition_not_met")

    def _closest(self, number: float, end: int) -> Reason:
        """The closest approach, with the threshold that would have sufficed."""
        account = self.event_type.account(self.config, self.facts, end).data
        would_fire = self.event_type.would_fire(self.config, number)
        return Reason(
            "closest" if would_fire else "closest_only",
            {
                "condition": self.event_type.filter_text(self.config),
                "value": spelled(number),
                "window": account["window"],
                "step": self.facts.steps[self._position(end)],
                "would_fire": would_fire,
            },
        )

    def _course(self, closest: int) -> Course:
        track, signal = self.facts.track, self.event_type.signal(self.config, self.facts)
        first = max(track.new, closest - AROUND)
        ends = range(first, min(len(track.values), closest + AROUND + 1))
        return Course(
            [self.facts.steps[self._position(end)] for end in ends],
            track.values[ends.start : ends.stop],
            signal.numbers[ends.start : ends.stop],
            closest - first,
            self.event_type.borders(self.config),
        )

    def _position(self, end: int) -> int:
        return self.facts.positions[end - self.facts.track.new]

    def _best(self) -> tuple[float, int] | None:
        """The number nearest to firing that was held as often in a row as asked, and the end where.

        Estimated numbers only say which ones to compute exactly.
        """
        event_type, config, hold = self.event_type, self.config, self.config["hold"]
        signal, track = event_type.signal(config, self.facts), self.facts.track
        first = track.first_end(reach=event_type.reach(config), warmup=config["warmup"], hold=hold)
        numbers = list(signal.numbers)
        if signal.slack:
            for end in range(first, len(numbers)):
                if math.isnan(numbers[end]):
                    numbers[end] = event_type.exact(config, self.facts, end)
        strengths = weakest([event_type.strength(config, number) for number in numbers[first:]], times=hold)
        ends = [
            end
            for end in range(max(first, track.new), len(numbers))
            if not math.isnan(strengths[end - first])
            and (not self.refused or self._refusal(self._position(end)) is None)
        ]
        best = max((strengths[end - first] for end in ends), default=math.nan)
        floor = best - 2 * signal.slack * abs(best) if signal.slack else best
        near = [end for end in ends if strengths[end - first] >= floor][:MAX_TIES]
        exact = [self._weakest_exactly(end) for end in near]
        return max(exact, key=lambda pair: (event_type.strength(config, pair[0]), -pair[1]), default=None)

    def _weakest_exactly(self, end: int) -> tuple[float, int]:
        """The weakest number of the streak that ends there."""
        event_type, config = self.event_type, self.config
        streak = range(end - config["hold"] + 1, end + 1)
        numbers = [event_type.exact(config, self.facts, each) for each in streak]
        return min(numbers, key=lambda number: event_type.strength(config, number)), end


# --- NaN and infinity -----------------------------------------------------------------------------


def _never_diverged(automation: Automation, event_type: RunMetricNonfinite, run: Run, source: str) -> Reason:
    """Why the first NaN of the run, if there is one, did not fire."""
    config = automation.config
    batches = MetricBatch.objects.filter(run=run)
    in_source = batches.filter(source=source) if source else batches
    if not in_source.filter(received_at__gte=automation.armed_at).exists():
        return not_since_armed(automation)
    first = event_type.first(config, run.pk, source=source)
    if first is None:
        last = in_source.latest("seq")
        stopped = event_type.refused(config, RunFacts(last.run_name, last.run_user, last.run_status))
        asked = {"hold": config["hold"], "warmup": config["warmup"]}
        return (stopped and stopped.reason) or Reason("never_nonfinite", asked)
    batch = batches.get(seq=first.piece.seq)
    if batch.received_at < automation.armed_at:
        return Reason("seen_before", event_type.account(config, first).data)
    stopped = event_type.refused(config, RunFacts(batch.run_name, batch.run_user, batch.run_status))
    why = event_type.explain(event_type.account(config, first).as_json())
    return (stopped and stopped.reason) or Reason("matches_now", {"why": why})
