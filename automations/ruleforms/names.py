"""The names that there are where a rule watches: what a pattern would match, which metrics were logged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet

from automations import access, regex
from automations.access import Scope
from automations.events.metrics import SYSTEM_PREFIX
from registry import access as registry_access
from registry.models import Alias, Collection, CollectionTag, Membership, Registry, VersionTag
from runs import access as runs_access
from runs.access import Person
from runs.models import MetricSummary, Organization, Project, Run, Source, Team

# Of the newest so many a pattern is tried on each, and so many that match are shown.
LOOKED_THROUGH, SHOWN = 2000, 20
# Metrics are those that the newest so many runs logged; users and metrics are offered up to that many.
RUNS, OFFERED = 50, 300


@dataclass(frozen=True, slots=True)
class Matches:
    """`count` of `tried` names match; `is_cut`: there are more names than were tried."""

    shown: Sequence[str]
    count: int
    tried: int
    is_cut: bool


def matches(person: Person, scope: Scope, *, event_type: str, field: str, pattern: str) -> Matches:
    """What a pattern of this field finds among the names that exist. It must be one that RE2 takes."""
    newest = _existing(person, scope, event_type, field)[: LOOKED_THROUGH + 1]
    found = list(dict.fromkeys(newest))
    matching = [name for name in found if regex.search(pattern, name)]
    return Matches(matching[:SHOWN], len(matching), len(found), is_cut=len(newest) > LOOKED_THROUGH)


def _existing(person: Person, scope: Scope, event_type: str, field: str) -> QuerySet[Any, str]:
    if field == "run_name":
        return _runs(person, scope).order_by("-pk").values_list("name", flat=True)
    collections = _collections(person, scope)
    found: QuerySet[Any]
    if field == "name":
        found = collections
    elif field == "alias":
        found = Alias.objects.filter(collection__in=collections.values("pk"))
    elif event_type.startswith("collection_"):
        found = CollectionTag.objects.filter(collection__in=collections.values("pk"))
    else:
        held = Membership.objects.filter(collection__in=collections.values("pk"))
        found = VersionTag.objects.filter(version__in=held.values("version"))
    return found.order_by("-pk").values_list("name", flat=True)


def _runs(person: Person, scope: Scope) -> QuerySet[Run]:
    runs = runs_access.runs(person)
    if isinstance(scope, Project):
        return runs.filter(project=scope)
    if isinstance(scope, Team):
        return runs.filter(project__team=scope)
    return runs.filter(project__team__organization=scope) if isinstance(scope, Organization) else runs.none()


def _collections(person: Person, scope: Scope) -> QuerySet[Collection]:
    found = registry_access.collections(person)
    if isinstance(scope, Collection):
        return found.filter(pk=scope.pk)
    if isinstance(scope, Project):
        return found.filter(project=scope)
    if isinstance(scope, Registry):
        return found.filter(registry=scope)
    if isinstance(scope, Team):
        return found.filter(project__team=scope)
    return found.filter(Q(project__team__organization=scope) | Q(registry__organization=scope))


def metrics(person: Person, scope: Scope) -> list[str]:
    """What the newest runs logged; a system metric as one writes it to be sure that it is that one."""
    newest = list(_runs(person, scope).order_by("-pk").values_list("pk", flat=True)[:RUNS])
    logged = MetricSummary.objects.filter(run__in=newest).order_by("source", "name")
    return [
        f"{SYSTEM_PREFIX}{name}" if source == Source.SYSTEM else name
        for source, name in logged.values_list("source", "name").distinct()[:OFFERED]
    ]


def users(scope: Scope) -> list[str]:
    return list(access.people(scope).order_by("username").values_list("username", flat=True)[:OFFERED])
