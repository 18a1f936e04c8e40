"""Where the form of a new rule begins: at a preset, or at the page that one comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.utils.translation import gettext as _

from automations import access
from automations.access import Scope
from automations.events.base import EVENTS
from automations.models import ScopeType
from automations.ruleforms.rule import Start
from automations.rulepresets import RULE_PRESETS, RulePreset
from runs import keyset
from runs.models import MetricBatch, Role, User
from runs.names import NAME_LENGTH

# What a metric that is only named is probably watched for.
_USUAL = "run_metric_threshold"


def scope_of(person: User, asked: Mapping[str, Any]) -> Scope | None:
    """What `?project=3` names. 404 for what the person does not see, 403 for what they may only look at."""
    for kind in ScopeType:
        if kind in asked:
            pk = keyset.number(asked[kind])
            found = access.visible_scopes(person, kind).filter(pk=pk).first() if pk is not None else None
            if found is None:
                raise Http404
            access.require_scope_role(person, found, Role.MEMBER)
            return found
    if not access.writes_somewhere(person):
        raise PermissionDenied(_("This needs the role “Member” in a team or a registry."))
    return None


def events(scope: Scope | None, asked: Mapping[str, Any]) -> list[str]:
    """The types that can be chosen: a chart, which names a metric, has those on metrics (R19, R23)."""
    kind = scope._meta.model_name if scope is not None else None
    return [
        event_type.key
        for event_type in EVENTS
        if (kind is None or kind in event_type.scopes)
        and (not asked.get("metric") or event_type.source is MetricBatch)
    ]


def presets(allowed: list[str]) -> list[RulePreset]:
    return [preset for preset in RULE_PRESETS if preset.event_type in allowed]


def start(scope: Scope | None, asked: Mapping[str, Any], allowed: list[str]) -> Start:
    """`?event=`, `?metric=`, `?source=` and `?preset=`; what is not known there is left out."""
    metric = str(asked.get("metric", ""))[:NAME_LENGTH]
    begun = Start(scope=scope)
    chosen = next((each for each in presets(allowed) if each.key == asked.get("preset")), None)
    if chosen is not None:
        config = chosen.event(metric)
        begun = replace(begun, event_type=chosen.event_type, config=config, name=str(chosen.label))
    elif asked.get("event", _USUAL if metric else "") in allowed:
        config = {"metric": metric} if metric else {}
        begun = replace(begun, event_type=asked.get("event", _USUAL), config=config)
    return _with_source(begun, str(asked.get("source", "")))


def _with_source(begun: Start, source: str) -> Start:
    fields = EVENTS[begun.event_type].config_form.base_fields if begun.event_type else {}
    known: Any = fields.get("source")
    if known is None or source not in dict(known.choices):
        return begun
    return replace(begun, config={**begun.config, "source": source})
