"""What the registry adds to the pages of runs and projects, and its own tabs."""

from __future__ import annotations

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _

from registry import access, paths, places as own
from registry.models import Membership, Registry, Use
from registry.views.registries import counted
from runs import places
from runs.models import Project, Run
from runs.places import Hit, Panel, Tab
from runs.views.search import LIMIT

# So many stand on the home page, the newest first; the others are one click away.
REGISTRIES_SHOWN = 10
VERSIONS_SHOWN = 50


@places.PROJECT_TABS.add
def project_tab(request: HttpRequest, project: Project) -> Tab:
    return Tab(
        "collections", _("Collections"), reverse("collections", args=[project.team.name, project.name])
    )


@own.REGISTRY_TABS.add
def registry_tab(request: HttpRequest, registry: Registry) -> Tab:
    slug = paths.slug_for(registry, request.user)
    return Tab("collections", _("Collections"), reverse("registry", args=[slug]))


@places.HOME.add
def registries(request: HttpRequest, _home: None) -> Panel:
    rows = counted(access.registries(request.user)).order_by("-pk")[:REGISTRIES_SHOWN]
    listed = paths.with_slugs(rows, request.user)
    return render_to_string("registry/panel_registries.html", {"registries": listed}, request)


@places.RUN.add
def made_versions(request: HttpRequest, run: Run) -> Panel:
    """The versions that a run made, at home and where they are linked to, as far as the person sees that."""
    rows = Membership.objects.filter(
        version__run=run, collection__in=access.collections(request.user).values("pk")
    )
    rows = rows.select_related("collection__project__team", "collection__registry", "version")
    made = [
        (row, paths.version_path(row.collection, row.index)) for row in rows.order_by("-pk")[:VERSIONS_SHOWN]
    ]
    if not made:
        return Panel("")
    return render_to_string("registry/panel_versions.html", {"versions": made, "run": run}, request)


@places.RUN.add
def used_versions(request: HttpRequest, run: Run) -> Panel:
    """The versions that a run read, each where it was made, or where else the person sees it."""
    uses = list(Use.objects.filter(run=run)[:VERSIONS_SHOWN])
    mine = access.collections(request.user).values("pk")
    held = Membership.objects.filter(version__in=[use.version_id for use in uses], collection__in=mine)
    rows = held.select_related("collection__project__team", "collection__registry").order_by("-pk")
    seen = {row.version_id: row for row in rows}  # the first that it was in counts
    found = [(use, seen[use.version_id]) for use in uses if use.version_id in seen]
    used = [(use, row, paths.version_path(row.collection, row.index)) for use, row in found]
    return render_to_string("registry/panel_used.html", {"used": used}, request) if used else Panel("")


@places.SEARCH.add
def find_collections(request: HttpRequest, text: str) -> list[Hit]:
    found = access.collections(request.user).filter(name__icontains=text)
    rows = found.select_related("project__team", "registry").order_by("-pk")[:LIMIT]
    return [
        Hit(_("Collection"), row.name, str(row.project or row.registry), paths.collection_path(row))
        for row in rows
    ]


@places.SEARCH.add
def find_registries(request: HttpRequest, text: str) -> list[Hit]:
    mine = access.registries(request.user).filter(name__icontains=text)
    rows = mine.select_related("organization").order_by("-pk")[:LIMIT]
    return [
        Hit(_("Registry"), row.name, row.organization.name, reverse("registry", args=[slug]))
        for row, slug in paths.with_slugs(rows, request.user)
    ]
