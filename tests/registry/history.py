"""What happened in a collection, in words that fit on a line."""

from __future__ import annotations

from registry.models import ArtifactChange, ArtifactVersion, Collection, Membership


def changes(collection: Collection) -> list[str]:
    """Each change in order: its kind, the version's number in this collection, its label."""
    numbers = dict(Membership.objects.filter(collection=collection).values_list("version", "index"))
    found = []
    for change in ArtifactChange.objects.filter(collection=collection).order_by("sequence"):
        number = f"v{numbers[change.version_id]}" if change.version_id in numbers else ""
        came_from = f"from v{numbers[change.previous_id]}" if change.previous_id in numbers else ""
        found.append(" ".join(filter(None, [change.kind, number, change.label, came_from])))
    return found


def sequences(collection: Collection) -> list[int]:
    rows = ArtifactChange.objects.filter(collection=collection).order_by("sequence")
    return list(rows.values_list("sequence", flat=True))


def number(collection: Collection, version: ArtifactVersion) -> int:
    return Membership.objects.get(collection=collection, version=version).index


def aliases(collection: Collection) -> dict[str, int]:
    """Each alias of the collection, with the number of the version it sits on."""
    rows = collection.aliases.select_related("version")
    return {alias.name: number(collection, alias.version) for alias in rows}
