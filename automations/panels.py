"""What automations add to the pages of runs, projects and artifacts."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _

from automations import access, fired, overview, subjects
from automations.events.metrics import RunMetricThreshold
from automations.models import Automation, Execution
from automations.outbox import run_scopes
from automations.views.layout import add_url, may
from registry import paths, places as registry_places
from registry.models import Collection, Membership, Registry
from runs import places
from runs.models import Project, Role, Run, Team
from runs.places import Hit, Panel, Tab
from runs.views.search import LIMIT

# So many executions stand in a panel.
SHOWN = 10


@places.PROJECT_TABS.add
def project_tab(request: HttpRequest, project: Project) -> Tab:
    url = reverse("project-automations", args=[project.team.name, project.name])
    return Tab("automations", _("Automations"), url)


@registry_places.REGISTRY_TABS.add
def registry_tab(request: HttpRequest, registry: Registry) -> Tab:
    slug = paths.slug_for(registry, request.user)
    return Tab("automations", _("Automations"), reverse("registry-automations", args=[slug]))


@places.BELL.add
def bell(request: HttpRequest, project: Project) -> str:
    """A rule on a metric is made straight from its chart (R23); one on a status is not (R19)."""
    if not may(access.require_scope_role, request.user, project, Role.MEMBER):
        return ""
    return f"{reverse('automation-new')}?project={project.pk}&event={RunMetricThreshold.key}"


# --- What fired -----------------------------------------------------------------------------------


def _panel(request: HttpRequest, executions: QuerySet[Execution], **context: Any) -> Panel:
    newest = fired.read(executions.order_by("-pk")[:SHOWN], request.user)
    return render_to_string("automations/panel_fired.html", {"fired": newest, **context}, request)


@places.HOME.add
def home(request: HttpRequest, _home: None) -> Panel:
    found = access.executions(request.user)
    return _panel(request, found, more=reverse("executions"), automations=reverse("automations"))


@places.TEAM.add
def team(request: HttpRequest, team: Team) -> Panel:
    return _panel(request, access.executions(request.user).filter(team=team))


@places.RUN.add
def run(request: HttpRequest, run: Run) -> Panel:
    found = access.executions(request.user).filter(run=run)
    project = run.project
    url = reverse("project-automations", args=[project.team.name, project.name])
    return _panel(request, found, automations=url)


@places.RUN.add
def watching_run(request: HttpRequest, run: Run) -> Panel:
    """Which automations watch it, whether they fired, and on demand why not."""
    found = access.automations(request.user).filter(
        scope_key__in=run_scopes(run.project), event_type__in=overview.run_events()
    )
    rows = overview.rows(found.order_by("-pk")[: SHOWN + 1], request.user)
    fired_here = subjects.fired_of([row.automation for row in rows], run)
    project = run.project
    context = {
        "run": run,
        "rules": [(row, row.automation.pk in fired_here) for row in rows[:SHOWN]],
        "more": len(rows) > SHOWN,
        "automations": reverse("project-automations", args=[project.team.name, project.name]),
        "add": add_url(request.user, project),
    }
    return render_to_string("automations/panel_why.html", context, request)


@registry_places.REGISTRY.add
def registry(request: HttpRequest, registry: Registry) -> Panel:
    slug = paths.slug_for(registry, request.user)
    found = access.executions(request.user).filter(registry=registry)
    more = reverse("registry-history", args=[slug])
    return _panel(
        request,
        found,
        more=more,
        automations=reverse("registry-automations", args=[slug]),
        add=add_url(request.user, registry),
    )


@registry_places.COLLECTION.add
def watching(request: HttpRequest, collection: Collection) -> Panel:
    """Which automations watch it."""
    found = access.automations(request.user).filter(_watching(collection)).order_by("-pk")
    rows = overview.rows(found[:SHOWN], request.user)
    context = {"automations": rows, "add": add_url(request.user, collection)}
    return render_to_string("automations/panel_watching.html", context, request)


@registry_places.COLLECTION.add
def collection(request: HttpRequest, collection: Collection) -> Panel:
    """What fired where it lives: on its events, or for versions that it holds."""
    place = collection.registry or collection.project
    held = Membership.objects.filter(collection=collection).values("version")
    found = (
        access.executions(request.user)
        .filter(_where(place))
        .filter(Q(event__collection=collection) | Q(automation__collection=collection) | Q(version__in=held))
    )
    return _panel(request, found)


def _watching(collection: Collection) -> Q:
    """Rules on artifacts whose scope the collection lies in."""
    scopes = Q(collection=collection)
    if registry := collection.registry:
        scopes |= Q(registry=registry) | Q(organization=registry.organization_id)
    if project := collection.project:
        scopes |= Q(project=project) | Q(team=project.team_id) | Q(organization=project.team.organization_id)
    return scopes & Q(event_type__in=overview.artifact_events())


def _where(place: Project | Registry | None) -> Q:
    """In what happened there; each has an index."""
    return Q(registry=place) if isinstance(place, Registry) else Q(team=place.team if place else None)


@registry_places.VERSION.add
def version(request: HttpRequest, place: Membership) -> Panel:
    return _panel(request, access.executions(request.user).filter(version=place.version_id))


# --- What is found --------------------------------------------------------------------------------


@places.SEARCH.add
def find_automations(request: HttpRequest, text: str) -> list[Hit]:
    found = overview.with_scopes(access.automations(request.user).filter(name__icontains=text))
    return [_hit(row) for row in found.order_by("-pk")[:LIMIT]]


def _hit(row: Automation) -> Hit:
    return Hit(_("Automation"), row.name, str(row.scope), reverse("automation", args=[row.pk]))
