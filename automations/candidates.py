"""Which rules could care for a change: by index on (scope, event type, routing key).

For runs they are cached per scope under an epoch that every change of the scope's rules raises in its
own transaction. A reader compares epochs, so the cache is exact, in every process.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.db.models import QuerySet

from automations.events.base import types_of
from automations.models import Automation, Event, Mode
from runs.models import MetricBatch, Project, RunStatusChange

_MAX_SCOPES = 10_000


@dataclass(frozen=True, slots=True)
class _ScopeRules:
    """The rules of one scope by (event type, routing key), as of one epoch."""

    epoch: int
    rules: dict[tuple[str, str], list[Automation]] = field(default_factory=dict)


_cache: dict[str, _ScopeRules] = {}
_cache_lock = threading.Lock()


def for_batch(batch: MetricBatch) -> list[Automation]:
    """Rules on a metric of this batch, in creation order (R1), armed when it was accepted."""
    return _for_run(batch, MetricBatch, routing_keys=batch.names)


def for_status_change(change: RunStatusChange) -> list[Automation]:
    return _for_run(change, RunStatusChange, routing_keys=[""])


def _for_run(
    change: MetricBatch | RunStatusChange,
    source: type[MetricBatch | RunStatusChange],
    *,
    routing_keys: Iterable[str],
) -> list[Automation]:
    keys = [event_type.key for event_type in types_of(source)]
    pairs = [(key, routing_key) for routing_key in {*routing_keys, ""} for key in keys]
    scopes = [_rules(scope_key, epoch).rules for scope_key, epoch in _run_scopes(change.run.project)]
    found = [
        automation
        for rules in scopes
        if rules  # most scopes have none
        for pair in pairs
        for automation in rules.get(pair, ())
        if automation.armed_at <= change.received_at
    ]
    return sorted(found, key=lambda automation: automation.pk)


def _run_scopes(project: Project) -> list[tuple[str, int]]:
    team, organization = project.team, project.team.organization
    return [
        (f"project:{project.pk}", project.rules_epoch),
        (f"team:{team.pk}", team.rules_epoch),
        (f"organization:{organization.pk}", organization.rules_epoch),
    ]


def _rules(scope_key: str, epoch: int) -> _ScopeRules:
    cached = _cache.get(scope_key)
    if cached is not None and cached.epoch == epoch:
        return cached
    loaded = _ScopeRules(epoch)
    for automation in _enabled([scope_key]):
        loaded.rules.setdefault((automation.event_type, automation.routing_key), []).append(automation)
    with _cache_lock:
        if len(_cache) >= _MAX_SCOPES:
            _cache.clear()
        _cache[scope_key] = loaded
    return loaded


def _enabled(scope_keys: Sequence[str]) -> QuerySet[Automation]:
    return Automation.objects.filter(scope_key__in=scope_keys).exclude(mode=Mode.DISABLED)


def for_event(event: Event) -> list[Automation]:
    """Rules on an artifact event, in creation order, armed when it was accepted."""
    rules = _enabled(event.data["scopes"]).filter(event_type=event.type, armed_at__lte=event.received_at)
    return list(rules.order_by("pk"))


def forget() -> None:
    """Empty the cache; for tests that roll back what they wrote."""
    _cache.clear()
