"""Numbering and recording what happens in a collection."""

from __future__ import annotations

from registry.models import Alias, ArtifactChange, ArtifactVersion, ChangeKind, Collection
from runs import clock
from runs.models import User


def lock(collection: Collection) -> Collection:
    """Lock the collection's row until the transaction ends, and return it as it is now."""
    locked = Collection.objects.select_for_update(of=("self",))
    return locked.select_related("project__team", "registry").get(pk=collection.pk)


def record(
    kind: ChangeKind,
    collection: Collection,
    *,
    actor: User | None,
    version: ArtifactVersion | None = None,
    previous: ArtifactVersion | None = None,
    label: str = "",
) -> ArtifactChange:
    """Insert the change row, with the next number of the locked collection."""
    collection.sequence += 1
    Collection.objects.filter(pk=collection.pk).update(sequence=collection.sequence)
    aliases = Alias.objects.filter(collection=collection, version=version) if version else []
    return ArtifactChange.objects.create(
        kind=kind,
        collection=collection,
        sequence=collection.sequence,
        version=version,
        previous=previous,
        label=label,
        aliases=[alias.name for alias in aliases],
        received_at=clock.now(),
        actor=actor,
    )
