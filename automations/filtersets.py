from __future__ import annotations

import django_filters

from automations import access
from automations.events.base import EVENTS
from automations.models import Automation, Event, Execution, ExecutionState, Mode, ScopeType
from registry import access as registry_access
from runs import access as runs_access
from runs.filtersets import MomentFilter, StrictFilterSet, VisibleFilter


class AutomationFilterSet(StrictFilterSet):
    name = django_filters.CharFilter()
    mode = django_filters.ChoiceFilter(choices=Mode.choices)
    event = django_filters.ChoiceFilter(field_name="event_type", choices=EVENTS.choices)
    scope_type = django_filters.ChoiceFilter(choices=ScopeType.choices)
    project = VisibleFilter(visible=runs_access.projects)
    registry = VisibleFilter(visible=registry_access.registries)
    collection = VisibleFilter(visible=registry_access.collections)

    class Meta:
        model = Automation
        fields = ["name", "mode", "event", "scope_type", "project", "registry", "collection"]


class ExecutionFilterSet(StrictFilterSet):
    automation = VisibleFilter(visible=access.automations)
    run = VisibleFilter(visible=runs_access.runs)
    version = VisibleFilter(visible=registry_access.versions)
    state = django_filters.ChoiceFilter(choices=ExecutionState.choices)
    created_after = MomentFilter(field_name="created_at", lookup_expr="gte")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = Execution
        fields = ["automation", "run", "version", "state", "created_after", "created_before"]


class EventFilterSet(StrictFilterSet):
    # A feed has one order, and a cursor of its own.
    KNOWN = frozenset({"after", "page_size", "wait"})

    type = django_filters.CharFilter()
    project = VisibleFilter(visible=runs_access.projects)
    registry = VisibleFilter(visible=registry_access.registries)

    class Meta:
        model = Event
        fields = ["type", "project", "registry"]
