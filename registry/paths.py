"""Where registries, collections and versions have their pages."""

from __future__ import annotations

from collections.abc import Iterable

from django.urls import reverse

from registry import access
from registry.models import Collection, Registry
from runs.access import Person
from runs.names import normalized

# What is below a registry and no collection; a collection of such a name has its page by its number.
_OWN_NAMES = frozenset({"automations"})


def with_slugs(registries: Iterable[Registry], person: Person) -> list[tuple[Registry, str]]:
    """Each with what stands for it in a path: its name.

    Where an older one that the reader sees has the same name, the organization's number follows it.
    """
    rows = list(registries)
    namesakes = access.registries(person).filter(name__in={row.name for row in rows}).order_by("-pk")
    oldest = dict(namesakes.values_list("name", "pk"))
    return [
        (row, row.name if oldest.get(row.name) == row.pk else f"{row.name}:{row.organization_id}")
        for row in rows
    ]


def slug_for(registry: Registry, person: Person) -> str:
    ((_registry, slug),) = with_slugs([registry], person)
    return slug


def registry_by_slug(slug: str, person: Person) -> Registry | None:
    name, _colon, organization = normalized(slug).partition(":")
    found = access.registries(person).filter(name=name).select_related("organization").order_by("pk")
    if organization.isascii() and organization.isdecimal() and len(organization) < 19:
        found = found.filter(organization=int(organization))
    return found.first()


def collection_path(collection: Collection, slug: str = "") -> str:
    """A collection's page; that of a registry's collection is found by number where no slug is known."""
    if project := collection.project:
        return reverse("collection", args=[project.team.name, project.name, collection.name])
    if slug and collection.name.casefold() not in _OWN_NAMES:
        return reverse("registry-collection", args=[slug, collection.name])
    return reverse("artifact", args=[collection.pk])


def version_path(collection: Collection, index: int, slug: str = "") -> str:
    return f"{collection_path(collection, slug)}v{index}/"
