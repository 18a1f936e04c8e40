from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from registry import access, paths, places
from registry.models import Collection, Membership, Registry, RegistryMember
from registry.views.lookups import registry_or_404, with_labels
from runs import keyset
from runs.names import NAME_LENGTH


@require_safe
@login_required
def registries(request: HttpRequest) -> HttpResponse:
    """Every registry that the person sees, and what is in it."""
    rows = counted(access.registries(request.user)).order_by("name", "pk")
    listed = paths.with_slugs(rows, request.user)
    context = {"registries": listed, "base_url": settings.TRIPLINE_BASE_URL}
    return render(request, "registry/registries.html", context)


def counted(registries: QuerySet[Registry]) -> QuerySet[Registry]:
    """With how many collections they have (`shelves`), and how many links to versions (`links`)."""
    live = Collection.objects.filter(registry=OuterRef("pk"), deleted_at=None).order_by()
    links = Membership.objects.filter(
        collection__registry=OuterRef("pk"), collection__deleted_at=None
    ).order_by()
    return registries.annotate(
        shelves=_count(live.values("registry")), links=_count(links.values("collection__registry"))
    )


def _count(grouped: QuerySet[Any, Any]) -> Coalesce:
    counts = grouped.annotate(number=Count("pk")).values("number")
    return Coalesce(Subquery(counts), 0, output_field=IntegerField())


@require_safe
@login_required
def registry(request: HttpRequest, registry: str) -> HttpResponse:
    """A registry's collections with their aliases, and who belongs to it."""
    found = registry_or_404(request, registry)
    mine = access.collections(request.user).filter(registry=found)
    members = RegistryMember.objects.filter(registry=found).select_related("user").order_by("user__username")
    context = {
        "registry": found,
        "slug": registry,
        "tab": "collections",
        "members": members,
        "panels": places.REGISTRY.parts(request, found),
    }
    return render(request, "registry/registry.html", {**context, **collection_list(request, mine, registry)})


def collection_list(request: HttpRequest, mine: QuerySet[Collection], slug: str = "") -> dict[str, Any]:
    """A page of collections, the newest first; `?q=` looks for a part of the name."""
    wanted = request.GET.get("q", "")[:NAME_LENGTH]
    page = keyset.page(request, mine.filter(name__icontains=wanted) if wanted else mine)
    newest = Membership.objects.filter(collection=OuterRef("pk")).order_by("-index")
    number = Membership.objects.filter(collection=OuterRef("pk")).order_by().values("collection")
    rows = with_labels(page.rows.select_related("project__team", "registry")).annotate(
        count=_count(number),
        newest=Subquery(newest.values("index")[:1]),
        newest_at=Subquery(newest.values("linked_at")[:1]),
    )
    return {
        "page": page,
        "wanted": wanted,
        "collections": [(row, paths.collection_path(row, slug)) for row in rows],
        "base_url": settings.TRIPLINE_BASE_URL,
    }
