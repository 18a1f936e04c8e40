"""Rules to start from: what most people want to be told of first, with options that seldom disturb.

A preset is a condition that can be saved as it is, once a metric is named where it needs one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True, slots=True)
class RulePreset:
    """`metric` is the usual one, "" for a rule that needs none; `config` has neither that nor filters."""

    key: str
    label: str | Promise
    hint: str | Promise
    event_type: str
    metric: str
    config: Mapping[str, Any]

    def event(self, metric: str = "") -> dict[str, Any]:
        """The condition for a metric, by default the usual one."""
        name = metric or self.metric
        return {**({"metric": name} if name else {}), **self.config}


RULE_PRESETS = (
    RulePreset(
        "nonfinite",
        _("NaN or infinite"),
        _("The first NaN or infinity of any metric in a run."),
        "run_metric_nonfinite",
        "",
        {},
    ),
    RulePreset(
        "spike",
        _("Loss spikes"),
        _("A value ten standard deviations above the 50 before it; the first 100 values are ignored."),
        "run_metric_zscore",
        "loss",
        {"baseline": "values", "window": 50, "direction": "above", "threshold": 10.0, "warmup": 100},
    ),
    RulePreset(
        "plateau",
        _("Loss stopped falling"),
        _("The average of 200 values is no lower than that of the 200 before them."),
        "run_metric_change",
        "loss",
        {
            "aggregation": "average",
            "window": 200,
            "prior_window": 200,
            "change_type": "relative",
            "direction": "increase",
            "threshold": 1e-6,
            "hold": 50,
        },
    ),
    RulePreset(
        "failed",
        _("Run failed"),
        _("A run failed or crashed."),
        "run_status",
        "",
        {"statuses": ["failed"]},
    ),
    RulePreset(
        "gpu_idle",
        _("GPU idle"),
        _("A GPU was used less than 5 % in every one of the last 20 values, about five minutes."),
        "run_metric_threshold",
        "system.gpu.0.gpu",
        {"aggregation": "max", "window": 20, "comparison": "below", "threshold": 5.0, "warmup": 8},
    ),
)
