from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from automations.batches import Baseline, BatchView, StretchView
from automations.events.base import EVENTS, Config
from automations.events.metrics import (
    WINDOW_MAX,
    MetricEventType,
    MetricFacts,
    MetricForm,
    at_least,
    limit,
    shown,
)
from automations.verdicts import Reason, Verdict
from automations.windows import Moments, Signal, Track, from_position

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
class Compared:
    """What the ends from `start` on are compared with: the latest finite value of each run that counts.

    `moments` is None where there are too few.
    """

    start: int
    baseline: Baseline
    moments: Moments | None


@dataclass(frozen=True, slots=True)
class ZScoreFacts(MetricFacts):
    """`compared`: in order, the batch's own last; empty where the run's own values are the baseline."""

    compared: Sequence[Compared]

    def compared_at(self, end: int) -> Compared:
        return self.compared[bisect_right(self.compared, end, key=lambda one: one.start) - 1]


# A condition in words, by what is compared with and by direction.
_OUTLIER = {
    "runs": {
        "above": _(
            "%(metric)s is at least %(threshold)s standard deviations above the mean of the %(window)s "
            "newest other runs"
        ),
        "below": _(
            "%(metric)s is at least %(threshold)s standard deviations below the mean of the %(window)s "
            "newest other runs"
        ),
        "either": _(
            "%(metric)s is at least %(threshold)s standard deviations away from the mean of the %(window)s "
            "newest other runs"
        ),
    },
    "values": {
        "above": _(
            "%(metric)s is at least %(threshold)s standard deviations above the mean of the %(window)s "
            "values before it"
        ),
        "below": _(
            "%(metric)s is at least %(threshold)s standard deviations below the mean of the %(window)s "
            "values before it"
        ),
        "either": _(
            "%(metric)s is at least %(threshold)s standard deviations away from the mean of the %(window)s "
            "values before it"
        ),
    },
}


@EVENTS.register
class RunMetricZScore(MetricEventType[ZScoreFacts]):
    """A new value stands out from other runs, or from the run's own past (R37–R44).

    Inclusive. `runs`: the newest other runs with a finite value, each counted with its latest one as of
    acceptance; fewer than min(window, 10) is not evaluated. `values`: the finite values right before x.
    """

    key = "run_metric_zscore"
    label = _("Run metrics z-score threshold met")
    config_form = ZScoreForm
    facts_class = ZScoreFacts
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

    def may_fire(self, stretch: StretchView, config: Config) -> bool:
        # Other runs' values are looked at as of the acceptance of each batch.
        return config["baseline"] == "runs" or super().may_fire(stretch, config)

    def more(self, change: BatchView, config: Config, track: Track) -> dict[str, Any]:
        if config["baseline"] == "values":
            return {"compared": ()}
        window, name = config["window"], self.routing_key(config)
        need = min(window, MIN_RUNS)
        return {
            "compared": [
                Compared(end, found, Moments.of(list(found.values())) if len(found) >= need else None)
                for end, found in change.baselines(name, track, window=window, hold=config["hold"])
            ]
        }

    def decide_run(self, config: Config, facts: ZScoreFacts) -> Verdict:
        verdict = super().decide_run(config, facts)
        if verdict.reason and verdict.reason.code == "condition_not_met" and facts.compared:
            return self._without_baseline(config, facts.compared[-1]) or verdict
        return verdict

    def _without_baseline(self, config: Config, compared: Compared) -> Verdict | None:
        """Why the values could not be compared with other runs at all, if so."""
        have, need = len(compared.baseline), min(config["window"], MIN_RUNS)
        if compared.moments is None:
            return Verdict.no("too_few_runs", have=have, need=need, metric=config["metric"])
        return Verdict.no("no_deviation") if compared.moments.deviation == 0 else None

    def signal(self, config: Config, facts: ZScoreFacts) -> Signal:
        track, window = facts.track, config["window"]
        if config["baseline"] == "values":
            return track.scores(window)
        return track.remember(("runs", window, config["hold"]), lambda: self._against_runs(facts))

    def _against_runs(self, facts: ZScoreFacts) -> Signal:
        values = facts.track.values
        numbers = [math.nan] * len(values)
        ends = [*(one.start for one in facts.compared), len(values)]
        for one, stop in zip(facts.compared, ends[1:], strict=True):
            if one.moments is not None:
                numbers[one.start : stop] = map(one.moments.score, values[one.start : stop])
        return Signal.of(numbers, start=ends[0])

    def bounds(self, config: Config, facts: ZScoreFacts) -> tuple[float, float]:
        if config["baseline"] == "values":
            return super().bounds(config, facts)
        values = facts.track.values
        extremes = (min(values), max(values))  # a score rises with its value, also when both are rounded
        moments = [one.moments for one in facts.compared if one.moments is not None]
        scores = [score for one in moments for score in map(one.score, extremes) if not math.isnan(score)]
        return min(scores, default=math.nan), max(scores, default=math.nan)

    def true_ends(self, config: Config, facts: ZScoreFacts, first: int) -> list[int]:
        moving = facts.track.moving(config["window"]) if config["baseline"] == "values" else None
        if moving is None:
            return super().true_ends(config, facts, first)
        amount = limit(config)
        ends = from_position(moving.may_reach(amount, sign=self._sign(config)), first)
        unsure = {end for end in ends if not moving.surely_reaches(end, amount)}
        if len(unsure) * config["window"] > 4 * len(facts.track.values):
            return super().true_ends(config, facts, first)  # to estimate all takes less
        return [end for end in ends if end not in unsure or self.met(config, self.exact(config, facts, end))]

    def _sign(self, config: Config) -> int:
        return {"above": 1, "below": -1, "either": 0}[config["direction"]]

    def possible_ends(self, config: Config, signal: Signal, first: int) -> Iterable[int]:
        return at_least(signal, limit(config), sign=self._sign(config), first=first)

    def bounds_by_extremes(self, config: Config, facts: ZScoreFacts) -> tuple[float, float] | None:
        return self.bounds(config, facts) if config["baseline"] == "runs" else None

    def exact(self, config: Config, facts: ZScoreFacts, end: int) -> float:
        moments = self._moments(config, facts, end)
        return moments.score(facts.track.values[end]) if moments else math.nan

    def _moments(self, config: Config, facts: ZScoreFacts, end: int) -> Moments | None:
        if config["baseline"] == "runs":
            return facts.compared_at(end).moments
        facts.track.pulse()  # with a long window one score takes a millisecond, and all may be needed
        return Moments.of(facts.track.window(end - 1, config["window"]))

    def met(self, config: Config, number: float) -> bool:
        return self.strength(config, number) >= limit(config)

    def borders(self, config: Config) -> tuple[float, ...]:
        amount = limit(config)
        return {"above": (amount,), "below": (-amount,), "either": (-amount, amount)}[config["direction"]]

    def strength(self, config: Config, number: float) -> float:
        """R44, with the sign of the direction."""
        if config["direction"] == "either":
            return abs(number)
        return number if config["direction"] == "above" else -number

    def account(self, config: Config, facts: ZScoreFacts, end: int) -> Reason:
        runs: list[int] = []
        compared = facts.track.window(end - 1, config["window"])
        if config["baseline"] == "runs":
            baseline = facts.compared_at(end).baseline
            runs, compared = list(baseline), list(baseline.values())
        moments, sample = Moments.of(compared), facts.track.values[end]
        return Reason(
            f"zscore_{config['baseline']}",
            {
                "value": moments.score(sample),
                "sample": sample,
                "mean": moments.mean,
                "deviation": moments.deviation,
                "threshold": config["threshold"],
                "direction": config["direction"],
                "window": shown(compared),
                "count": moments.count,
                "runs": runs[:100],
            },
        )

    def condition(self, config: Config) -> str:
        sentences = _OUTLIER[config["baseline"]]
        return str(sentences[config["direction"]]) % {
            "metric": config["metric"],
            "threshold": f"{limit(config):.12g}",
            "window": config["window"],
        }

    def compared_text(self, config: Config) -> str:
        return f"z({config['metric']}, {config['window']} {config['baseline']})"

    def filter_text(self, config: Config) -> str:
        sign = {"above": "≥ ", "below": "≤ −", "either": "≥ ±"}[config["direction"]]
        return f"{self.compared_text(config)} {sign}{config['threshold']:.12g}"
