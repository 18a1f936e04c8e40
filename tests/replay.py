"""What a reader of the feed knows: collections built up from nothing but what was told about them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Shelf:
    """One collection: its versions, aliases and tags, and the number of its last change."""

    sequence: int = 0
    members: set[int] = field(default_factory=set)
    aliases: dict[str, int] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Told:
    """One change, as an event or a change row tells it."""

    kind: str
    collection: int
    sequence: int
    version: int | None
    label: str


@dataclass
class World:
    """All collections, and the tags of versions. `hear` asserts that it is told every change, once."""

    shelves: dict[int, Shelf] = field(default_factory=dict)
    version_tags: dict[int, set[str]] = field(default_factory=dict)

    def hear(self, told: Told) -> None:
        shelf = self.shelves.setdefault(told.collection, Shelf())
        assert told.sequence == shelf.sequence + 1, (told, shelf)
        shelf.sequence = told.sequence
        if told.version is None:
            self._hear_of_collection(told, shelf)
        elif told.kind.startswith("tag_"):
            self._tag(self.version_tags.setdefault(told.version, set()), told)
        else:
            self._hear_of_version(told, told.version, shelf)

    def _hear_of_collection(self, told: Told, shelf: Shelf) -> None:
        if told.kind == "collection_created":
            assert told.sequence == 1
        else:
            self._tag(shelf.tags, told)

    def _tag(self, tags: set[str], told: Told) -> None:
        is_new = told.kind.endswith("_added")
        assert (told.label in tags) != is_new, told
        tags ^= {told.label}

    def _hear_of_version(self, told: Told, version: int, shelf: Shelf) -> None:
        match told.kind:
            case "version_added" | "version_linked":
                assert version not in shelf.members
                shelf.members.add(version)
            case "version_unlinked":
                shelf.members.remove(version)
            case "alias_added":
                assert version in shelf.members
                assert shelf.aliases.get(told.label) != version, told
                shelf.aliases[told.label] = version
            case "alias_removed":
                assert shelf.aliases.pop(told.label) == version
            case _:
                raise AssertionError(told)

    def now(self) -> World:
        """A copy that stays as it is."""
        return copy.deepcopy(self)


def told_by_event(event: Mapping[str, Any]) -> Told | None:
    """An event as REST shows it; None when it is about no collection."""
    data = event["data"]
    if "collection_sequence" not in data:
        return None
    label = data["alias"] or data["tag"]
    return Told(event["type"], event["collection"], data["collection_sequence"], event["version"], label)


def same(one: World, other: World) -> bool:
    """Whether both hold the same; what holds nothing is as good as not there."""
    return _held(one) == _held(other)


def _held(world: World) -> tuple[dict[int, Shelf], dict[int, set[str]]]:
    return (
        {pk: shelf for pk, shelf in world.shelves.items() if shelf.sequence},
        {pk: tags for pk, tags in world.version_tags.items() if tags},
    )
