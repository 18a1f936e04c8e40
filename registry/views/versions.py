from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from registry import access, paths, places
from registry.models import Alias, ArtifactVersion, Collection, Membership, Use
from registry.views.collections import in_collection, layout, visible_runs
from registry.views.lookups import registry_or_404, visible_collections
from runs import access as runs_access
from runs.access import may
from runs.models import Role
from runs.names import normalized
from runs.views.lookup import project_of

# So many files stand on one page.
FILES = 200
# So many collections are offered to link it to, and so many runs that used it are named.
SHELVES = 200
USED_BY = 50


@require_safe
@login_required
def in_project(
    request: HttpRequest, team_name: str, project_name: str, collection: str, label: str
) -> HttpResponse:
    place = project_of(request, team_name, project_name)
    found = get_object_or_404(visible_collections(request), project=place, name=normalized(collection))
    return _page(request, found, label)


@require_safe
@login_required
def in_registry(request: HttpRequest, registry: str, collection: str, label: str) -> HttpResponse:
    place = registry_or_404(request, registry)
    found = get_object_or_404(visible_collections(request), registry=place, name=normalized(collection))
    return _page(request, found, label, registry)


@require_safe
@login_required
def by_number(request: HttpRequest, pk: int, label: str) -> HttpResponse:
    """The link in a message, which no renaming breaks."""
    found = get_object_or_404(visible_collections(request), pk=pk)
    slug = paths.slug_for(found.registry, request.user) if found.registry else ""
    return _page(request, found, label, slug)


def _page(request: HttpRequest, collection: Collection, label: str, slug: str = "") -> HttpResponse:
    """Everything about one version in one collection; an alias leads to the version that has it now."""
    place = in_collection(collection, label)
    if place is None:
        raise Http404
    where = paths.version_path(collection, place.index, slug)
    if request.path != unquote(where):
        return redirect(where)
    version = place.version
    aliases = list(version.aliases.filter(collection=collection).order_by("name"))
    return render(
        request,
        "registry/version.html",
        {
            "collection": collection,
            "registry": collection.registry,
            "project": collection.project,
            "slug": slug,
            "layout": layout(collection),
            "tab": "collections",
            "here": paths.collection_path(collection, slug),
            "place": place,
            "version": version,
            "run": visible_runs(request, [version]).get(version.run_id),
            "aliases": aliases,
            "tags": version.tags.order_by("name"),
            "metadata": json.dumps(version.metadata, indent=2, ensure_ascii=False)
            if version.metadata
            else "",
            "elsewhere": elsewhere(request, place),
            "used_by": used_by(request, version),
            "panels": places.VERSION.parts(request, place),
            **_files(request, version),
            **_edits(request, place, aliases),
        },
    )


def _files(request: HttpRequest, version: ArtifactVersion) -> dict[str, Any]:
    """Some of its files by path, and where the next ones are."""
    files = version.files.order_by("path")
    if after := request.GET.get("files"):
        files = files.filter(path__gt=after)
    found = list(files[: FILES + 1])
    more = urlencode({"files": found[FILES - 1].path}) if len(found) > FILES else ""
    links = [(file, reverse("artifactversion-file", args=[version.pk, file.path])) for file in found[:FILES]]
    return {"files": links, "more_files": more, "first_files": not after}


def _edits(request: HttpRequest, place: Membership, aliases: list[Alias]) -> dict[str, Any]:
    """Which forms are shown: what the person may change of the version, and where they may link it to."""
    me, here, version = request.user, place.collection, place.version
    may_alias = may(access.require_role, me, here, Role.MEMBER)
    may_link = may(access.require_publishing, me, version)
    shelves = access.linkable(me, version).select_related("registry").order_by("registry__name", "name")
    return {
        "may_alias": may_alias,
        "removable": access.movable(me, here, [alias.name for alias in aliases]),
        "may_tag": may(access.require_version_member, me, version),
        "may_unlink": may_alias and here.registry_id is not None,
        "shelves": shelves[:SHELVES] if may_link else [],
    }


def used_by(request: HttpRequest, version: ArtifactVersion) -> list[Use]:
    """The newest runs that read it, as far as the person sees them."""
    mine = runs_access.runs(request.user).values("pk")
    found = Use.objects.filter(version=version, run__in=mine).select_related("run__project__team")
    return list(found[:USED_BY])


def elsewhere(request: HttpRequest, place: Membership) -> list[tuple[Membership, str]]:
    """The other collections that hold the version and that the person sees, each with its page."""
    mine = access.collections(request.user).values("pk")
    rows = Membership.objects.filter(version=place.version_id, collection__in=mine).exclude(pk=place.pk)
    rows = rows.select_related("collection__project__team", "collection__registry").order_by("pk")
    return [(row, paths.version_path(row.collection, row.index)) for row in rows]
