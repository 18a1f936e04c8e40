"""How runs are replayed under each kind of rule: page by page, with few questions for a page."""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from operator import attrgetter

from automations.backtests.replay import Change, Match, Replay, Rule, settle
from automations.events.metrics import metric_name, wanted_source
from automations.events.runs import RunFacts
from automations.models import Event
from automations.verdicts import Reason
from runs.histories import Standing
from runs.models import MetricBatch, Run, RunStatusChange, Source

# Changes of a run of which the circumstances are read at once.
_CHANGES = 200


class Kind(ABC):
    """`beat` is called again and again while it works; what it raises ends the work."""

    def __init__(self, rule: Rule, *, described: int, beat: Callable[[], None]) -> None:
        self.rule = rule
        self.described = described
        self.beat = beat

    @abstractmethod
    def replay(self, runs: Sequence[Run]) -> Iterator[Replay]:
        """One for each run, in their order."""

    def settle(self, replay: Replay, matches: Iterable[tuple[Match, Change]]) -> Replay:
        return settle(self.rule, replay, matches, described=self.described)


class StatusKind(Kind):
    """`run_status`: the stored changes themselves."""

    def replay(self, runs: Sequence[Run]) -> Iterator[Replay]:
        changes: dict[int, list[RunStatusChange]] = defaultdict(list)
        for change in RunStatusChange.objects.filter(run__in=runs).order_by("run", "seq"):
            changes[change.run_id].append(change)
        causes = self._causes([change for each in changes.values() for change in each])
        for run in runs:
            self.beat()
            yield self._one(run, changes[run.pk], causes)

    def _causes(self, changes: Sequence[RunStatusChange]) -> dict[str, str]:
        """A change's cause stands in its event, as long as that is kept."""
        origins = [f"run_status:{change.pk}" for change in changes]
        rows = Event.objects.filter(origin__in=origins).exclude(cause="")
        return {str(origin): cause for origin, cause in rows.values_list("origin", "cause")}

    def _one(self, run: Run, changes: Sequence[RunStatusChange], causes: dict[str, str]) -> Replay:
        replay, config = Replay(run), self.rule.config
        event_type = self.rule.event_type
        matches = []
        for change in changes:
            facts = event_type.gather(change, config)
            verdict = event_type.decide(config, facts)
            replay.reason = verdict.reason or replay.reason
            if verdict.hits:
                cause = causes.get(f"run_status:{change.pk}", "")
                describe = partial(event_type.describe, config, facts)
                known = Change(change.seq, change.received_at, cause, facts)
                matches.append((Match(change.seq, verdict.hits, describe), known))
        replay.reason = replay.reason or Reason("never_happened")
        return self.settle(replay, matches)


class MetricKind(Kind):
    """What rules on metrics share: which runs the filters let through at all, which source counts (R21)."""

    @property
    def name(self) -> str:
        return metric_name(self.rule.config)

    def unadmitted(self, runs: Sequence[Run]) -> dict[int, Reason]:
        """Runs of which the filters stop every batch, whatever is in it."""
        config = self.rule.config
        if not (config["user"] or config["run_name"]):
            return {}
        rows = MetricBatch.objects.filter(run__in=runs).order_by()
        found: dict[int, Reason] = {}
        admitted = set()
        for run_id, name, user in rows.values_list("run_id", "run_name", "run_user").distinct():
            refused = self.rule.event_type.refused(config, RunFacts(name, user, ""))
            if refused is None:
                admitted.add(run_id)
            elif refused.reason is not None:
                found[run_id] = refused.reason
        return {run_id: reason for run_id, reason in found.items() if run_id not in admitted}

    def sources(self, logged: dict[str, Standing]) -> list[str] | Reason:
        """The sources whose series are watched, of those that were logged."""
        wanted = wanted_source(self.rule.config)
        if not logged:
            return Reason("never_logged", {"metric": self.name, "nearest": []})
        if wanted == "auto":
            return sorted(logged)
        if wanted in logged:
            return [wanted]
        (other,) = logged
        labels = {"logged": Source(other).label, "wanted": Source(wanted).label}
        return Reason("only_other_source", {"metric": self.name, **labels})

    def known(self, run: Run, matches: Iterable[Match]) -> Iterator[tuple[Match, Change]]:
        """Each match with what its batch says of the run."""
        rest = iter(matches)
        while some := list(islice(rest, _CHANGES)):
            changes = self._changes(run, [match.seq for match in some])
            yield from ((match, changes[match.seq]) for match in some)

    def _changes(self, run: Run, numbers: Sequence[int]) -> dict[int, Change]:
        columns = ("seq", "received_at", "cause", "run_name", "run_user", "run_status")
        rows = MetricBatch.objects.filter(run=run, seq__in=numbers).order_by().values_list(*columns)
        return {
            seq: Change(seq, received_at, cause, RunFacts(*facts)) for seq, received_at, cause, *facts in rows
        }


def in_order(*matches: Iterable[Match]) -> Iterable[Match]:
    """Those of several series, in the order of their batches."""
    return heapq.merge(*matches, key=attrgetter("seq"))
