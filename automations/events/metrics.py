from __future__ import annotations

import math
import operator
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, repeat
from typing import Any, ClassVar, Generic, TypeVar, cast

from django import forms
from django.utils.translation import gettext_lazy as _, ngettext

from automations import windows
from automations.batches import BatchView, StretchView
from automations.conditions import COMPARISONS, SYMBOLS
from automations.events.base import EVENTS, Config
from automations.events.clauses import aggregate_words, with_options
from automations.events.runs import RunEventType, RunFacts, RunFilterForm
from automations.verdicts import Reason, Verdict
from automations.windows import Signal, Track
from runs.models import MetricBatch, Source
from runs.models.metrics import spelled
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
    """One metric in one batch, and the finite values around it.

    `steps`, `timestamps` (seconds) and `values` are the batch as logged; `positions` says which of them
    are finite. `resolved` is False when the metric of this name that the rule watches is the other
    source's (R21).
    """

    steps: Sequence[int]
    timestamps: Sequence[float]
    values: Sequence[float]
    positions: Sequence[int]
    track: Track
    resolved: bool


M = TypeVar("M", bound=MetricFacts)


class MetricEventType(RunEventType[M], Generic[M]):
    """Base of the rules over windows: evaluated on every newly logged value, in order (section 4).

    What a rule compares is one number per value, its signal. A subclass says how many values one number
    takes (`reach`), what the numbers are (`signal`), which of them meet the condition (`met`), and how to
    explain one (`account`).
    """

    source = MetricBatch
    # Whether the numbers that are compared are of the metric's own kind, so that both fit in one picture.
    compares_values: ClassVar[bool] = False
    # What `decide` reads; fields beside the common ones come from `more`.
    facts_class: ClassVar[type[MetricFacts]] = MetricFacts
    variables = (
        *RunEventType.variables,
        "metric_name",
        "metric_value",
        "metric_values",
        "metric_filter",
        "step",
    )
    sentences = {
        **RunEventType.filter_sentences,
        "window_not_full": _("%(have)s of %(need)s values"),
        "no_finite_value": _("none of the new values is a finite number"),
        "condition_not_met": _("no value met the condition"),
        "other_source": _("these values are of another source than the one that the rule watches"),
    }

    def reach(self, config: Config) -> int:
        """Values that one evaluation looks at, the new one included."""
        raise NotImplementedError

    def signal(self, config: Config, facts: M) -> Signal:
        """The numbers that are compared, one for every end; shared by the rules that compare the same."""
        raise NotImplementedError

    def exact(self, config: Config, facts: M, end: int) -> float:
        """One of them, exactly as the semantics write it; NaN where nothing is evaluated."""
        return self.signal(config, facts).numbers[end]

    def met(self, config: Config, number: float) -> bool:
        """Whether a number meets the condition; NaN never does."""
        raise NotImplementedError

    def borders(self, config: Config) -> tuple[float, ...]:
        """The numbers at which `met` changes."""
        raise NotImplementedError

    def strength(self, config: Config, number: float) -> float:
        """The greater, the nearer to firing; NaN stays NaN."""
        raise NotImplementedError

    def would_fire(self, config: Config, number: float) -> str:
        """The thresholds with which this number would have met the condition, "" where none can be named."""
        strength = self.strength(config, number)
        return f"threshold ≤ {strength!r}" if strength > 0 else ""

    def account(self, config: Config, facts: M, end: int) -> Reason:
        """The numbers of one hit; `value`, `window` and `count` among them."""
        raise NotImplementedError

    def compared_text(self, config: Config) -> str:
        """What is compared in a few characters, the same in every language."""
        raise NotImplementedError

    def filter_text(self, config: Config) -> str:
        """The condition likewise."""
        raise NotImplementedError

    def clause(self, config: Config) -> str:
        return with_options(self.condition(config), config)

    def condition(self, config: Config) -> str:
        """The condition alone, in words."""
        raise NotImplementedError

    def true_ends(self, config: Config, facts: M, first: int) -> list[int]:
        """The ends from `first` on, in order, at which the condition holds."""
        borders = self.borders(config)
        if self.never(config, self.bounds(config, facts)):
            return []
        signal = self.signal(config, facts)
        if self.never(config, (signal.low, signal.high)):
            return []
        numbers = signal.numbers
        return [
            end
            for end in self.possible_ends(config, signal, first)
            if self.met(
                config, numbers[end] if signal.is_sure(end, borders) else self.exact(config, facts, end)
            )
        ]

    def possible_ends(self, config: Config, signal: Signal, first: int) -> Iterable[int]:
        """The ends from `first` on without most of those at which the condition surely does not hold."""
        return range(first, len(signal.numbers))

    def bounds(self, config: Config, facts: M) -> tuple[float, float]:
        """Between which every number lies for certain, found with less work than the numbers."""
        return -math.inf, math.inf

    def bounds_by_extremes(self, config: Config, facts: M) -> tuple[float, float] | None:
        """The same by the lowest and the highest of all values alone; None where those say nothing."""
        return None

    def never(self, config: Config, bounds: tuple[float, float]) -> bool:
        """Whether numbers between these lie on one side of every border, and not on the side that is met."""
        low, high = bounds
        may_cross = any(low <= border <= high for border in self.borders(config))
        return not may_cross and not self.met(config, low) and not self.met(config, high)

    def routing_key(self, config: Config) -> str:
        return metric_name(config)

    def gather(self, change: BatchView, config: Config) -> M:
        name = self.routing_key(config)
        series = change.series[name]
        track = change.track(name, lead=self.reach(config) + config["hold"] - 2)
        facts = self.facts_class(
            run_name=change.batch.run_name,
            run_user=change.batch.run_user,
            run_status=change.batch.run_status,
            steps=series.steps,
            timestamps=series.timestamps,
            values=series.values,
            positions=change.positions(name),
            track=track,
            resolved=is_resolved(config, change, name),
            **self.more(change, config, track),
        )
        return cast(M, facts)

    def may_fire(self, stretch: StretchView, config: Config) -> bool:
        return bool(self.decide_run(config, self.gather(stretch, config)).hits)

    def more(self, change: BatchView, config: Config, track: Track) -> dict[str, Any]:
        """What the type's own facts hold beside the common ones."""
        return {}

    def decide_run(self, config: Config, facts: M) -> Verdict:
        if not facts.resolved:
            return Verdict.no("other_source")
        if not facts.positions:
            return Verdict.no("no_finite_value")
        track, reach = facts.track, self.reach(config)
        first = track.first_end(reach=reach, warmup=config["warmup"], hold=config["hold"])
        if first >= len(track.values):
            have = reach - 1 - (first - len(track.values))
            return Verdict.no("window_not_full", have=max(0, have), need=reach)
        ends = windows.held(self.true_ends(config, facts, first), times=config["hold"])
        hits = [facts.positions[end - track.new] for end in windows.from_position(ends, track.new)]
        return Verdict(hits=hits, reason=None if hits else Reason("condition_not_met"))

    def describe(self, config: Config, facts: M, hit: int) -> Reason:
        end = facts.track.new + bisect_left(facts.positions, hit)
        reason = self.account(config, facts, end)
        common = {
            "metric": config["metric"],
            "step": facts.steps[hit],
            "timestamp": facts.timestamps[hit],
            "nonfinite": len(facts.values) - len(facts.positions),
        }
        # A change between the largest doubles can be infinite, and JSON has no such number.
        return Reason(reason.code, {name: _spelled(value) for name, value in (common | reason.data).items()})

    def explain(self, reason: Mapping[str, Any]) -> str:
        """With a note on the values of the batch that no window holds."""
        sentence = super().explain(reason)
        left_out = reason.get("data", {}).get("nonfinite")
        if not left_out:
            return sentence
        note = ngettext(
            "%(count)s value that is no finite number is left out",
            "%(count)s values that are no finite numbers are left out",
            left_out,
        )
        return f"{sentence} ({note % {'count': left_out}})"

    def event_data(self, config: Config, facts: M, hit: int) -> dict[str, Any]:
        described = self.describe(config, facts, hit).data
        return {
            "metric_name": config["metric"],
            "metric_value": described["value"],
            "metric_values": described["window"],
            "metric_filter": self.filter_text(config),
            "step": facts.steps[hit],
        }

    def dedup_key(self, change: Any, hit: int) -> str:
        return f"metric:{change.run.pk}:{change.seq}:{hit}"


def _spelled(value: Any) -> Any:
    return spelled(value) if isinstance(value, float) else value


def metric_name(config: Config) -> str:
    """The metric's name as it is logged: `system.cpu` is the system metric `cpu` (R21)."""
    return str(config["metric"] or "").removeprefix(SYSTEM_PREFIX)


def limit(config: Config) -> float:
    """The threshold. PostgreSQL gives a large one back as a whole number, which is not the double it was."""
    return float(config["threshold"])


def wanted_source(config: Config) -> str:
    """`auto`, `history` or `system`; `system.<name>` is always the system metric (R21)."""
    is_system = (config["metric"] or "").startswith(SYSTEM_PREFIX)
    return Source.SYSTEM.value if is_system else str(config["source"])


def is_resolved(config: Config, view: BatchView, name: str) -> bool:
    """Whether values of the batch's source are the ones the rule watches (R21).

    `auto` is the history metric where the run had logged one when the batch was accepted, and else the
    system metric; without a name it is both.
    """
    wanted = wanted_source(config)
    if wanted != "auto":
        return wanted == view.batch.source
    return view.batch.source == Source.HISTORY or not name or not view.is_history_metric(name)


def at_least(signal: Signal, amount: float, *, sign: int, first: int) -> Iterable[int]:
    """The ends from `first` on whose number, in the direction of `sign` (0: in either), may reach `amount`;
    NaN may."""
    seen: Iterable[float] = signal.numbers[first:]
    if sign <= 0:
        seen = map(operator.neg if sign else abs, seen)
    least = amount * (1 - 2 * signal.slack)
    falls_short = map(operator.lt, seen, repeat(least))
    return compress(range(first, len(signal.numbers)), map(operator.not_, falls_short))


def shown(window: Sequence[float]) -> list[float]:
    """As much of a window as is kept with an explanation: the latest hundred values."""
    return list(window[-100:])


# A condition in words; what is compared stands in `subject`.
_COMPARED = {
    "above": _("%(subject)s is above %(threshold)s"),
    "above_or_equal": _("%(subject)s is %(threshold)s or above"),
    "below": _("%(subject)s is below %(threshold)s"),
    "below_or_equal": _("%(subject)s is %(threshold)s or below"),
    "not_equal": _("%(subject)s is not equal to %(threshold)s"),
    "equal": _("%(subject)s is equal to %(threshold)s"),
}


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
class RunMetricThreshold(MetricEventType[MetricFacts]):
    """The latest values, aggregated, compared with a number (R26–R29)."""

    key = "run_metric_threshold"
    label = _("Run metrics threshold met")
    compares_values = True
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

    def signal(self, config: Config, facts: MetricFacts) -> Signal:
        aggregation, window, reach = config["aggregation"], config["window"], self.reach(config)

        def make() -> Signal:
            return Signal.of(facts.track.aggregates(aggregation, window=window), start=reach - 1)

        return facts.track.remember(("threshold", aggregation, reach), make)

    def bounds(self, config: Config, facts: MetricFacts) -> tuple[float, float]:
        extremes, width = facts.track.extremes, self.reach(config)
        if config["aggregation"] != "average" or width == 1 or self.never(config, extremes):
            return extremes
        return facts.track.average_bounds(width)

    def true_ends(self, config: Config, facts: MetricFacts, first: int) -> list[int]:
        if self._all_must_meet_it(config) and not self._is_held(config, facts.track.values):
            return []
        return super().true_ends(config, facts, first)

    def _all_must_meet_it(self, config: Config) -> bool:
        """Whether the aggregate meets the condition only if every value of the window does."""
        extreme, comparison = config["aggregation"], config["comparison"].removesuffix("_or_equal")
        return (extreme, comparison) in {("min", "above"), ("max", "below")}

    def _is_held(self, config: Config, values: Sequence[float]) -> bool:
        """Whether as many values in a row as the window takes meet it."""
        compared = map(COMPARISONS[config["comparison"]], values, repeat(limit(config)))
        return bool(windows.held(compress(range(len(values)), compared), times=self.reach(config)))

    def possible_ends(self, config: Config, signal: Signal, first: int) -> Iterable[int]:
        compared = map(COMPARISONS[config["comparison"]], signal.numbers[first:], repeat(limit(config)))
        return compress(range(first, len(signal.numbers)), compared)

    def bounds_by_extremes(self, config: Config, facts: MetricFacts) -> tuple[float, float]:
        return facts.track.extremes

    def met(self, config: Config, number: float) -> bool:
        return number == number and COMPARISONS[config["comparison"]](number, limit(config))

    def borders(self, config: Config) -> tuple[float, ...]:
        return (limit(config),)

    def strength(self, config: Config, number: float) -> float:
        comparison, distance = config["comparison"], number - limit(config)
        if comparison in {"equal", "not_equal"}:
            return -abs(distance) if comparison == "equal" else abs(distance)
        return number if comparison.startswith("above") else -number

    def would_fire(self, config: Config, number: float) -> str:
        comparison = config["comparison"]
        if comparison == "not_equal":
            return f"threshold ≠ {number!r}"
        if comparison == "equal" and config["hold"] > 1:
            return ""  # other values of the streak may differ from this one
        # The condition read from the other side: value > threshold is threshold < value.
        symbol = {"above": "<", "above_or_equal": "≤", "below": ">", "below_or_equal": "≥", "equal": "="}
        return f"threshold {symbol[comparison]} {number!r}"

    def account(self, config: Config, facts: MetricFacts, end: int) -> Reason:
        reach = self.reach(config)
        return Reason(
            f"threshold_{config['aggregation']}",
            {
                "value": self.exact(config, facts, end),
                "symbol": SYMBOLS[config["comparison"]],
                "threshold": config["threshold"],
                "window": shown(facts.track.window(end, reach)),
                "count": reach,
            },
        )

    def condition(self, config: Config) -> str:
        compared = _COMPARED[config["comparison"]]
        number = f"{limit(config):.12g}"
        return str(compared) % {"subject": aggregate_words(config, config["window"]), "threshold": number}

    def compared_text(self, config: Config) -> str:
        return aggregate_text(config, config["window"])

    def filter_text(self, config: Config) -> str:
        comparison = f"{SYMBOLS[config['comparison']]} {config['threshold']:.12g}"
        return f"{self.compared_text(config)} {comparison}"


def aggregate_text(config: Config, window: int) -> str:
    """`average(loss, 5)`, or the metric alone where only the latest value counts."""
    if config["aggregation"] == "none":
        return str(config["metric"])
    return f"{config['aggregation']}({config['metric']}, {window})"
