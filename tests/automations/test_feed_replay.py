"""The feed, replayed by somebody who sees nothing else, gives what the database held: at every number."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction

from automations.models import Event, Feed
from registry.models import (
    Alias,
    ArtifactChange,
    ArtifactVersion,
    ChangeKind,
    Collection,
    CollectionTag,
    Membership,
    VersionState,
    VersionTag,
)
from registry.services import collections, versions
from runs.models import Organization
from tests import cast
from tests.api.house import Api, superuser
from tests.cast import Cast, at_once
from tests.replay import Shelf, Told, World, same, told_by_event

NAMES = ["production", "staging", "latest", "best"]
STORIES, CHANGES = 12, 40
KINDS = {str(kind) for kind in ChangeKind}


def read_all(api: Api, cursor: str = "", *, page_size: int = 100) -> Iterator[Any]:
    """Every event after the cursor, as REST shows it."""
    while True:
        page = api.get(f"events/?after={cursor}&page_size={page_size}").json
        yield from page["results"]
        cursor = page["next"]
        if not page["results"]:
            return


# --- Random changes -------------------------------------------------------------------------------


@dataclass
class Scene:
    """Two collections of projects and two of registries, and whatever versions they come to have."""

    homes: list[Collection]
    shelves: list[Collection]
    refused: int = 0

    @property
    def all(self) -> list[Collection]:
        return [*self.homes, *self.shelves]

    def change(self, dice: random.Random, collection: Collection) -> None:
        """One verb of the services. Some cannot be, are refused, and must leave nothing behind."""
        try:
            with transaction.atomic():
                dice.choice(self._verbs(dice, collection))()
        except ValidationError:
            self.refused += 1

    def _verbs(self, dice: random.Random, collection: Collection) -> list[Callable[[], Any]]:
        name = dice.choice(NAMES)
        aliases, tags = dice.sample(NAMES, dice.randrange(3)), dice.sample(NAMES, dice.randrange(2))
        state = dice.choice([VersionState.COMMITTED, VersionState.COMMITTED, VersionState.PENDING])
        order: dict[str, Any] = {
            "digest": f"d{dice.randrange(9)}",
            "state": state,
            "aliases": aliases,
            "tags": tags,
        }
        verbs: list[Callable[..., Any]] = [
            partial(collections.tag_collection, collection, name),
            partial(collections.untag_collection, collection, name),
            partial(collections.remove_alias, collection, name),
            partial(versions.create_version, collection, **order),
        ]
        if version := self._some_version(dice):
            verbs += [partial(collections.set_alias, collection, name, version)] * 3
            verbs.append(partial(versions.link_version, collection, version, aliases=aliases))
            verbs.append(partial(versions.unlink_version, collection, version))
        if version := self._some_version(dice, home=collection):
            verbs.append(partial(versions.commit_version, version))
            verbs.append(partial(versions.tag_version, version, name))
            verbs.append(partial(versions.untag_version, version, name))
        return [partial(verb, actor=None) for verb in verbs]

    def _some_version(self, dice: random.Random, home: Collection | None = None) -> ArtifactVersion | None:
        homes = [home] if home else self.homes
        found = list(ArtifactVersion.objects.filter(home__in=homes).select_related("home").order_by("pk"))
        return dice.choice(found) if found else None


def scene(who: Cast, name: str) -> Scene:
    registry = cast.registry(f"registry-{name}")
    homes = [cast.collection(who.project, f"{name}-{number}") for number in range(2)]
    return Scene(homes, [cast.collection(registry, f"{name}-{number}") for number in range(2)])


# --- What was and what is told --------------------------------------------------------------------


def told_by_row(row: ArtifactChange) -> Told:
    return Told(row.kind, row.collection_id, row.sequence, row.version_id, row.label)


def world_of_tables(collections: Iterable[int]) -> World:
    """These collections and the tags of their versions, as the tables have them now."""
    numbered = Collection.objects.filter(pk__in=list(collections)).values_list("pk", "sequence")
    world = World({pk: Shelf(sequence) for pk, sequence in numbered})
    here = {"collection__in": list(world.shelves)}
    for collection, version in Membership.objects.filter(**here).values_list("collection", "version"):
        world.shelves[collection].members.add(version)
    for collection, name, version in Alias.objects.filter(**here).values_list(
        "collection", "name", "version"
    ):
        world.shelves[collection].aliases[name] = version
    for collection, name in CollectionTag.objects.filter(**here).values_list("collection", "name"):
        world.shelves[collection].tags.add(name)
    for version, name in VersionTag.objects.filter(version__home__in=list(world.shelves)).values_list(
        "version", "name"
    ):
        world.version_tags.setdefault(version, set()).add(name)
    return world


def replayed(events: Iterator[Any]) -> dict[int, World]:
    """What a reader knows after each number."""
    world, found = World(), {}
    for event in events:
        if told := told_by_event(event):
            world.hear(told)
        found[event["sequence"]] = world.now()
    return found


def assert_each_prefix_is_that_of_the_rows(after: dict[int, World], place: Scene) -> None:
    """Collection by collection, change by change."""
    for collection in place.all:
        rows = ArtifactChange.objects.filter(collection=collection).order_by("sequence")
        world, by_rows = World(), {}
        for row in rows:
            world.hear(told_by_row(row))
            by_rows[row.sequence] = world.now().shelves[collection.pk]
        told = [world.shelves[collection.pk] for world in after.values() if collection.pk in world.shelves]
        assert {shelf.sequence: shelf for shelf in told} == by_rows


def head() -> int:
    return Feed.objects.get(organization=Organization.default()).head


@pytest.mark.django_db
def test_after_every_change_the_replay_is_what_the_tables_hold(penguins: Cast) -> None:
    reader, refused = Api(superuser()), 0
    for seed in range(STORIES):
        dice = random.Random(seed)
        cursor = reader.get("events/?after=now").json["next"]
        place, held = scene(penguins, f"s{seed}"), {}
        for _change in range(CHANGES):
            place.change(dice, dice.choice(place.all))
            held[head()] = world_of_tables(one.pk for one in place.all)
        after = replayed(read_all(reader, cursor, page_size=dice.randrange(1, 30)))
        assert_each_prefix_is_that_of_the_rows(after, place)
        assert all(same(after[number], world) for number, world in held.items()), seed
        refused += place.refused
    assert set(Event.objects.values_list("type", flat=True)) == KINDS
    assert refused > 0


# --- At once --------------------------------------------------------------------------------------

WRITERS, TURNS = 4, 30


class Abandoned(Exception):  # noqa: N818  # nothing went wrong
    """Rolls a transaction back."""


def write(place: Scene, number: int) -> None:
    """Transactions of one to three changes; every fifth is given up.

    Each in one collection: a second one would be locked after the feed.
    """
    dice = random.Random(number)
    for _turn in range(TURNS):
        collection = dice.choice(place.all)
        try:
            with transaction.atomic():
                for _change in range(dice.randrange(1, 4)):
                    place.change(dice, collection)
                if dice.randrange(5) == 0:
                    raise Abandoned
        except Abandoned:
            pass


def snapshot(place: Scene) -> tuple[int, World]:
    """The feed's head and the tables of one and the same moment."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        return head(), world_of_tables(one.pk for one in place.all)


@pytest.mark.django_db(transaction=True)
def test_a_replay_equals_the_tables_of_every_moment_while_many_write(penguins: Cast) -> None:
    place, reader = scene(penguins, "busy"), Api(superuser())
    held: dict[int, World] = {}
    gone: list[int] = []

    def work(number: int) -> None:
        if number < WRITERS:
            write(place, number)
            gone.append(number)
            return
        while len(gone) < WRITERS:
            number, world = snapshot(place)
            assert same(held.setdefault(number, world), world)

    at_once(WRITERS + 1, work, within=60)
    held |= [snapshot(place)]
    after = replayed(read_all(reader))
    assert list(after) == list(range(1, head() + 1))
    assert_each_prefix_is_that_of_the_rows(after, place)
    for number, world in held.items():
        assert same(after[number], world)
    # The tables were looked at in the middle of it.
    assert len(held) > 10
