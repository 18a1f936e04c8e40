from __future__ import annotations

import math

from django import forms
from django.utils.translation import gettext_lazy as _

from automations import windows
from automations.events.base import EVENTS, Config
from automations.events.metrics import (
    AGGREGATIONS,
    WINDOW_MAX,
    MetricEventType,
    MetricFacts,
    MetricForm,
    aggregate_text,
    shown,
)
from automations.verdicts import Reason
from automations.windows import ROUNDOFF, Signal, Track


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


@EVENTS.register
class RunMetricChange(MetricEventType):
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
        estimate = _absolute if config["change_type"] == "absolute" else _relative
        ends = range(start, len(track.values))
        pairs = [
            estimate(
                current.numbers[end],
                prior.numbers[end - width],
                error=current.errors[end],
                prior_error=prior.errors[end - width],
            )
            for end in ends
        ]
        padding = [math.nan] * min(start, len(track.values))
        numbers = padding + [number for number, _error in pairs]
        errors = [0.0] * len(padding) + [error for _number, error in pairs]
        return Signal.of(numbers, errors, start=start)

    def exact(self, config: Config, facts: MetricFacts, end: int) -> float:
        current, prior = self._pair(config, facts, end)
        if config["change_type"] == "absolute":
            return current - prior
        return (current - prior) / abs(prior) if prior != 0 else math.nan

    def met(self, config: Config, number: float) -> bool:
        return self.strength(config, number) >= float(config["threshold"])

    def borders(self, config: Config) -> tuple[float, ...]:
        amount = config["threshold"]
        return {"increase": (amount,), "decrease": (-amount,), "any": (-amount, amount)}[config["direction"]]

    def strength(self, config: Config, number: float) -> float:
        """R35, with the sign of the direction."""
        if config["direction"] == "any":
            return abs(number)
        return number if config["direction"] == "increase" else -number

    def _pair(self, config: Config, facts: MetricFacts, end: int) -> tuple[float, float]:
        exact, aggregation = facts.track.exact, config["aggregation"]
        width = self._widths(config)[0]
        return (
            exact(aggregation, window=config["window"], end=end),
            exact(aggregation, window=config["prior_window"], end=end - width),
        )

    def account(self, config: Config, facts: MetricFacts, end: int) -> Reason:
        current, prior = self._pair(config, facts, end)
        width, prior_width = self._widths(config)
        return Reason(
            f"change_{config['change_type']}",
            {
                "value": self.exact(config, facts, end),
                "current": current,
                "prior": prior,
                "threshold": config["threshold"],
                "direction": config["direction"],
                "window": shown(facts.track.values[end - width + 1 : end + 1]),
                "count": width,
                "prior_count": prior_width,
            },
        )

    def filter_text(self, config: Config) -> str:
        sign = {"increase": "+", "decrease": "−", "any": "±"}[config["direction"]]
        unit = "" if config["change_type"] == "absolute" else " × prior"
        seen = aggregate_text(config, config["window"])
        prior = aggregate_text(config, config["prior_window"])
        return f"{seen} vs {prior}: {sign}{config['threshold']:.12g}{unit}"


def _absolute(current: float, prior: float, *, error: float, prior_error: float) -> tuple[float, float]:
    """The estimated change and how far it can be off."""
    change = current - prior
    return change, error + prior_error + 4 * ROUNDOFF * abs(change)


def _relative(current: float, prior: float, *, error: float, prior_error: float) -> tuple[float, float]:
    size = abs(prior) - prior_error
    if not size > prior_error:  # too close to zero to divide by: only the exact numbers can tell
        return math.nan, math.inf
    change = (current - prior) / abs(prior)
    return change, 2 * (error + (1 + abs(change)) * prior_error) / size + 8 * ROUNDOFF * abs(change)
