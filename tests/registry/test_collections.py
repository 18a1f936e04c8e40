from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from registry import access
from registry.models import Collection, Registry
from registry.services.collections import (
    create_registry,
    delete_collection,
    restore_collection,
    tag_collection,
    untag_collection,
)
from runs.errors import Conflict
from runs.models import Project
from tests import cast
from tests.cast import Cast, at_once
from tests.registry.history import changes, sequences


@pytest.mark.django_db
class TestCollections:
    @pytest.fixture(params=["project", "registry"])
    def parent(self, penguins: Cast, request: pytest.FixtureRequest) -> Project | Registry:
        return penguins.project if request.param == "project" else cast.registry(owner=penguins.ada)

    def test_a_collection_begins_with_its_own_event(self, parent: Project | Registry) -> None:
        fish = cast.collection(parent)
        assert changes(fish) == ["collection_created"]
        assert sequences(fish) == [1]

    def test_a_name_is_taken_once_in_its_place(self, parent: Project | Registry) -> None:
        cast.collection(parent, "fish")
        with pytest.raises(Conflict) as refusal:
            cast.collection(parent, "fish")
        assert set(refusal.value.message_dict) == {"name"}
        assert parent.collections.count() == 1

    def test_a_deleted_collection_is_hidden_and_its_name_free(
        self, parent: Project | Registry, penguins: Cast
    ) -> None:
        fish = cast.collection(parent, "fish")
        delete_collection(fish)
        assert fish not in access.collections(penguins.ada)
        restore_collection(fish)
        assert fish in access.collections(penguins.ada)

        delete_collection(fish)
        cast.collection(parent, "fish")
        with pytest.raises(Conflict) as refusal:
            restore_collection(fish)
        assert set(refusal.value.message_dict) == {"name"}
        fish.refresh_from_db()
        assert fish.deleted_at is not None

    @pytest.mark.parametrize("name", ["", "a/b", "a:b", "x" * 129, "nul\x00", "lone\ud800"])
    def test_a_bad_name_is_refused_by_field(self, parent: Project | Registry, name: str) -> None:
        with pytest.raises(ValidationError) as refusal:
            cast.collection(parent, name)
        assert set(refusal.value.message_dict) == {"name"}
        assert not Collection.objects.exists()

    def test_tags_come_once_and_leave_once(self, parent: Project | Registry) -> None:
        fish = cast.collection(parent)
        answers = [
            tag_collection(fish, "cafe\u0301", actor=None),
            tag_collection(fish, "caf\u00e9", actor=None),
            untag_collection(fish, "cafe\u0301", actor=None),
            untag_collection(fish, "caf\u00e9", actor=None),
        ]
        assert answers == [True, False, True, False]
        assert changes(fish)[1:] == ["collection_tag_added caf\u00e9", "collection_tag_removed caf\u00e9"]

    @pytest.mark.parametrize("tag", ["a,b", "", "nul\x00", "lone\ud800", "x" * 129])
    def test_an_impossible_tag_is_refused_on_every_way(self, parent: Project | Registry, tag: str) -> None:
        fish = cast.collection(parent)
        for attempt in (tag_collection, untag_collection):
            with pytest.raises(ValidationError) as refusal:
                attempt(fish, tag, actor=None)
            assert set(refusal.value.message_dict) == {"tag"}
        assert changes(fish) == ["collection_created"]


@pytest.mark.django_db
def test_the_database_refuses_a_collection_that_is_in_both_places_or_none(penguins: Cast) -> None:
    for project, registry in ((penguins.project, cast.registry()), (None, None)):
        with pytest.raises(IntegrityError), transaction.atomic():
            Collection.objects.create(project=project, registry=registry, name="fish")


@pytest.mark.django_db
def test_a_registry_name_is_taken_once_in_its_organization(penguins: Cast) -> None:
    create_registry("models", owner=penguins.ada)
    with pytest.raises(Conflict):
        create_registry("models", owner=penguins.otto)


@pytest.mark.django_db(transaction=True)
def test_changes_made_by_many_at_once_are_numbered_without_a_gap(penguins: Cast) -> None:
    fish = cast.collection(penguins.project)
    at_once(6, lambda who: [tag_collection(fish, f"tag-{who}-{turn}", actor=None) for turn in range(4)])
    assert sequences(fish) == list(range(1, 26))
    fish.refresh_from_db()
    assert fish.sequence == 25
