from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from automations import windows
from automations.batches import BatchView
from automations.events.base import EVENTS, Config
from automations.events.metrics import MetricEventType, MetricForm, is_resolved, metric_name
from automations.events.runs import RunEventType, RunFacts
from automations.verdicts import Reason, Verdict
from runs import metrics
from runs.metrics import Series
from runs.models import MetricBatch, RunStatus
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
class NonfiniteFacts(RunFacts):
    """The first value of a batch, if any, that makes a run diverge by this rule.

    `position` is its place in the series of `metric` in the batch; `first_seq` the earlier batch in which
    the rule's condition held already.
    """

    run_status: str
    metric: str
    position: int | None
    steps: Sequence[int]
    timestamps: Sequence[float]
    values: Sequence[float]
    seen_before: bool
    resolved: bool


@EVENTS.register
class RunMetricNonfinite(RunEventType[NonfiniteFacts]):
    """The first NaN or ±Infinity of a metric in a run, or of any metric when none is named (section 4.4).

    `warmup` ignores the first values of a series, `hold` asks for so many in a row; both count all logged
    values here, finite or not.
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
        "seen_before": _("it was NaN or infinite before; only the first time counts"),
    }

    def routing_key(self, config: Config) -> str:
        return metric_name(config)

    def gather(self, change: BatchView, config: Config) -> NonfiniteFacts:
        name = self.routing_key(config)
        hits = {
            metric: hit
            for metric in ([name] if name else change.series)
            if (hit := _first_hit(change, config, metric)) is not None
        }
        # Of several metrics that diverge in one batch, the one that was logged first.
        metric = min(hits, key=lambda m: (change.series[m].timestamps[hits[m]], m), default=name)
        series = change.series.get(metric, _EMPTY)
        return NonfiniteFacts(
            run_name=change.batch.run_name,
            run_user=change.batch.run_user,
            run_status=change.batch.run_status,
            metric=metric,
            position=hits.get(metric),
            steps=series.steps,
            timestamps=series.timestamps,
            values=series.values,
            seen_before=bool(hits) and _seen_before(change, config, name),
            resolved=not metric or is_resolved(config, change, metric),
        )

    def decide_run(self, config: Config, facts: NonfiniteFacts) -> Verdict:
        if facts.run_status == RunStatus.KILLED:
            return Verdict.no("killed")
        if not facts.resolved:
            return Verdict.no("other_source", metric=config["metric"])
        if facts.position is None:
            return Verdict.no("all_finite")
        if facts.seen_before:
            return Verdict.no("seen_before")
        return Verdict(hits=[facts.position])

    def describe(self, config: Config, facts: NonfiniteFacts, hit: int) -> Reason:
        return Reason(
            "nonfinite",
            {
                "metric": facts.metric,
                "value": spelled(facts.values[hit]),
                "step": facts.steps[hit],
                "timestamp": facts.timestamps[hit],
                "window": [spelled(value) for value in facts.values[max(0, hit - 4) : hit + 1]],
                "count": 1,
            },
        )

    def event_data(self, config: Config, facts: NonfiniteFacts, hit: int) -> dict[str, Any]:
        described = self.describe(config, facts, hit).data
        return {
            "metric_name": facts.metric,
            "metric_value": described["value"],
            "metric_values": described["window"],
            "metric_filter": f"{facts.metric} is NaN or infinite",
            "step": facts.steps[hit],
        }

    def dedup_key(self, change: Any, hit: int) -> str:
        return f"metric:{change.run.pk}:{change.seq}:{hit}"


_EMPTY = Series((), (), ())


def _first_hit(view: BatchView, config: Config, metric: str) -> int | None:
    """Where in the batch the metric has been non-finite `hold` times in a row for the first time."""
    series = view.series[metric]
    if all(map(math.isfinite, series.values)):
        return None
    lead = _values_before(view, metric, count=config["hold"] - 1)
    values = [*lead, *series.values]
    starts_at = series.first_index - len(lead)
    bad = [
        i for i, value in enumerate(values) if not math.isfinite(value) and starts_at + i >= config["warmup"]
    ]
    ends = windows.from_position(windows.held(bad, times=config["hold"]), len(lead))
    return ends[0] - len(lead) if ends else None


def _values_before(view: BatchView, metric: str, *, count: int) -> list[float]:
    batch = view.batch
    return metrics.tail(batch.run_id, batch.source, metric, count=count, before=batch.seq, finite=False)


def _seen_before(view: BatchView, config: Config, name: str) -> bool:
    """Whether the condition held in an earlier batch of the run already."""
    batch = view.batch
    first = metrics.first_nonfinite(batch.run_id, before=batch.seq, source=batch.source, name=name)
    if first is None or (config["hold"] == 1 and config["warmup"] == 0):
        return first is not None
    earlier = MetricBatch.objects.filter(run=batch.run_id, source=batch.source, seq__lt=batch.seq)
    for one in earlier.filter(seq__gte=first).order_by("seq").iterator(chunk_size=100):
        past = BatchView(one, [name] if name else one.names)
        if any(_first_hit(past, config, metric) is not None for metric in past.series):
            return True
    return False
