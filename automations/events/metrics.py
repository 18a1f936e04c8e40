from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from automations import windows
from automations.conditions import COMPARISONS, SYMBOLS
from automations.events.base import EVENTS, Config
from automations.events.runs import RunEventType, RunFacts, RunFilterForm
from automations.verdicts import Reason, Verdict
from runs import metrics
from runs.models import MetricBatch, RunStatus, Source
from runs.names import NAME_LENGTH, validate_metric_name

WINDOW_MAX = 10_000
SYSTEM_PREFIX = "system."

AGGREGATIONS = [
    ("average", _("Average")),
    ("min", _("Minimum")),
    ("max", _("Maximum")),
    ("none", _("None: the latest value")),
]


class MetricForm(RunFilterForm):
    """What all metric rules share (R21, section 4)."""

    metric = forms.CharField(
        label=_("Metric"), max_length=NAME_LENGTH, strip=False, validators=[validate_metric_name]
    )
    source = forms.ChoiceField(
        label=_("Source"),
        initial="auto",
        choices=[
            ("auto", _("History, or else system")),
            ("history", _("History")),
            ("system", _("System")),
        ],
    )
    warmup = forms.IntegerField(
        label=_("Ignore the first values of a run"), initial=0, min_value=0, max_value=10_000_000
    )
    hold = forms.IntegerField(
        label=_("Values in a row that must meet it"), initial=1, min_value=1, max_value=WINDOW_MAX
    )


@dataclass(frozen=True, slots=True)
class MetricFacts(RunFacts):
    """One metric in one batch, and the finite values right before it.

    `values`, `steps` and `timestamps` are the batch as logged; `lead` holds the last finite values
    before it, oldest first; `finite_before` counts all of them. `resolved` is False when the metric of
    this name that the rule watches is the other source's (R21).
    """

    run_status: str
    steps: Sequence[int]
    timestamps: Sequence[float]
    values: Sequence[float]
    lead: Sequence[float]
    finite_before: int
    resolved: bool = True


@dataclass(frozen=True, slots=True)
class Considered:
    """The finite values that count, warm-up removed: `values[i]` for i >= `new` came with the batch,
    at the batch's position `positions[i - new]`."""

    values: list[float]
    new: int
    positions: list[int]


def consider(config: Config, facts: MetricFacts) -> Considered:
    """NaN and infinities fill no window; the first `warmup` finite values are ignored."""
    positions = [i for i, value in enumerate(facts.values) if math.isfinite(value)]
    lead_starts_at = facts.finite_before - len(facts.lead)
    lead = list(facts.lead)[max(0, config["warmup"] - lead_starts_at) :]
    positions = positions[max(0, config["warmup"] - facts.finite_before) :]
    return Considered(lead + [facts.values[i] for i in positions], len(lead), positions)


class MetricEventType(RunEventType[MetricFacts]):
    """Base of the rules over windows: evaluated on every newly logged value, in order (section 4).

    A subclass says how many values one evaluation looks at (`reach`), where its condition holds
    (`levels`), and how to explain one hit.
    """

    source = MetricBatch
    variables = (
        *RunEventType.variables,
        "metric_name",
        "metric_value",
        "metric_values",
        "metric_filter",
        "step",
    )

    def reach(self, config: Config) -> int:
        """Values that one evaluation looks at, the new one included."""
        raise NotImplementedError

    def levels(self, config: Config, values: Sequence[float]) -> list[bool]:
        """Whether the condition holds at values[reach - 1], values[reach], …"""
        raise NotImplementedError

    def routing_key(self, config: Config) -> str:
        return str(config["metric"]).removeprefix(SYSTEM_PREFIX)

    def gather(self, change: MetricBatch, config: Config) -> MetricFacts:
        name = self.routing_key(config)
        series = metrics.batch(change.run_id, change.source, name, seq=change.seq)
        needed = min(self.reach(config) + config["hold"] - 2, series.finite_before)
        return MetricFacts(
            run_name=change.run_name,
            run_user=change.run_user,
            run_status=change.run_status,
            steps=series.steps,
            timestamps=series.timestamps,
            values=series.values,
            lead=metrics.tail(change.run_id, change.source, name, count=needed, before=change.seq),
            finite_before=series.finite_before,
            resolved=_resolved(config, change, name),
        )

    def decide_run(self, config: Config, facts: MetricFacts) -> Verdict:
        if facts.run_status == RunStatus.KILLED:
            return Verdict.no("killed")
        if not facts.resolved:
            return Verdict.no("other_source", metric=config["metric"])
        seen = consider(config, facts)
        reach = self.reach(config)
        if len(seen.values) < reach:
            return Verdict.no("window_not_full", have=len(seen.values), need=reach)
        held = windows.held(self.levels(config, seen.values), times=config["hold"])
        first = max(0, seen.new - reach + 1)
        hits = [
            seen.positions[start + reach - 1 - seen.new] for start in range(first, len(held)) if held[start]
        ]
        return Verdict(hits=hits, reason=None if hits else Reason("condition_not_met"))

    def window_at(self, config: Config, facts: MetricFacts, hit: int) -> list[float]:
        """The `reach` values that were looked at for this hit, oldest first."""
        seen = consider(config, facts)
        end = seen.new + seen.positions.index(hit) + 1
        return seen.values[end - self.reach(config) : end]

    def event_data(self, config: Config, facts: MetricFacts, hit: int) -> dict[str, Any]:
        described = self.describe(config, facts, hit).data
        return {
            "metric_name": config["metric"],
            "metric_value": described["value"],
            "metric_values": described["window"],
            "metric_filter": self.filter_text(config),
            "step": facts.steps[hit],
        }

    def filter_text(self, config: Config) -> str:
        """The condition in a few characters, the same in every language."""
        raise NotImplementedError

    def dedup_key(self, change: Any, hit: int) -> str:
        return f"metric:{change.run_id}:{change.seq}:{hit}"

    sentences = {
        **RunEventType.filter_sentences,
        "window_not_full": _("%(have)s of %(need)s values"),
        "condition_not_met": _("no value met the condition"),
        "other_source": _("“%(metric)s” is a history metric of this run; these are system values"),
    }


def _resolved(config: Config, batch: MetricBatch, name: str) -> bool:
    """Whether values of this source are the ones the rule watches (R21).

    `system.<name>` is always the system one; `auto` is the history metric where the run had logged one
    when the batch was accepted, and else the system metric.
    """
    wanted = Source.SYSTEM if config["metric"].startswith(SYSTEM_PREFIX) else config["source"]
    if wanted != "auto":
        return bool(wanted == batch.source)
    if batch.source == Source.HISTORY:
        return True
    return not metrics.logged_before(batch.run_id, Source.HISTORY, name, seq=batch.seq)


class ThresholdForm(MetricForm):
    aggregation = forms.ChoiceField(label=_("Aggregation"), choices=AGGREGATIONS, initial="average")
    window = forms.IntegerField(
        label=_("Window"),
        initial=5,
        min_value=1,
        max_value=WINDOW_MAX,
        help_text=_("Latest values; system metrics come about every 15 s, so 5 of them are about 75 s."),
    )
    comparison = forms.ChoiceField(
        label=_("Comparison"),
        choices=[
            ("above", _("above")),
            ("above_or_equal", _("above or equal")),
            ("below", _("below")),
            ("below_or_equal", _("below or equal")),
            ("not_equal", _("not equal")),
            ("equal", _("equal")),
        ],
    )
    threshold = forms.FloatField(label=_("Threshold"))


@EVENTS.register
class RunMetricThreshold(MetricEventType):
    """The latest values, aggregated, compared with a number (R26–R29)."""

    key = "run_metric_threshold"
    label = _("Run metrics threshold met")
    config_form = ThresholdForm
    sentences = {
        **MetricEventType.sentences,
        "threshold_average": _(
            "average of the last %(count)s values of %(metric)s = %(value)s %(symbol)s %(threshold)s at step "
            "%(step)s"
        ),
        "threshold_min": _(
            "minimum of the last %(count)s values of %(metric)s = %(value)s %(symbol)s %(threshold)s at step "
            "%(step)s"
        ),
        "threshold_max": _(
            "maximum of the last %(count)s values of %(metric)s = %(value)s %(symbol)s %(threshold)s at step "
            "%(step)s"
        ),
        "threshold_none": _("%(metric)s = %(value)s %(symbol)s %(threshold)s at step %(step)s"),
    }

    def reach(self, config: Config) -> int:
        return windows.size(config["aggregation"], config["window"])

    def levels(self, config: Config, values: Sequence[float]) -> list[bool]:
        holds = COMPARISONS[config["comparison"]]
        threshold = config["threshold"]
        seen = windows.aggregates(config["aggregation"], values, window=config["window"])
        return [holds(value, threshold) for value in seen]

    def filter_text(self, config: Config) -> str:
        comparison = f"{SYMBOLS[config['comparison']]} {config['threshold']:.12g}"
        if config["aggregation"] == "none":
            return f"{config['metric']} {comparison}"
        return f"{config['aggregation']}({config['metric']}, {config['window']}) {comparison}"

    def describe(self, config: Config, facts: MetricFacts, hit: int) -> Reason:
        window = self.window_at(config, facts, hit)
        return Reason(
            f"threshold_{config['aggregation']}",
            {
                "metric": config["metric"],
                "value": windows.aggregate(config["aggregation"], window),
                "symbol": SYMBOLS[config["comparison"]],
                "threshold": config["threshold"],
                "window": window[-100:],
                "count": len(window),
                "step": facts.steps[hit],
                "timestamp": facts.timestamps[hit],
                "nonfinite": sum(not math.isfinite(value) for value in facts.values),
            },
        )
