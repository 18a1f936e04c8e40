from __future__ import annotations

import math
from dataclasses import dataclass

from django import forms
from django.utils.translation import gettext_lazy as _

from automations.batches import BatchView
from automations.events.base import EVENTS, Config
from automations.events.metrics import WINDOW_MAX, MetricEventType, MetricFacts, MetricForm, shown
from automations.verdicts import Reason, Verdict
from automations.windows import Moments, Signal

# With fewer other runs than this (or than the window) there is no baseline.
MIN_RUNS = 10


class ZScoreForm(MetricForm):
    window = forms.IntegerField(
        label=_("Window"),
        initial=30,
        min_value=2,
        max_value=WINDOW_MAX,
        help_text=_("How many other runs, or values, make the mean and the standard deviation."),
    )
    baseline = forms.ChoiceField(
        label=_("Compared with"),
        initial="runs",
        choices=[
            ("runs", _("the latest values of the newest other runs")),
            ("values", _("the values before it in the same run")),
        ],
    )
    direction = forms.ChoiceField(
        label=_("Direction"),
        choices=[("above", _("above")), ("below", _("below")), ("either", _("either"))],
    )
    threshold = forms.FloatField(
        label=_("z-score"),
        min_value=math.ulp(0.0),
        help_text=_(
            "0 is the average, ±2 two standard deviations away; beyond ±2 is often called an outlier. "
            "The first values of a new run often stand out: use the warm-up."
        ),
    )


@dataclass(frozen=True, slots=True)
class ZScoreFacts(MetricFacts):
    """`baseline`: the latest finite value of each other run that counts, by run (not for `values`)."""

    baseline: dict[int, float]
    moments: Moments | None


@EVENTS.register
class RunMetricZScore(MetricEventType):
    """A new value stands out from other runs, or from the run's own past (R37–R44).

    Inclusive. `runs`: the newest other runs with a finite value, each counted with its latest one as of
    acceptance; fewer than min(window, 10) is not evaluated. `values`: the finite values right before x.
    """

    key = "run_metric_zscore"
    label = _("Run metrics z-score threshold met")
    config_form = ZScoreForm
    sentences = {
        **MetricEventType.sentences,
        "zscore_runs": _(
            "%(metric)s = %(sample)s is %(value)s standard deviations from the mean %(mean)s of %(count)s "
            "other runs, at step %(step)s"
        ),
        "zscore_values": _(
            "%(metric)s = %(sample)s is %(value)s standard deviations from the mean %(mean)s of the "
            "%(count)s values before it, at step %(step)s"
        ),
        "too_few_runs": _("%(have)s of at least %(need)s other runs have a value of %(metric)s"),
        "no_deviation": _("the values compared with do not differ, so nothing can stand out"),
    }

    def reach(self, config: Config) -> int:
        return int(config["window"]) + 1 if config["baseline"] == "values" else 1

    def gather(self, change: BatchView, config: Config) -> ZScoreFacts:
        facts = super().gather(change, config)
        baseline = {}
        if config["baseline"] == "runs":
            baseline = change.baseline(self.routing_key(config), window=config["window"])
        moments = Moments.of(list(baseline.values())) if baseline else None
        inherited = {name: getattr(facts, name) for name in _INHERITED}
        return ZScoreFacts(**inherited, baseline=baseline, moments=moments)

    def decide_run(self, config: Config, facts: MetricFacts) -> Verdict:
        if config["baseline"] == "runs" and isinstance(facts, ZScoreFacts):
            need = min(config["window"], MIN_RUNS)
            if len(facts.baseline) < need:
                return Verdict.no(
                    "too_few_runs", have=len(facts.baseline), need=need, metric=config["metric"]
                )
            if facts.moments is not None and facts.moments.deviation == 0:
                return Verdict.no("no_deviation")
        return super().decide_run(config, facts)

    def signal(self, config: Config, facts: MetricFacts) -> Signal:
        key = ("zscore", config["baseline"], config["window"])
        return facts.track.remember(key, lambda: self._signal(config, facts))

    def _signal(self, config: Config, facts: MetricFacts) -> Signal:
        start, count = self.reach(config) - 1, len(facts.track.values)
        # Of the lead only what a streak may need is scored: it was decided with its own batch.
        start = min(max(start, facts.track.new - config["hold"] + 1), count)
        numbers = [math.nan] * start + [self.exact(config, facts, end) for end in range(start, count)]
        return Signal.of(numbers, [0.0] * count, start=start)

    def exact(self, config: Config, facts: MetricFacts, end: int) -> float:
        return self._moments(config, facts, end).score(facts.track.values[end])

    def _moments(self, config: Config, facts: MetricFacts, end: int) -> Moments:
        if isinstance(facts, ZScoreFacts) and facts.moments is not None:
            return facts.moments
        return facts.track.moments(config["window"], end=end)

    def met(self, config: Config, number: float) -> bool:
        return self.strength(config, number) >= float(config["threshold"])

    def borders(self, config: Config) -> tuple[float, ...]:
        limit = config["threshold"]
        return {"above": (limit,), "below": (-limit,), "either": (-limit, limit)}[config["direction"]]

    def strength(self, config: Config, number: float) -> float:
        """R44, with the sign of the direction."""
        if config["direction"] == "either":
            return abs(number)
        return number if config["direction"] == "above" else -number

    def account(self, config: Config, facts: MetricFacts, end: int) -> Reason:
        values, window = facts.track.values, config["window"]
        compared = list(values[end - window : end])
        runs: list[int] = []
        if config["baseline"] == "runs" and isinstance(facts, ZScoreFacts):
            compared, runs = list(facts.baseline.values()), list(facts.baseline)
        moments = self._moments(config, facts, end)
        return Reason(
            f"zscore_{config['baseline']}",
            {
                "value": moments.score(values[end]),
                "sample": values[end],
                "mean": moments.mean,
                "deviation": moments.deviation,
                "threshold": config["threshold"],
                "direction": config["direction"],
                "window": shown(compared),
                "count": moments.count,
                "runs": runs[:100],
            },
        )

    def filter_text(self, config: Config) -> str:
        sign = {"above": "≥ ", "below": "≤ −", "either": "≥ ±"}[config["direction"]]
        return (
            f"z({config['metric']}, {config['window']} {config['baseline']}) {sign}{config['threshold']:.12g}"
        )


_INHERITED = tuple(MetricFacts.__dataclass_fields__)
