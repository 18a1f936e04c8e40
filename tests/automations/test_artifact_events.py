"""Which artifact event fires in which scope, and when there is none (semantics, sections 1 and 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import transaction

from automations.access import Scope
from automations.models import Automation, Event, Execution
from registry.models import ArtifactVersion, Collection, Registry, VersionState
from registry.services.collections import (
    create_collection,
    delete_collection,
    remove_alias,
    set_alias,
    tag_collection,
    untag_collection,
)
from registry.services.files import put_file
from registry.services.versions import (
    commit_version,
    create_version,
    link_version,
    tag_version,
    unlink_version,
    untag_version,
)
from runs.services.projects import create_project
from tests import cast
from tests.cast import Cast, fired, rule

pytestmark = pytest.mark.django_db


def version_of(collection: Collection, **options: Any) -> ArtifactVersion:
    return create_version(collection, actor=None, **options)[0]


@dataclass(frozen=True)
class World:
    """The version `linked` is in fish (of the project) and on the shelf (of the registry); `loose` only in
    fish. Krill and the attic are the neighbours of both."""

    who: Cast
    registry: Registry
    fish: Collection
    krill: Collection
    shelf: Collection
    attic: Collection
    linked: ArtifactVersion
    loose: ArtifactVersion

    @property
    def scopes(self) -> dict[str, Scope]:
        who = self.who
        return {
            "fish": self.fish, "krill": self.krill, "project": who.project, "team": who.team,
            "shelf": self.shelf, "attic": self.attic, "registry": self.registry,
            "other project": create_project(who.team, "dive"), "other team": who.otters,
            "other registry": cast.registry("archive"), "organization": who.organization,
        }  # fmt: skip


@pytest.fixture
def world(penguins: Cast) -> World:
    """Everything in it has happened and is decided."""
    fish, krill = (cast.collection(penguins.project, name) for name in ("fish", "krill"))
    registry = cast.registry()
    shelf, attic = (cast.collection(registry, name) for name in ("shelf", "attic"))
    linked, loose = version_of(fish), version_of(fish)
    link_version(shelf, linked, actor=None)
    for version in (linked, loose):
        set_alias(fish, f"known-{version.pk}", version, actor=None)
        tag_version(version, "known", actor=None)
    set_alias(shelf, "known", linked, actor=None)
    for collection in (fish, shelf):
        tag_collection(collection, "known", actor=None)
    cast.decide()
    return World(penguins, registry, fish, krill, shelf, attic, linked, loose)


IN_PROJECT = {"fish", "project", "team", "organization"}
IN_REGISTRY = {"shelf", "registry", "organization"}

Deed = Callable[[World], object]
NOBODY = None
TABLE: dict[str, list[tuple[str, Deed, set[str]]]] = {
    "version_added": [
        ("a version is made", lambda w: version_of(w.fish), IN_PROJECT),
        ("a version is linked", lambda w: link_version(w.shelf, w.loose, actor=NOBODY), set()),
    ],
    "version_linked": [
        ("a version is made", lambda w: version_of(w.fish), set()),
        ("a version is linked", lambda w: link_version(w.shelf, w.loose, actor=NOBODY), IN_REGISTRY),
        ("it is linked again", lambda w: link_version(w.shelf, w.linked, actor=NOBODY), set()),
    ],
    "version_unlinked": [
        ("it is unlinked", lambda w: unlink_version(w.shelf, w.linked, actor=NOBODY), IN_REGISTRY),
        ("it was not in", lambda w: unlink_version(w.attic, w.linked, actor=NOBODY), set()),
    ],
    "alias_added": [
        ("in the project", lambda w: set_alias(w.fish, "new", w.linked, actor=NOBODY), IN_PROJECT),
        ("in the registry", lambda w: set_alias(w.shelf, "new", w.linked, actor=NOBODY), IN_REGISTRY),
        ("where it is", lambda w: set_alias(w.shelf, "known", w.linked, actor=NOBODY), set()),
        ("latest, by a new version", lambda w: version_of(w.fish), IN_PROJECT),
        ("latest, by a link", lambda w: link_version(w.shelf, w.loose, actor=NOBODY), IN_REGISTRY),
    ],
    "alias_removed": [
        ("in the registry", lambda w: remove_alias(w.shelf, "known", actor=NOBODY), IN_REGISTRY),
        ("in the project", lambda w: remove_alias(w.fish, "latest", actor=NOBODY), IN_PROJECT),
        ("it moves", lambda w: set_alias(w.fish, "latest", w.linked, actor=NOBODY), set()),
        ("latest moves by itself", lambda w: version_of(w.fish), set()),
        ("nobody had it", lambda w: remove_alias(w.krill, "known", actor=NOBODY), set()),
    ],
    "tag_added": [
        ("in both", lambda w: tag_version(w.linked, "new", actor=NOBODY), IN_PROJECT | IN_REGISTRY),
        ("in one", lambda w: tag_version(w.loose, "new", actor=NOBODY), IN_PROJECT),
        ("it had it", lambda w: tag_version(w.linked, "known", actor=NOBODY), set()),
        ("a collection's", lambda w: tag_collection(w.fish, "new", actor=NOBODY), set()),
    ],
    "tag_removed": [
        ("in both", lambda w: untag_version(w.linked, "known", actor=NOBODY), IN_PROJECT | IN_REGISTRY),
        ("in one", lambda w: untag_version(w.loose, "known", actor=NOBODY), IN_PROJECT),
        ("it had it not", lambda w: untag_version(w.linked, "new", actor=NOBODY), set()),
    ],
    "collection_created": [
        ("in the project", lambda w: cast.collection(w.who.project, "squid"), IN_PROJECT - {"fish"}),
        ("in the registry", lambda w: cast.collection(w.registry, "squid"), IN_REGISTRY - {"shelf"}),
    ],
    "collection_tag_added": [
        ("in the project", lambda w: tag_collection(w.fish, "new", actor=NOBODY), IN_PROJECT),
        ("in the registry", lambda w: tag_collection(w.shelf, "new", actor=NOBODY), IN_REGISTRY),
        ("it had it", lambda w: tag_collection(w.shelf, "known", actor=NOBODY), set()),
        ("a version's", lambda w: tag_version(w.linked, "new", actor=NOBODY), set()),
    ],
    "collection_tag_removed": [
        ("in the project", lambda w: untag_collection(w.fish, "known", actor=NOBODY), IN_PROJECT),
        ("it had it not", lambda w: untag_collection(w.fish, "new", actor=NOBODY), set()),
    ],
}

ANYTHING: dict[str, dict[str, str]] = {
    "version_added": {}, "version_linked": {}, "version_unlinked": {}, "collection_created": {},
    "alias_added": {"alias": "."}, "alias_removed": {"alias": "."},
    "tag_added": {"tag": "."}, "tag_removed": {"tag": "."},
    "collection_tag_added": {"tag": "."}, "collection_tag_removed": {"tag": "."},
}  # fmt: skip


@pytest.mark.parametrize("event_type", ANYTHING)
def test_each_deed_fires_once_in_exactly_these_scopes(world: World, event_type: str) -> None:
    """Each is done alone, and undone again."""
    rules = {
        name: rule(scope, event_type, ANYTHING[event_type], name=name) for name, scope in world.scopes.items()
    }
    assert any(where for _title, _deed, where in TABLE[event_type]), "no deed of the table fires it"
    for title, deed, where in TABLE[event_type]:
        with undone():
            deed(world)
            cast.decide()
            found = {name: fired(automation) for name, automation in rules.items()}
        assert found == {name: int(name in where) for name in rules}, title


@contextmanager
def undone() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_the_table_has_every_artifact_event() -> None:
    from automations.events.base import EVENTS, ArtifactEventType

    kinds = {one.key for one in EVENTS if isinstance(one, ArtifactEventType)}
    assert kinds == set(ANYTHING) == set(TABLE)


# --- Versions -------------------------------------------------------------------------------------


def events(kind: str) -> int:
    return Event.objects.filter(type=kind).count()


def test_a_version_is_added_when_it_is_committed_and_not_when_its_upload_begins(
    penguins: Cast, files: Path
) -> None:
    fish = cast.collection(penguins.project)
    automation = rule(penguins.project, "version_added", {})
    draft = version_of(fish, state=VersionState.PENDING)
    with (Path(__file__)).open("rb") as stream:
        put_file(draft, "weights.bin", stream)
    cast.decide()
    assert (fired(automation), events("version_added")) == (0, 0)
    commit_version(draft, actor=None)
    commit_version(draft, actor=None)
    cast.decide()
    assert (fired(automation), events("version_added")) == (1, 1)

    again = version_of(fish, state=VersionState.PENDING)
    with (Path(__file__)).open("rb") as stream:
        put_file(again, "weights.bin", stream)
    assert commit_version(again, actor=None) == draft, "the same content is the same version"
    cast.decide()
    assert (fired(automation), events("version_added")) == (1, 1)


def test_the_same_digest_is_the_same_version_in_one_collection_and_another_in_the_next(
    penguins: Cast,
) -> None:
    automation = rule(penguins.project, "version_added", {})
    fish, krill = (cast.collection(penguins.project, name) for name in ("fish", "krill"))
    assert version_of(fish, digest="d") == version_of(fish, digest="d", aliases=["again"])
    version_of(krill, digest="d")
    cast.decide()
    assert fired(automation) == 2


@pytest.mark.parametrize(("pattern", "fires"), [("^best$", 1), ("^latest$", 1), ("^worst$", 0), (None, 1)])
def test_an_alias_filter_sees_the_aliases_that_a_new_version_or_link_brings(
    penguins: Cast, pattern: str | None, fires: int
) -> None:
    registry = cast.registry()
    fish, shelf = cast.collection(penguins.project), cast.collection(registry)
    added = rule(penguins.project, "version_added", {"alias": pattern})
    linked = rule(registry, "version_linked", {"alias": pattern})
    version = version_of(fish, aliases=["best"])
    link_version(shelf, version, aliases=["best"], actor=None)
    cast.decide()
    assert (fired(added), fired(linked)) == (fires, fires)


def test_a_link_is_not_filtered_by_the_aliases_of_the_project_nor_by_earlier_ones(world: World) -> None:
    by_project = rule(world.registry, "version_linked", {"alias": "^known-"}, name="project")
    by_link = rule(world.registry, "version_linked", {"alias": "^staging$"}, name="link")
    link_version(world.attic, world.linked, aliases=["staging"], actor=None)
    cast.decide()
    assert (fired(by_project), fired(by_link)) == (0, 1)
    unlink_version(world.attic, world.linked, actor=None)
    link_version(world.attic, world.linked, actor=None)
    cast.decide()
    assert fired(by_link) == 1, "linked anew, without that alias"


@pytest.mark.parametrize(("pattern", "fires"), [("^known$", 1), ("^production$", 0), (None, 1)])
def test_an_alias_filter_sees_the_aliases_that_an_unlinked_version_had(
    world: World, pattern: str | None, fires: int
) -> None:
    automation = rule(world.registry, "version_unlinked", {"alias": pattern})
    unlink_version(world.shelf, world.linked, actor=None)
    cast.decide()
    assert fired(automation) == fires
    gone = Event.objects.get(type="version_unlinked")
    assert (gone.data["artifact_version"], gone.version) == ("shelf:v0", world.linked)


# --- Aliases --------------------------------------------------------------------------------------


def data_of(automation: Automation) -> list[dict[str, Any]]:
    executions = Execution.objects.filter(automation=automation).order_by("pk").select_related("event")
    return [execution.event.data for execution in executions if execution.event]


def test_a_move_is_one_event_that_names_both_ends_and_its_place_in_the_collection(world: World) -> None:
    automation = rule(world.who.project, "alias_added", {"alias": "^production$"})
    for version in (world.linked, world.loose, world.linked):
        set_alias(world.fish, "production", version, actor=world.who.ada)
    cast.decide()
    ends = [(data["previous_version"], data["artifact_version_string"]) for data in data_of(automation)]
    assert ends == [("", "v0"), ("v0", "v1"), ("v1", "v0")]
    sequence = [data["collection_sequence"] for data in data_of(automation)]
    assert sequence == list(range(sequence[0], sequence[0] + 3))
    reasons = [execution.explanation["data"] for execution in automation.executions.order_by("pk")]
    assert [(reason["from"], reason["to"]) for reason in reasons][1] == ("v0", "fish:v1")


def test_an_alias_lost_by_unlinking_is_removed_and_one_that_moves_is_not(world: World) -> None:
    automation = rule(world.registry, "alias_removed", {"alias": "."})
    link_version(world.shelf, world.loose, aliases=["known"], actor=None)
    cast.decide()
    assert fired(automation) == 0, "both aliases moved to the version that came"
    unlink_version(world.shelf, world.loose, actor=None)
    cast.decide()
    assert sorted(data["alias"] for data in data_of(automation)) == ["known", "latest"]
    assert {data["artifact_version"] for data in data_of(automation)} == {"shelf:v1"}


def test_version_numbers_are_no_aliases(penguins: Cast) -> None:
    numbers = rule(penguins.project, "alias_added", {"alias": r"^v\d+$"}, name="numbers")
    every = rule(penguins.project, "alias_added", {"alias": "."}, name="every")
    fish = cast.collection(penguins.project)
    for _version in range(2):
        version_of(fish)
    cast.decide()
    assert (fired(numbers), fired(every)) == (0, 2)


# --- Tags and collections -------------------------------------------------------------------------


def test_several_tags_in_one_call_are_one_event_each(penguins: Cast) -> None:
    automation = rule(penguins.project, "tag_added", {"tag": "^eu"})
    version_of(cast.collection(penguins.project), tags=["eu-1", "eu-2", "us", "eu-1"])
    cast.decide()
    assert [data["tag"] for data in data_of(automation)] == ["eu-1", "eu-2"]


def test_a_tag_is_told_where_the_version_is_now_and_not_where_it_was(world: World) -> None:
    automation = rule(world.registry, "tag_added", {"tag": "."})
    unlink_version(world.shelf, world.linked, actor=None)
    tag_version(world.linked, "one", actor=None)
    link_version(world.attic, world.linked, actor=None)
    tag_version(world.linked, "two", actor=None)
    delete_collection(world.attic)
    tag_version(world.linked, "three", actor=None)
    cast.decide()
    assert [data["tag"] for data in data_of(automation)] == ["two"]


def test_a_tag_in_two_collections_of_one_registry_is_one_event_of_the_registry(world: World) -> None:
    automation = rule(world.registry, "tag_added", {"tag": "."})
    link_version(world.attic, world.linked, actor=None)
    tag_version(world.linked, "new", actor=None)
    cast.decide()
    assert fired(automation) == 1


def test_two_spellings_of_a_tag_are_one_tag(penguins: Cast) -> None:
    automation = rule(penguins.project, "tag_added", {"tag": "^caf\u00e9$"})
    version = version_of(cast.collection(penguins.project))
    tag_version(version, "cafe\u0301", actor=None)
    tag_version(version, "caf\u00e9", actor=None)
    cast.decide()
    assert fired(automation) == 1


@pytest.mark.parametrize(("pattern", "fires"), [("^fish-", 1), ("^krill", 0), (None, 2), ("Fish", 0)])
def test_a_collections_name_is_searched_for_the_pattern(
    penguins: Cast, pattern: str | None, fires: int
) -> None:
    automation = rule(penguins.project, "collection_created", {"name": pattern})
    for name in ("fish-classifier", "squid"):
        create_collection(penguins.project, name, actor=None)
    cast.decide()
    assert fired(automation) == fires


# --- What cannot be watched -----------------------------------------------------------------------

METRIC = {"metric": "loss", "direction": "above", "threshold": 1}
RUN_EVENTS: dict[str, dict[str, Any]] = {
    "run_status": {"statuses": ["failed"]},
    "run_metric_threshold": {"metric": "loss", "comparison": "above", "threshold": 1},
    "run_metric_change": {**METRIC, "direction": "any"},
    "run_metric_zscore": METRIC,
    "run_metric_nonfinite": {},
}


def test_every_pair_of_event_and_scope_is_taken_or_refused_as_the_semantics_say(world: World) -> None:
    scopes = world.scopes
    refused = {"fish", "krill", "shelf", "attic", "registry", "other registry"}
    for event_type, config in {**RUN_EVENTS, **ANYTHING}.items():
        for name, scope in scopes.items():
            if event_type in RUN_EVENTS and name in refused:
                with pytest.raises(ValidationError) as refusal:
                    rule(scope, event_type, config, name=event_type)
                assert set(refusal.value.message_dict) == {"scope"}
            else:
                rule(scope, event_type, config, name=event_type)
    assert Automation.objects.count() == len(ANYTHING) * 11 + len(RUN_EVENTS) * (11 - len(refused))
