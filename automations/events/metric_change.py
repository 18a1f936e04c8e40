from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence

from django import forms
from django.utils.translation import gettext_lazy as _

from automations import windows
from automations.events.base import EVENTS, Config
from automations.events.clauses import aggregate_words
from automations.events.metrics import (
    AGGREGATIONS,
    WINDOW_MAX,
    MetricEventType,
    MetricFacts,
    MetricForm,
    aggregate_text,
    at_least,
    limit,
    shown,
)
from automations.outliers import SLACK
from automations.verdicts import Reason
from automations.windows import Signal, Track


class ChangeForm(MetricForm):
    aggregation = forms.ChoiceField(label=_("Aggregation"), choices=AGGREGATIONS, initial="average")
    window = forms.IntegerField(label=_("Current window"), initial=10, min_value=1, max_value=WINDOW_MAX)
    prior_window = forms.IntegerField(label=_("Prior window"), initial=50, min_value=1, max_value=WINDOW_MAX)
    change_type = forms.ChoiceField(
        label=_("Change"),
        initial="relative",
        choices=[("relative", _("Relative")), ("absolute", _("Absolute"))],
        help_text=_("A relative change is a fraction: 0.25 is 25 %."),
    )
    direction = forms.ChoiceField(
        label=_("Direction"),
        choices=[
            ("increase", _("increases by at least")),
            ("decrease", _("decreases by at least")),
            ("any", _("increases or decreases by at least")),
        ],
    )
    threshold = forms.FloatField(label=_("Amount"), min_value=math.ulp(0.0))


# A condition in words; the latest values stand in `subject`.
_CHANGED = {
    "increase": _("%(subject)s is at least %(amount)s above that of the %(prior)s values before them"),
    "decrease": _("%(subject)s is at least %(amount)s below that of the %(prior)s values before them"),
    "any": _("%(subject)s is at least %(amount)s away from that of the %(prior)s values before them"),
}
_CHANGED_AT_ONCE = {
    "increase": _("%(subject)s increases by at least %(amount)s from one value to the next"),
    "decrease": _("%(subject)s decreases by at least %(amount)s from one value to the next"),
    "any": _("%(subject)s increases or decreases by at least %(amount)s from one value to the next"),
}


@EVENTS.register
class RunMetricChange(MetricEventType[MetricFacts]):
    """The latest values compared with the ones just before them (R30–R35).

    Both windows slide on every value and do not overlap. Absolute: current − prior; relative:
    (current − prior) / |prior|, not evaluated where prior is 0. Inclusive.
    """

    key = "run_metric_change"
    label = _("Run metrics change threshold met")
    config_form = ChangeForm
    sentences = {
        **MetricEventType.sentences,
        "change_relative": _(
            "%(metric)s went from %(prior)s to %(current)s, a relative change of %(value)s, at step %(step)s"
        ),
        "change_absolute": _(
            "%(metric)s went from %(prior)s to %(current)s, a change of %(value)s, at step %(step)s"
        ),
    }

    def _widths(self, config: Config) -> tuple[int, int]:
        """With `none` the last value against the one before it."""
        aggregation = config["aggregation"]
        return windows.size(aggregation, config["window"]), windows.size(aggregation, config["prior_window"])

    def reach(self, config: Config) -> int:
        return sum(self._widths(config))

    def signal(self, config: Config, facts: MetricFacts) -> Signal:
        shape = (config["aggregation"], config["window"], config["prior_window"], config["change_type"])
        return facts.track.remember(("change", *shape), lambda: self._signal(config, facts.track))

    def _signal(self, config: Config, track: Track) -> Signal:
        width, start = self._widths(config)[0], self.reach(config) - 1
        current = track.aggregates(config["aggregation"], window=config["window"])
        prior = track.aggregates(config["aggregation"], window=config["prior_window"])
        # Up to `start` one of the two windows is not full, and its aggregate NaN.
        numbers = [math.nan] * min(width, len(track.values))
        if config["change_type"] == "relative":
            numbers += _ratios(current[width:], prior, positive=track.extremes[0] > 0)
        else:
            numbers += map(operator.sub, current[width:], prior)
        return Signal.of(numbers, start=start)

    def bounds(self, config: Config, facts: MetricFacts) -> tuple[float, float]:
        bounds = self.bounds_by_extremes(config, facts)
        if config["aggregation"] != "average" or self.never(config, bounds):
            return bounds
        return self._bounds_by_estimates(config, facts.track) or bounds

    def bounds_by_extremes(self, config: Config, facts: MetricFacts) -> tuple[float, float]:
        low, high = facts.track.extremes
        most = (high - low) * (1 + SLACK) + math.ulp(0.0)
        if config["change_type"] == "relative":
            least = max(low, -high)  # of the prior aggregate, without its sign
            most = most / least * (1 + SLACK) if least > 0 else math.inf
        return -most, most

    def _bounds_by_estimates(self, config: Config, track: Track) -> tuple[float, float] | None:
        """None where the estimated averages say nothing."""
        width, prior_width = self._widths(config)
        current, error = track.estimated_averages(width)
        prior, prior_error = track.estimated_averages(prior_width)
        # Where the prior window ends, the current one begins.
        current = current[prior_width:]
        if not current or not math.isfinite(error + prior_error):
            return None
        changes = list(map(operator.sub, current, prior))
        if config["change_type"] == "absolute":
            off = 2 * (error + prior_error)
            return _widened(min(changes) - off, max(changes) + off)
        least = min(map(abs, prior)) - 2 * prior_error
        if least <= 0:
            return None
        ratios = list(map(operator.truediv, changes, map(abs, prior)))
        low, high = min(ratios), max(ratios)
        off = 2 * (error + prior_error) * (1 + max(-low, high)) / least
        return _widened(low - off, high + off)

    def possible_ends(self, config: Config, signal: Signal, first: int) -> Iterable[int]:
        sign = {"increase": 1, "decrease": -1, "any": 0}[config["direction"]]
        return at_least(signal, limit(config), sign=sign, first=first)

    def met(self, config: Config, number: float) -> bool:
        return self.strength(config, number) >= limit(config)

    def borders(self, config: Config) -> tuple[float, ...]:
        amount = limit(config)
        return {"increase": (amount,), "decrease": (-amount,), "any": (-amount, amount)}[config["direction"]]

    def strength(self, config: Config, number: float) -> float:
        """R35, with the sign of the direction."""
        if config["direction"] == "any":
            return abs(number)
        return number if config["direction"] == "increase" else -number

    def account(self, config: Config, facts: MetricFacts, end: int) -> Reason:
        width, prior_width = self._widths(config)
        aggregates, aggregation = facts.track.aggregates, config["aggregation"]
        return Reason(
            f"change_{config['change_type']}",
            {
                "value": self.exact(config, facts, end),
                "current": aggregates(aggregation, window=config["window"])[end],
                "prior": aggregates(aggregation, window=config["prior_window"])[end - width],
                "threshold": config["threshold"],
                "direction": config["direction"],
                "window": shown(facts.track.window(end, width)),
                "count": width,
                "prior_count": prior_width,
            },
        )

    def condition(self, config: Config) -> str:
        amount = limit(config)
        relative = config["change_type"] == "relative"
        number = f"{100 * amount:.12g} %" if relative else f"{amount:.12g}"
        sentence = _CHANGED_AT_ONCE if config["aggregation"] == "none" else _CHANGED
        return str(sentence[config["direction"]]) % {
            "subject": aggregate_words(config, config["window"]),
            "amount": number,
            "prior": config["prior_window"],
        }

    def compared_text(self, config: Config) -> str:
        seen = aggregate_text(config, config["window"])
        return f"{seen} vs {aggregate_text(config, config['prior_window'])}"

    def filter_text(self, config: Config) -> str:
        sign = {"increase": "+", "decrease": "−", "any": "±"}[config["direction"]]
        unit = "" if config["change_type"] == "absolute" else " × prior"
        return f"{self.compared_text(config)}: {sign}{config['threshold']:.12g}{unit}"


def _ratios(current: Sequence[float], prior: Sequence[float], *, positive: bool) -> list[float]:
    """`positive`: no prior one is 0 or less, so that it is its own amount."""
    if positive:
        return [(one - other) / other for one, other in zip(current, prior, strict=False)]
    if 0 in prior:
        return list(map(_relative, current, prior))
    return list(map(operator.truediv, map(operator.sub, current, prior), map(abs, prior)))


def _widened(low: float, high: float) -> tuple[float, float]:
    """By the roundings of the last few steps."""
    slack = SLACK * max(abs(low), abs(high)) + math.ulp(0.0)
    return low - slack, high + slack


def _relative(current: float, prior: float) -> float:
    return (current - prior) / abs(prior) if prior != 0 else math.nan
