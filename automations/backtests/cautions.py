"""What a rule should be doubted for: it can never fire, or always does, or does not mean what it says."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext as _

from automations import regex
from automations.backtests.engine import Replays, runs_of
from automations.backtests.summary import Summary
from automations.events.base import EVENTS, readable
from automations.events.metrics import SYSTEM_PREFIX, MetricEventType, limit, metric_name
from automations.models import Automation
from automations.verdicts import Reason
from runs.models import MetricSummary, Source

# Of so many evaluated runs at least that share, and it says nothing about any of them.
_MANY, _NEARLY_ALL = 5, 0.9
# Names of metrics and runs that are looked through for a similar one.
_LOOK_THROUGH = 2000
# What `of_the_rule` can say.
OF_THE_RULE = frozenset({"second_skipped", "source_ignored", "impossible"})


def cautions(replays: Replays, summary: Summary) -> list[Reason]:
    """After all runs were replayed."""
    automation = replays.automation
    return [
        *of_the_rule(automation),
        *_of_the_metric(automation, summary),
        *_of_the_filters(automation, summary),
        *_of_the_firings(summary),
    ]


def sentence(caution: Reason) -> str:
    """In the active language."""
    data = {
        name: ", ".join(value) if isinstance(value, list) else readable(value)
        for name, value in caution.data.items()
    }
    code = "never_logged_nor_alike" if caution.data.get("nearest") == [] else caution.code
    return _sentences()[code] % data


def _sentences() -> dict[str, str]:
    return {
        "no_runs": _("There was no run in this time to try the rule on."),
        "never_logged": _("It never fires: no run logged “%(metric)s”. Runs did log %(nearest)s."),
        "never_logged_nor_alike": _("It never fires: no run logged “%(metric)s”, nor anything like it."),
        "always": _("It fires on nearly every run: %(fired)s of %(runs)s."),
        "window_too_long": _(
            "It never fires: it looks at %(need)s values, and no run logged more than %(have)s."
        ),
        "no_run_of_user": _("It never fires: no run here is by “%(user)s”."),
        "no_such_name": _("It never fires: no run has a name that matches %(pattern)s."),
        "impossible": _("It can never be true: no number is %(comparison)s %(threshold)s."),
        "negative_only": _(
            "It can never be true here: %(metric)s is never below 0, and what is not negative never "
            "decreases by more than 100 %%."
        ),
        "source_ignored": _("“%(metric)s” is always the system metric; the source “%(source)s” is ignored."),
        "second_skipped": _(
            "A run that fires when it starts is not reported again when it ends, within the period; count "
            "each status alone, or leave out “running”."
        ),
    }


# --- By what it says ------------------------------------------------------------------------------


def of_the_rule(automation: Automation) -> Iterator[Reason]:
    """What needs no run to be seen."""
    config = automation.config
    if automation.period != 0 and not automation.per_status:
        statuses = set(config.get("statuses", []))
        if "running" in statuses and len(statuses) > 1:
            yield Reason("second_skipped")
    metric = config.get("metric") or ""
    if metric.startswith(SYSTEM_PREFIX) and config["source"] == Source.HISTORY:
        yield Reason("source_ignored", {"metric": metric, "source": str(Source.HISTORY.label)})
    if automation.event_type == "run_metric_threshold":
        bound = {"above": sys.float_info.max, "below": -sys.float_info.max}.get(config["comparison"])
        if bound == limit(config):
            data = {"comparison": _("above") if bound > 0 else _("below"), "threshold": bound}
            yield Reason("impossible", data)


# --- By what was logged ---------------------------------------------------------------------------


def _of_the_metric(automation: Automation, summary: Summary) -> Iterator[Reason]:
    name = metric_name(automation.config) if automation.config.get("metric") else ""
    if not name or not summary.runs:
        return
    if summary.reasons["never_logged"] == summary.runs:
        yield Reason(
            "never_logged", {"metric": automation.config["metric"], "nearest": _nearest(automation, name)}
        )
        return
    too_short = summary.reasons["window_not_full"]
    if too_short and not summary.evaluated:
        need = _reach(automation)
        yield Reason("window_too_long", {"need": need, "have": summary.most_values})
    if _asks_for_more_than_all(automation) and not _is_ever_negative(automation, name):
        yield Reason("negative_only", {"metric": automation.config["metric"]})


def _nearest(automation: Automation, name: str) -> list[str]:
    logged = MetricSummary.objects.filter(run__in=runs_of(automation).values("pk")).order_by()
    known = list(logged.values_list("name", flat=True).distinct()[:_LOOK_THROUGH])
    return [f"“{each}”" for each in difflib.get_close_matches(name, known, n=3, cutoff=0.4)]


def _reach(automation: Automation) -> int:
    event_type: Any = EVENTS[automation.event_type]
    return int(event_type.reach(automation.config)) if isinstance(event_type, MetricEventType) else 0


def _asks_for_more_than_all(automation: Automation) -> bool:
    config = automation.config
    return (
        automation.event_type == "run_metric_change"
        and config["change_type"] == "relative"
        and config["direction"] == "decrease"
        and limit(config) > 1
    )


def _is_ever_negative(automation: Automation, name: str) -> bool:
    logged = MetricSummary.objects.filter(name=name, run__in=runs_of(automation).values("pk"))
    return logged.filter(minimum__lt=0).exists()


# --- By who and what it watches -------------------------------------------------------------------


def _of_the_filters(automation: Automation, summary: Summary) -> Iterator[Reason]:
    user, pattern = automation.config["user"], automation.config["run_name"]
    if not summary.runs:
        yield Reason("no_runs")
    # Whether there is somebody of that name in another team is nobody's business.
    if user and summary.runs and not runs_of(automation).filter(user__username=user).exists():
        yield Reason("no_run_of_user", {"user": user})
    if pattern and summary.runs and not summary.fired:
        names = runs_of(automation).order_by("-pk").values_list("name", flat=True)[:_LOOK_THROUGH]
        if not any(regex.search(pattern, name) for name in names):
            yield Reason("no_such_name", {"pattern": pattern})


def _of_the_firings(summary: Summary) -> Iterator[Reason]:
    if summary.evaluated >= _MANY and summary.fired >= _NEARLY_ALL * summary.evaluated:
        yield Reason("always", {"fired": summary.fired, "runs": summary.evaluated})
