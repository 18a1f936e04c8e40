from __future__ import annotations

from urllib.parse import unquote

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_safe

from registry import access, paths, places
from registry.models import Alias, ArtifactVersion, Collection, Membership, VersionState, VersionTag
from registry.views.lookups import (
    aliases_with_index,
    registry_or_404,
    visible_collections,
)
from registry.views.registries import collection_list
from runs import access as runs_access, keyset
from runs.models import Role, Run
from runs.names import normalized
from runs.views.lookup import project_of


@require_safe
@login_required
def of_project(request: HttpRequest, team_name: str, project_name: str) -> HttpResponse:
    """The collections that the project's versions are made in."""
    place = project_of(request, team_name, project_name)
    mine = access.collections(request.user).filter(project=place)
    context = {"project": place, "tab": "collections", **collection_list(request, mine)}
    return render(request, "registry/collections.html", context)


@require_safe
@login_required
def in_project(request: HttpRequest, team_name: str, project_name: str, collection: str) -> HttpResponse:
    place = project_of(request, team_name, project_name)
    found = get_object_or_404(visible_collections(request), project=place, name=normalized(collection))
    return _page(request, found)


@require_safe
@login_required
def in_registry(request: HttpRequest, registry: str, collection: str) -> HttpResponse:
    place = registry_or_404(request, registry)
    found = get_object_or_404(visible_collections(request), registry=place, name=normalized(collection))
    return _page(request, found, registry)


@require_safe
@login_required
def by_number(request: HttpRequest, pk: int) -> HttpResponse:
    """The link in a message: to the page at its name, or that page where its name is one of ours."""
    found = get_object_or_404(visible_collections(request), pk=pk)
    slug = paths.slug_for(found.registry, request.user) if found.registry else ""
    where = paths.collection_path(found, slug)
    return _page(request, found, slug) if unquote(where) == request.path else redirect(where)


def _page(request: HttpRequest, collection: Collection, slug: str = "") -> HttpResponse:
    """Aliases, tags, versions; what watches it and what fired stands in the panels."""
    page = keyset.page(request, collection.memberships.all(), by="index")
    rows = list(
        page.rows.select_related("version", "linked_by").prefetch_related(
            Prefetch("version__tags", queryset=VersionTag.objects.order_by("name")),
            Prefetch(
                "version__aliases",
                queryset=Alias.objects.filter(collection=collection).order_by("name"),
                to_attr="aliases_here",
            ),
        )
    )
    runs = visible_runs(request, [row.version for row in rows])
    aliases = list(aliases_with_index().filter(collection=collection))
    drafts = ArtifactVersion.objects.filter(home=collection, state=VersionState.PENDING)
    return render(
        request,
        "registry/collection.html",
        {
            "collection": collection,
            "registry": collection.registry,
            "project": collection.project,
            "slug": slug,
            "layout": layout(collection),
            "tab": "collections",
            "here": paths.collection_path(collection, slug),
            "tags": collection.tags.order_by("name"),
            "aliases": aliases,
            "page": page,
            "versions": [(row, runs.get(row.version.run_id)) for row in rows],
            "drafts": drafts.count() if collection.project_id else 0,
            "may_edit": runs_access.may(access.require_role, request.user, collection, Role.MEMBER),
            "removable": access.movable(request.user, collection, [alias.name for alias in aliases]),
            "panels": places.COLLECTION.parts(request, collection),
            "base_url": settings.TRIPLINE_BASE_URL,
        },
    )


def layout(collection: Collection) -> str:
    """The frame that its pages stand in."""
    return "registry/registry_base.html" if collection.registry_id else "runs/project_base.html"


def visible_runs(request: HttpRequest, versions: list[ArtifactVersion]) -> dict[int | None, Run]:
    """The runs that made them, as far as the person sees them."""
    made = {version.run_id for version in versions if version.run_id}
    found = runs_access.runs(request.user).filter(pk__in=made).select_related("project__team")
    return {run.pk: run for run in found} if made else {}


def in_collection(collection: Collection, label: str) -> Membership | None:
    """The version that `v3`, or an alias, names in the collection."""
    rows = collection.memberships.select_related("version__home__project__team", "linked_by")
    if label.startswith("v") and (index := keyset.number(label[1:])) is not None:
        return rows.filter(index=index).first()
    return rows.filter(
        version__aliases__collection=collection, version__aliases__name=normalized(label)
    ).first()
