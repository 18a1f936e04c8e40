"""`/metrics`: the same figures for Prometheus, computed when they are scraped.

Counters of a process would count for one of many and begin anew at every start. So these are gauges, and
summaries over the last minutes; any process gives the same answer.
"""

from __future__ import annotations

import platform
import tomllib
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import django
from django.conf import settings
from django.db import connection
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily, Metric

from automations.health import recent, stages
from automations.health.stages import Health, State
from automations.models import Integration
from runs import clock

_LATENCIES = {
    "decision": "Seconds from the acceptance of a change to its decision.",
    "first_attempt": "Seconds from a decision to the first attempt to deliver its message.",
    "success": "Seconds from a decision to the success of its message.",
}
_WINDOW = f"(the last {recent.WINDOW.seconds} s, or as far as the newest {recent.LOOK_AT} rows reach)"


class FromTheDatabase:
    """Collects everything by a few indexed queries."""

    def collect(self) -> Iterator[Metric]:
        health = stages.look()
        yield _build()
        yield _stages(health)
        if health.at is None:
            return
        yield from _queues(health, health.at)
        yield from _canary(health, health.at)
        yield from _sweep(health)
        disabled = Integration.objects.filter(
            disabled_at__isnull=False, team__organization__is_internal=False
        )
        yield _gauge("tripline_integrations_disabled", "Integrations that are disabled.", disabled.count())
        yield from _lately(recent.look(clock.now()))


def text() -> bytes:
    """The exposition, in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FromTheDatabase())
    return generate_latest(registry)


def _build() -> Metric:
    facts = {
        "version": _version(),
        "python": platform.python_version(),
        "django": django.get_version(),
        "database": connection.vendor,
        "shape": "embedded" if settings.TRIPLINE_EMBEDDED else "production",
    }
    return InfoMetricFamily("tripline_build", "What is running.", facts)


@cache
def _version() -> str:
    try:
        return version("tripline")
    except PackageNotFoundError:  # it runs from a checkout
        project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text(encoding="utf-8"))
        return str(project["project"]["version"])


def _stages(health: Health) -> Metric:
    family = GaugeMetricFamily(
        "tripline_stage_state", "1 for the state that a stage is in.", labels=["stage", "state"]
    )
    for stage in health.stages:
        for state in State:
            family.add_metric([stage.key, state], float(stage.state == state))
    return family


def _queues(health: Health, now: datetime) -> Iterator[Metric]:
    counts = GaugeMetricFamily("tripline_backlog", "What waits, by queue.", labels=["queue"])
    ages = GaugeMetricFamily(
        "tripline_backlog_oldest_age_seconds",
        "For how long the oldest in a queue has waited; 0 when nothing does.",
        labels=["queue"],
    )
    for waiting in health.queues:
        counts.add_metric([waiting.key], waiting.count)
        ages.add_metric([waiting.key], waiting.age(now))
    yield counts
    yield ages


def _canary(health: Health, now: datetime) -> Iterator[Metric]:
    back = next((trip for trip in health.canaries if trip.received_at), None)
    if back is None or back.received_at is None:
        return
    yield _gauge(
        "tripline_canary_round_trip_seconds",
        "How long the last canary that came back took, from acceptance to receipt.",
        back.seconds or 0.0,
    )
    age = (now - back.received_at).total_seconds()
    yield _gauge("tripline_canary_age_seconds", "How long ago it came back.", max(0.0, age))


def _sweep(health: Health) -> Iterator[Metric]:
    age = next(stage.age for stage in health.stages if stage.key == "sweeping")
    if age is not None:
        yield _gauge("tripline_sweep_age_seconds", "How long ago somebody swept.", age)


def _lately(lately: recent.Recent) -> Iterator[Metric]:
    for name, values in lately.latencies.items():
        yield _summary(f"tripline_{name}_latency_seconds", f"{_LATENCIES[name]} {_WINDOW}", values)
    yield _by_label("tripline_recent_attempts", "Attempts by outcome", "outcome", dict(lately.attempts))
    yield _by_label("tripline_recent_deliveries", "New messages by state", "state", dict(lately.deliveries))
    counts = GaugeMetricFamily("tripline_recent_rows", f"New rows by kind {_WINDOW}.", labels=["kind"])
    seconds = GaugeMetricFamily(
        "tripline_recent_window_seconds", "How many seconds the figures of a kind cover.", labels=["kind"]
    )
    for kind, span in lately.spans.items():
        counts.add_metric([kind], span.count)
        seconds.add_metric([kind], span.seconds)
    yield counts
    yield seconds


def _summary(name: str, help_text: str, values: Sequence[float]) -> Metric:
    """Quantiles alone: a sum and a count over a window would be taken for ever-growing ones."""
    family = Metric(name, help_text, "summary")
    for share in recent.QUANTILES if values else ():
        family.add_sample(name, {"quantile": f"{share:g}"}, recent.quantile(values, share))
    return family


def _by_label(name: str, what: str, label: str, counts: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, f"{what} {_WINDOW}.", labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=value)
