"""What a page is about, for who asks: what they may not see is not there."""

from __future__ import annotations

from django.db.models import OuterRef, Prefetch, QuerySet, Subquery
from django.http import Http404, HttpRequest

from registry import access, paths
from registry.models import Alias, Collection, CollectionTag, Membership, Registry


def registry_or_404(request: HttpRequest, slug: str) -> Registry:
    found = paths.registry_by_slug(slug, request.user)
    if found is None:
        raise Http404
    return found


def visible_collections(request: HttpRequest) -> QuerySet[Collection]:
    found = access.collections(request.user)
    return found.select_related("project__team__organization", "registry__organization")


def with_labels(collections: QuerySet[Collection]) -> QuerySet[Collection]:
    """With tags, and aliases that know the number of their version (`index`)."""
    tags = CollectionTag.objects.order_by("name")
    return collections.prefetch_related(
        Prefetch("tags", queryset=tags), Prefetch("aliases", queryset=aliases_with_index())
    )


def aliases_with_index() -> QuerySet[Alias]:
    place = Membership.objects.filter(collection=OuterRef("collection"), version=OuterRef("version"))
    return Alias.objects.annotate(index=Subquery(place.values("index")[:1])).order_by("name")
