"""What automations draw into the charts of a run: where they fired, and the thresholds that watch it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from automations import access, regex
from automations.events.metrics import RunMetricThreshold, metric_name, wanted_source
from automations.models import ExecutionState, Mode
from automations.outbox import run_scopes
from runs import places
from runs.models import MetricSummary, Run, Source
from runs.places import Mark, Marks, Threshold

# So many of a run are drawn, the newest.
SHOWN = 500


@places.MARKS.add
def marks(request: HttpRequest, run: Run) -> Marks:
    history = set(_history_names(run))
    return Marks(_fired(request, run, history), _thresholds(request, run, history))


def _history_names(run: Run) -> Collection[str]:
    return MetricSummary.objects.filter(run=run, source=Source.HISTORY).values_list("name", flat=True)


def _source(config: Mapping[str, Any], history: Collection[str]) -> str:
    """The source that a rule watches in this run; what is a history metric by now is taken for one (R21)."""
    wanted = wanted_source(dict(config))
    if wanted != "auto":
        return wanted
    return Source.HISTORY.value if metric_name(dict(config)) in history else Source.SYSTEM.value


def _fired(request: HttpRequest, run: Run, history: Collection[str]) -> list[Mark]:
    fired = access.executions(request.user).filter(run=run, is_test=False).select_related("automation")
    found = []
    for execution in fired.exclude(state=ExecutionState.SKIPPED).order_by("-pk")[:SHOWN]:
        told = execution.explanation.get("data", {})
        if told.get("metric") is None or not isinstance(told.get("step"), int):
            continue
        # The rule may watch any metric, be changed, or be gone: the explanation says which one it was.
        rule = execution.automation.config if execution.automation else {}
        config = {"metric": told["metric"], "source": rule.get("source", "auto")}
        url = reverse("execution", args=[execution.pk])
        name = metric_name(config)
        found.append(Mark(_source(config, history), name, told["step"], execution.automation_name, url))
    return found


def _thresholds(request: HttpRequest, run: Run, history: Collection[str]) -> list[Threshold]:
    """Of the rules that watch this run, as they are now."""
    rules = access.automations(request.user).filter(
        scope_key__in=run_scopes(run.project), event_type=RunMetricThreshold.key
    )
    return [
        Threshold(
            _source(rule.config, history),
            metric_name(rule.config),
            float(rule.config["threshold"]),
            rule.name,
            reverse("automation", args=[rule.pk]),
        )
        for rule in rules.exclude(mode=Mode.DISABLED).order_by("pk")
        if _watches(rule.config, run)
    ]


def _watches(config: Mapping[str, Any], run: Run) -> bool:
    user = run.user.username if run.user else ""
    return (not config["user"] or config["user"] == user) and bool(regex.search(config["run_name"], run.name))
