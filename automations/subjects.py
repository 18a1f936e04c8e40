"""What one can ask an automation about: runs or versions, for which it fired or did not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet
from django.http import Http404

from automations.events.artifacts import PatternEventType
from automations.events.base import EVENTS
from automations.events.runs import RunEventType
from automations.models import Automation, Execution, ExecutionState, ScopeType
from registry import access as registry_access, paths
from registry.models import ArtifactVersion, Collection, Membership
from runs import access as runs_access, keyset
from runs.access import Person
from runs.models import Run

M = TypeVar("M", bound=Model)

# So many are offered, the newest.
OFFERED = 10


@dataclass(frozen=True, slots=True)
class Subject:
    """A run or a version: how it is asked for, what it is called, where it belongs, its page."""

    query: str
    name: str
    place: str
    url: str
    item: Run | ArtifactVersion
    fired: bool = False


def kind(automation: Automation) -> str:
    """“run” or “version”; "" where it happens to collections as a whole."""
    if automation.event_type not in EVENTS:
        return ""
    event_type = EVENTS[automation.event_type]
    if isinstance(event_type, RunEventType):
        return "run"
    return "version" if isinstance(event_type, PatternEventType) and event_type.of_version else ""


def offered(automation: Automation, person: Person, text: str = "") -> list[Subject]:
    """Those in its scope; or of all that the person sees, those called so."""
    asked = kind(automation)
    if asked == "run":
        runs = _runs(automation, person, text).select_related("project__team")
        return _marked(automation, map(_of_run, runs.order_by("-pk")[:OFFERED]))
    if asked == "version":
        places = _places(automation, person, text).select_related(
            "version", "collection__project__team", "collection__registry"
        )
        return _marked(automation, map(_of_place, places.order_by("-pk")[:OFFERED]))
    return []


def asked(person: Person, query: Mapping[str, str]) -> Subject | None:
    """The run or the version that is asked for; not found for who may not see it."""
    if "run" in query:
        runs = runs_access.runs(person).select_related("project__team", "user", "lane")
        return _of_run(_found(runs, query["run"]))
    if "version" in query:
        versions = registry_access.versions(person).select_related("home__project__team", "home__registry")
        version = _found(versions, query["version"])
        places = Membership.objects.filter(version=version, collection__in=_collections(person))
        places = places.select_related("version", "collection__project__team", "collection__registry")
        place = places.order_by("pk").first()
        return _of_place(place) if place else _of_version(version)
    return None


def fired_of(automations: Iterable[Automation], run: Run) -> set[int]:
    """Those of the automations that fired for a run since they are what they are."""
    armed = {each.pk: each.armed_at for each in automations}
    rows = Execution.objects.filter(run=run, automation__in=armed, is_test=False)
    seen = rows.exclude(state=ExecutionState.SKIPPED).values_list("automation_id", "created_at")
    return {pk for pk, created_at in seen if pk is not None and created_at >= armed[pk]}


def _found(rows: QuerySet[M], number: str) -> M:
    found = rows.filter(pk=keyset.number(number) or 0).first()
    if found is None:
        raise Http404
    return found


# --- Runs -----------------------------------------------------------------------------------------


def _runs(automation: Automation, person: Person, text: str) -> QuerySet[Run]:
    visible = runs_access.runs(person)
    if text:
        return visible.filter(name__icontains=text) | visible.filter(run_id=text)
    return visible.filter(**{_RUN_SCOPES[ScopeType(automation.scope_type)]: automation.scope})


_RUN_SCOPES = {
    ScopeType.PROJECT: "project",
    ScopeType.TEAM: "project__team",
    ScopeType.ORGANIZATION: "project__team__organization",
}


def _of_run(run: Run) -> Subject:
    return Subject(f"run={run.pk}", run.name, str(run.project), run.page, run)


# --- Versions -------------------------------------------------------------------------------------


def _collections(person: Person) -> QuerySet[Collection, Any]:
    return registry_access.collections(person).values("pk")


def _places(automation: Automation, person: Person, text: str) -> QuerySet[Membership]:
    visible = Membership.objects.filter(collection__in=_collections(person))
    if not text:
        return visible.filter(_in_scope(automation))
    name, _colon, number = text.rpartition(":") if re.search(r":v?\d{1,9}$", text) else (text, "", "")
    found = visible.filter(collection__name__icontains=name)
    return found.filter(index=int(number.removeprefix("v"))) if number else found


def _in_scope(automation: Automation) -> Q:
    scope = automation.scope
    return {
        ScopeType.PROJECT: Q(collection__project=scope),
        ScopeType.TEAM: Q(collection__project__team=scope),
        ScopeType.COLLECTION: Q(collection=scope),
        ScopeType.REGISTRY: Q(collection__registry=scope),
        ScopeType.ORGANIZATION: Q(collection__project__team__organization=scope)
        | Q(collection__registry__organization=scope),
    }[ScopeType(automation.scope_type)]


def _of_place(place: Membership) -> Subject:
    collection = place.collection
    url = paths.version_path(collection, place.index)
    name, where = f"{collection.name}:v{place.index}", str(collection.project or collection.registry)
    return Subject(f"version={place.version_id}", name, where, url, place.version)


def _of_version(version: ArtifactVersion) -> Subject:
    """Of one that is in no collection any more."""
    return Subject(f"version={version.pk}", str(version), "", "", version)


# --- Which of them it fired for -------------------------------------------------------------------


def _marked(automation: Automation, subjects: Iterable[Subject]) -> list[Subject]:
    found = list(subjects)
    column = "run" if kind(automation) == "run" else "version"
    rows = Execution.objects.filter(automation=automation, is_test=False, created_at__gte=automation.armed_at)
    rows = rows.filter(**{f"{column}__in": [each.item.pk for each in found]})
    fired = set(rows.exclude(state=ExecutionState.SKIPPED).values_list(column, flat=True))
    return [replace(each, fired=each.item.pk in fired) for each in found]
