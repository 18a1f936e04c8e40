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

_ROUNDOFF = 2.0**-53


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

    def true_ends(self, config: Config, facts: MetricFacts, first: int) -> list[int]:
        track, width = facts.track, self._widths(config)[0]
        aggregation, amount = config["aggregation"], config["threshold"]
        current, current_error = track.aggregates(aggregation, window=config["window"])
        prior, prior_error = track.aggregates(aggregation, window=config["prior_window"])
        relative = config["change_type"] == "relative"
        found = []
        for end in range(first, len(track.values)):
            before = prior[end - width]
            change = current[end] - before
            error = current_error + prior_error + 4 * _ROUNDOFF * abs(change)
            if relative:
                size = abs(before) - prior_error
                # Too close to zero to divide by: only the exact numbers can tell.
                change = change / abs(before) if size > prior_error else math.nan
                error = (
                    2 * (current_error + (1 + abs(change)) * prior_error) / size + 8 * _ROUNDOFF * abs(change)
                    if size > 0
                    else math.inf
                )
            if not abs(abs(change) - amount) > error:
                change = self._exact(config, facts, end)
            if _reaches(config["direction"], change, amount):
                found.append(end)
        return found

    def _exact(self, config: Config, facts: MetricFacts, end: int) -> float:
        """The change exactly as R34 writes it; NaN where it is not evaluated."""
        current, prior = self._pair(config, facts, end)
        if config["change_type"] == "absolute":
            return current - prior
        return (current - prior) / abs(prior) if prior != 0 else math.nan

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
                "value": self._exact(config, facts, end),
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


def _reaches(direction: str, change: float, amount: float) -> bool:
    """R35; false for NaN."""
    if direction == "increase":
        return change >= amount
    if direction == "decrease":
        return change <= -amount
    return abs(change) >= amount
