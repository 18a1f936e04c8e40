"""`run_metric_nonfinite` over stored runs: of most no more is asked than whether they ever diverged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from automations.backtests.kinds import MetricKind, in_order
from automations.backtests.replay import Match, Replay
from automations.events.metric_nonfinite import RunMetricNonfinite
from automations.events.metrics import wanted_source
from automations.verdicts import Reason
from runs import histories, metrics
from runs.histories import Standing
from runs.models import Run, Source


class NonfiniteKind(MetricKind):
    def replay(self, runs: Sequence[Run]) -> Iterator[Replay]:
        numbers = [run.pk for run in runs]
        unadmitted = self.unadmitted(runs)
        logged = histories.standings(numbers, self.name) if self.name else {}
        diverged = histories.with_nonfinite(numbers, self.name)
        for run in runs:
            self.beat()
            standings = logged.get(run.pk, {})
            replay = Replay(run, last_step=_last_step(standings))
            replay.reason = self._stopped(run, unadmitted, standings)
            if replay.reason is None:
                replay.reason = Reason("all_finite")
                if run.pk in diverged:
                    self.settle(replay, self.known(run, in_order(*self._matches(run, standings))))
            yield replay

    def _stopped(
        self, run: Run, unadmitted: dict[int, Reason], standings: dict[str, Standing]
    ) -> Reason | None:
        if run.pk in unadmitted:
            return unadmitted[run.pk]
        sources = self.sources(standings) if self.name else []
        return sources if isinstance(sources, Reason) else None

    def _matches(self, run: Run, standings: dict[str, Standing]) -> list[list[Match]]:
        if not self.name:
            return [self._first(run, wanted_source(self.rule.config))]
        sources = self.sources(standings)
        return [] if isinstance(sources, Reason) else [self._first(run, source) for source in sources]

    def _first(self, run: Run, source: str) -> list[Match]:
        event_type, config = self.rule.event_type, self.rule.config
        assert isinstance(event_type, RunMetricNonfinite)  # noqa: S101  (the kind is chosen by it)
        first = event_type.first(config, run.pk, source=source)
        if first is None or self._is_superseded(run, source, first.piece.seq):
            return []
        return [Match(first.piece.seq, [first.position], lambda _hit: event_type.account(config, first))]

    def _is_superseded(self, run: Run, source: str, seq: int) -> bool:
        """Whether the history metric of the name was the one that counts by then (R21)."""
        if not self.name or source != Source.SYSTEM or wanted_source(self.rule.config) != "auto":
            return False
        return metrics.logged_before(run.pk, Source.HISTORY, self.name, seq=seq)


def _last_step(standings: dict[str, Standing]) -> int | None:
    return max((one.last_step for one in standings.values()), default=None)
