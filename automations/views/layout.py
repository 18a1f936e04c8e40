"""Which frame a page stands in: that of a project, of a registry, or none."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from automations.access import Scope, require_scope_role, writes_somewhere
from automations.models import Execution
from registry import paths
from registry.models import Collection, Registry
from runs.access import Person, may
from runs.models import Project, Role

__all__ = ["add_url", "layout_of", "may", "place_of"]

TAB = "automations"


def layout_of(scope: Scope | None, person: Person) -> dict[str, Any]:
    """What the frame's template wants, and the links between the pages of automations there."""
    place = (scope.registry or scope.project) if isinstance(scope, Collection) else scope
    if isinstance(place, Project):
        return _named("project", [place.team.name, place.name]) | {
            "layout": "runs/project_base.html",
            "project": place,
            "tab": TAB,
        }
    if isinstance(place, Registry):
        slug = paths.slug_for(place, person)
        return _named("registry", [slug]) | {
            "layout": "registry/registry_base.html",
            "registry": place,
            "slug": slug,
            "tab": TAB,
        }
    return {"layout": "base.html", "list_url": reverse("automations"), "history_url": reverse("executions")}


def _named(kind: str, names: list[str]) -> dict[str, Any]:
    return {
        "list_url": reverse(f"{kind}-automations", args=names),
        "history_url": reverse(f"{kind}-history", args=names),
    }


def place_of(execution: Execution) -> Scope | None:
    """Where it happened, as far as that is still known."""
    if execution.run is not None:
        return execution.run.project
    if execution.registry is not None:
        return execution.registry
    return execution.automation.project if execution.automation else None


def add_url(person: Person, scope: Scope | None) -> str:
    """Where those who may make an automation for this scope do so; "" for the others."""
    page = reverse("automation-new")
    if scope is None:
        return page if writes_somewhere(person) else ""
    may_write = may(require_scope_role, person, scope, Role.MEMBER)
    return f"{page}?{scope._meta.model_name}={scope.pk}" if may_write else ""
