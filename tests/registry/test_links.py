from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from registry.models import Collection, VersionState
from registry.services.versions import create_version, link_version, tag_version, unlink_version
from tests import cast
from tests.cast import Cast
from tests.registry.history import aliases, changes, number

pytestmark = pytest.mark.django_db


@pytest.fixture
def fish(penguins: Cast) -> Collection:
    return cast.collection(penguins.project)


@pytest.fixture
def models(penguins: Cast) -> Collection:
    return cast.collection(cast.registry(), "fish-models")


def test_a_linked_version_has_its_own_number_there(fish: Collection, models: Collection) -> None:
    create_version(fish, actor=None)
    version, _created = create_version(fish, actor=None)
    membership, created = link_version(models, version, aliases=["production"], actor=None)
    assert created
    assert (number(fish, version), membership.index) == (1, 0)
    assert changes(models) == [
        "collection_created",
        "version_linked v0",
        "alias_added v0 latest",
        "alias_added v0 production",
    ]
    assert sorted(models.changes.get(kind="version_linked").aliases) == ["latest", "production"]


def test_latest_moves_with_each_link(fish: Collection, models: Collection) -> None:
    first, second = (create_version(fish, actor=None)[0] for _version in range(2))
    link_version(models, second, actor=None)
    link_version(models, first, actor=None)
    assert number(models, first) == 1
    assert aliases(models) == {"latest": 1}


def test_linking_a_member_again_is_no_event_but_brings_new_aliases(
    fish: Collection, models: Collection
) -> None:
    version, _created = create_version(fish, actor=None)
    link_version(models, version, actor=None)
    before = changes(models)
    assert link_version(models, version, actor=None)[1] is False
    assert changes(models) == before
    link_version(models, version, aliases=["production"], actor=None)
    assert changes(models) == [*before, "alias_added v0 production"]


def test_unlinking_takes_the_aliases_along_and_never_reuses_the_number(
    fish: Collection, models: Collection
) -> None:
    first, second = (create_version(fish, actor=None)[0] for _version in range(2))
    link_version(models, first, aliases=["production"], actor=None)
    assert unlink_version(models, first, actor=None)
    assert not unlink_version(models, first, actor=None)
    assert aliases(models) == {}
    assert [change.split()[0] for change in changes(models)[-3:]] == [
        "version_unlinked",
        "alias_removed",
        "alias_removed",
    ]
    assert number(fish, first) == 0, "the collection it was made in keeps it"
    assert aliases(fish) == {"latest": 1}

    link_version(models, second, actor=None)
    assert number(models, second) == 1


def test_only_registries_take_links_and_only_of_what_is_committed(
    fish: Collection, models: Collection, penguins: Cast
) -> None:
    committed, _created = create_version(fish, actor=None)
    pending, _created = create_version(fish, actor=None, state=VersionState.PENDING)
    for collection, version, field in [
        (cast.collection(penguins.project, "krill"), committed, "collection"),
        (models, pending, "version"),
    ]:
        with pytest.raises(ValidationError) as refusal:
            link_version(collection, version, actor=None)
        assert set(refusal.value.message_dict) == {field}
    with pytest.raises(ValidationError) as refusal:
        unlink_version(fish, committed, actor=None)
    assert set(refusal.value.message_dict) == {"collection"}


def test_a_tag_is_counted_where_the_version_was_made(fish: Collection, models: Collection) -> None:
    version, _created = create_version(fish, actor=None)
    link_version(models, version, actor=None)
    before = changes(models)
    tag_version(version, "good", actor=None)
    assert changes(fish)[-1] == "tag_added v0 good"
    assert changes(models) == before
