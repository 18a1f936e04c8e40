from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from django import forms
from django.utils.translation import gettext_lazy as _

from automations.batches import BatchView, StretchView
from automations.events.base import EVENTS, Config
from automations.events.clauses import with_options
from automations.events.metrics import (
    SYSTEM_PREFIX,
    MetricEventType,
    MetricForm,
    is_resolved,
    metric_name,
    wanted_source,
)
from automations.events.runs import RunEventType, RunFacts
from automations.verdicts import Reason, Verdict
from runs import metrics
from runs.metrics import Piece
from runs.models import MetricBatch, Source
from runs.models.metrics import spelled
from runs.names import NAME_LENGTH, validate_metric_name


class NonfiniteForm(MetricForm):
    metric = forms.CharField(
        label=_("Metric"),
        required=False,
        max_length=NAME_LENGTH,
        strip=False,
        validators=[validate_metric_name],
        help_text=_("Empty: any metric."),
    )


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first value of a run that makes it diverge by a rule: its place in its metric's piece."""

    piece: Piece
    position: int

    @property
    def order(self) -> tuple[float, int, str]:
        """Of several metrics in one call, the one that was logged first."""
        series = self.piece.series
        return series.timestamps[self.position], series.steps[self.position], self.piece.name


def first_divergence(pieces: Iterable[Piece], *, warmup: int, hold: int) -> Divergence | None:
    """Where a series was NaN or infinite `hold` times in a row for the first time. Pure.

    `pieces`: all that hold such values, in the order of their batches. Logged values are counted here,
    finite or not: `warmup` of each series are ignored.
    """
    streaks: dict[tuple[str, str], tuple[int, int]] = {}  # by series: where it went on to, and the streak
    found: list[Divergence] = []
    for piece in pieces:
        if found and piece.seq != found[0].piece.seq:
            break
        index, streak = streaks.get((piece.source, piece.name), (-1, 0))
        if index != piece.series.first_index:
            streak = 0  # what lies between was finite
        index = piece.series.first_index
        for position, value in enumerate(piece.series.values):
            streak = 0 if math.isfinite(value) or index + position < warmup else streak + 1
            if streak == hold:
                found.append(Divergence(piece, position))
                break
        streaks[piece.source, piece.name] = (index + len(piece.series.values), streak)
    return min(found, key=lambda one: one.order, default=None)


@dataclass(frozen=True, slots=True)
class NonfiniteFacts(RunFacts):
    """`seq` is the batch's number; `first` the run's first divergence up to it, if there is any in it."""

    seq: int
    first: Divergence | None
    resolved: bool

    @property
    def steps(self) -> Sequence[int]:
        """The steps that a hit is a position in."""
        return self.first.piece.series.steps if self.first else ()


@EVENTS.register
class RunMetricNonfinite(RunEventType[NonfiniteFacts]):
    """The first NaN or ±Infinity of a metric in a run, or of any metric when none is named (section 4.4).

    `warmup` ignores the first values of a series, `hold` asks for so many in a row; both count all logged
    values here, finite or not. A value from before the rule was armed, or of a run while it was killed, is
    the first all the same.
    """

    key = "run_metric_nonfinite"
    label = _("Run metric is NaN or infinite")
    source = MetricBatch
    config_form = NonfiniteForm
    variables = MetricEventType.variables
    sentences = {
        **MetricEventType.sentences,
        "nonfinite": _("%(metric)s is %(value)s at step %(step)s"),
        "all_finite": _("every new value is a finite number"),
        "seen_before": _(
            "%(metric)s was %(value)s at step %(step)s already; only the first time in a run counts"
        ),
    }

    def clause(self, config: Config) -> str:
        metric = config["metric"]
        named = _("%(metric)s is NaN or infinite for the first time in a run")
        anyone = _("any metric is NaN or infinite for the first time in a run")
        return with_options(str(named if metric else anyone) % {"metric": metric}, config)

    def routing_key(self, config: Config) -> str:
        return metric_name(config)

    def gather(self, change: BatchView, config: Config) -> NonfiniteFacts:
        name, batch = self.routing_key(config), change.batch
        source, first = batch.source if name else wanted_source(config), None
        if _diverges(change, name):
            first = self.first(config, batch.run_id, source=source, up_to=batch.seq)
        return NonfiniteFacts(
            run_name=batch.run_name,
            run_user=batch.run_user,
            run_status=batch.run_status,
            seq=batch.seq,
            first=first,
            resolved=is_resolved(config, change, name),
        )

    def may_fire(self, stretch: StretchView, config: Config) -> bool:
        return _diverges(stretch, self.routing_key(config))

    def first(
        self, config: Config, run_id: int, *, source: str, up_to: int | None = None
    ) -> Divergence | None:
        """The run's first divergence up to a batch; `auto` and "" are any source."""
        source = "" if source == "auto" else source
        pieces = metrics.with_nonfinite(run_id, up_to=up_to, source=source, name=self.routing_key(config))
        return first_divergence(pieces, warmup=config["warmup"], hold=config["hold"])

    def decide_run(self, config: Config, facts: NonfiniteFacts) -> Verdict:
        if not facts.resolved:
            return Verdict.no("other_source")
        if facts.first is None:
            return Verdict.no("all_finite")
        if facts.first.piece.seq != facts.seq:
            return Verdict.no("seen_before", **self.account(config, facts.first).data)
        return Verdict(hits=[facts.first.position])

    def describe(self, config: Config, facts: NonfiniteFacts, hit: int) -> Reason:
        return self.account(config, cast(Divergence, facts.first))

    def account(self, config: Config, first: Divergence) -> Reason:
        """The value, and up to four before it in the same call."""
        series, hit = first.piece.series, first.position
        prefix = SYSTEM_PREFIX if first.piece.source == Source.SYSTEM else ""
        return Reason(
            "nonfinite",
            {
                "metric": config["metric"] or prefix + first.piece.name,
                "value": spelled(series.values[hit]),
                "step": series.steps[hit],
                "timestamp": series.timestamps[hit],
                "window": [spelled(value) for value in series.values[max(0, hit - 4) : hit + 1]],
                "count": 1,
            },
        )

    def event_data(self, config: Config, facts: NonfiniteFacts, hit: int) -> dict[str, Any]:
        described = self.describe(config, facts, hit).data
        return {
            "metric_name": described["metric"],
            "metric_value": described["value"],
            "metric_values": described["window"],
            "metric_filter": f"{described['metric']} is NaN or infinite",
            "step": described["step"],
        }

    def dedup_key(self, change: Any, hit: int) -> str:
        return f"metric:{change.run.pk}:{change.seq}:{hit}"


def _diverges(view: BatchView, name: str) -> bool:
    """Whether there is anything that the rule could fire on: asked first, because there seldom is."""
    if not name:
        return view.has_nonfinite
    return len(view.positions(name)) < len(view.series[name].values)
