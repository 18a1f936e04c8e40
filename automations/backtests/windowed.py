"""Rules over windows on stored runs. What the extremes of a series rule out is never read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain

from automations.backtests.baselines import Others
from automations.backtests.kinds import MetricKind, in_order
from automations.backtests.replay import Replay, Rule
from automations.backtests.series import Place, Scan, View
from automations.batches import Baseline
from automations.events.metrics import MetricEventType, wanted_source
from automations.verdicts import Reason
from automations.windows import Track
from runs import histories
from runs.histories import Standing, Stretch
from runs.metrics import Series, Span
from runs.models import Run, Source

# Values of several runs that are read at once; a longer series is read piece by piece.
_AT_ONCE = 200_000


class WindowedKind(MetricKind):
    def __init__(self, rule: Rule, *, described: int, beat: Callable[[], None]) -> None:
        super().__init__(rule, described=described, beat=beat)
        self._others: dict[tuple[int, str], Others] = {}

    def replay(self, runs: Sequence[Run]) -> Iterator[Replay]:
        standings = histories.standings([run.pk for run in runs], self.name)
        unadmitted = self.unadmitted(runs)
        series = [self._series(run, standings.get(run.pk, {}), unadmitted) for run in runs]
        shelf = _Shelf(self.name, [one for each in series for one in each.standings])
        for one in series:
            self.beat()
            yield self._one(one, shelf)

    def _series(self, run: Run, logged: dict[str, Standing], unadmitted: dict[int, Reason]) -> _Series:
        """What of a run must be read."""
        if run.pk in unadmitted:
            return _Series(run, [], unadmitted[run.pk], None)
        sources = self.sources(logged)
        if isinstance(sources, Reason):
            return _Series(run, [], sources, None)
        reasons = {source: self._ruled_out(run, logged[source]) for source in sources}
        found = [logged[source] for source in sources if reasons[source] is None]
        last_step = max(logged[source].last_step for source in sources)
        return _Series(run, found, None if found else _most_telling(reasons.values()), last_step)

    def _one(self, series: _Series, shelf: _Shelf) -> Replay:
        replay = Replay(series.run, reason=series.reason, last_step=series.last_step)
        scans, matches = [], []
        for standing in series.standings:
            scan = Scan(self.rule, self._place(series.run, standing.source), beat=self.beat)
            stretches = self._until_superseded(series.run, standing.source, shelf.stretches(standing))
            scans.append(scan)
            matches.append(scan.matches(stretches))
        self.settle(replay, self.known(series.run, in_order(*matches)))
        if not replay.count and replay.reason is None:
            replay.reason = _most_telling([scan.reason for scan in scans]) or Reason("condition_not_met")
        return replay

    def _until_superseded(self, run: Run, source: str, stretches: Iterable[Stretch]) -> Iterator[Stretch]:
        """Of a system metric that is watched as `auto`: until the run logs a history metric of the name."""
        end = None
        if source == Source.SYSTEM and wanted_source(self.rule.config) == "auto":
            end = histories.first_seq(run.pk, Source.HISTORY, self.name)
        for stretch in stretches:
            if end is not None and stretch.span.seq > end:
                return
            yield stretch

    # --- What need not be read --------------------------------------------------------------------

    def _ruled_out(self, run: Run, standing: Standing) -> Reason | None:
        """Why the condition cannot hold anywhere in a series, by what is known without reading it."""
        config, event_type = self.rule.config, self.rule.event_type
        assert isinstance(event_type, MetricEventType)  # noqa: S101  (the kind is chosen by it)
        if standing.minimum is None or standing.maximum is None:
            return Reason("no_finite_value")
        have, need = max(0, standing.finite_count - config["warmup"]), event_type.reach(config)
        if have < need:
            return Reason("window_not_full", {"have": have, "need": need})
        track = Track([standing.minimum, standing.maximum])
        view = View(self._at_all_times(run, standing.source), Series((), (), track.values), track, [_SOME])
        # For the bounds: two values, both looked at, each compared with every baseline.
        seen = {**config, "warmup": 0, "hold": 1}
        facts = event_type.gather(view, seen)
        bounds = event_type.bounds_by_extremes(config, facts)
        if bounds is None or not event_type.never(config, bounds):
            return None
        return event_type.decide_run(seen, facts).reason if self._compares_runs else _NOT_MET

    # --- What it is compared with -----------------------------------------------------------------

    @property
    def _compares_runs(self) -> bool:
        return self.rule.config.get("baseline") == "runs"

    def _place(self, run: Run, source: str) -> Place:
        if not self._compares_runs:
            return Place(run.pk, source, self.name, lambda _spans: ())
        others, window = self._others_of(run, source), self.rule.config["window"]

        def baselines(spans: Sequence[Span]) -> Sequence[tuple[Span, Baseline]]:
            moments = [span.received_at.timestamp() for span in spans]
            found = (others.at(moment, leave_out=run.pk, window=window) for moment in moments)
            return list(zip(spans, found, strict=True))

        return Place(run.pk, source, self.name, baselines)

    def _at_all_times(self, run: Run, source: str) -> Place:
        """The baselines of every value of a run, whichever value is asked for."""
        if not self._compares_runs:
            return self._place(run, source)
        others, window = self._others_of(run, source), self.rule.config["window"]

        def baselines(_spans: Sequence[Span]) -> Sequence[tuple[Span, Baseline]]:
            moments = others.times_of(run.pk)
            return [(_SOME, others.at(moment, leave_out=run.pk, window=window)) for moment in moments]

        return Place(run.pk, source, self.name, baselines)

    def _others_of(self, run: Run, source: str) -> Others:
        place = (run.project_id, source)
        if place not in self._others:
            self._others[place] = Others(run.project_id, source, self.name)
        return self._others[place]


# A batch of which nothing is asked.
_SOME = Span(0, datetime.fromtimestamp(0, UTC), 0, 0, 0, 0)
_NOT_MET = Reason("condition_not_met")
# The later, the more was looked at.
_TELLING = ["no_finite_value", "window_not_full", "too_few_runs", "no_deviation", "condition_not_met"]


def _most_telling(reasons: Iterable[Reason | None]) -> Reason | None:
    known = [reason for reason in reasons if reason is not None and reason.code in _TELLING]
    return max(known, key=lambda reason: _TELLING.index(reason.code), default=None)


@dataclass(frozen=True, slots=True)
class _Series:
    """A run, those of its series that must be read, and else why not."""

    run: Run
    standings: Sequence[Standing]
    reason: Reason | None
    last_step: int | None


class _Shelf:
    """The values of a page of runs; some runs are read together, when the first of them is asked for."""

    def __init__(self, name: str, standings: Sequence[Standing]) -> None:
        self._name = name
        self._waiting = list(standings)
        self._read: dict[tuple[int, str], list[Stretch]] = {}

    def stretches(self, standing: Standing) -> Iterable[Stretch]:
        place = (standing.run_id, standing.source)
        if standing.count > _AT_ONCE:
            return chain.from_iterable(histories.of_run(*place, self._name))
        if place not in self._read:
            self._read_next(standing)
        return self._read.pop(place)

    def _read_next(self, standing: Standing) -> None:
        numbers: list[int] = []
        count = 0
        for one in self._waiting[self._waiting.index(standing) :]:
            count += one.count
            if count > _AT_ONCE and numbers:
                break
            if one.source == standing.source:
                numbers.append(one.run_id)
        found = histories.of_runs(numbers, standing.source, self._name)
        self._read |= {(run_id, standing.source): stretches for run_id, stretches in found.items()}
