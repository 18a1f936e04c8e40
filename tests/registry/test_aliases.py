from __future__ import annotations

from itertools import pairwise

import pytest
from django.core.exceptions import ValidationError

from registry.models import ArtifactVersion, Collection
from registry.names import validate_alias, validate_tag
from registry.services.collections import remove_alias, set_alias
from registry.services.versions import create_version, link_version
from tests import cast
from tests.cast import Cast, at_once
from tests.registry.history import aliases, changes, number, sequences


def versions(collection: Collection, count: int) -> list[ArtifactVersion]:
    return [create_version(collection, actor=None)[0] for _version in range(count)]


@pytest.mark.django_db
class TestMoving:
    def test_an_alias_sits_on_one_version_and_a_move_carries_both_ends(self, penguins: Cast) -> None:
        fish = cast.collection(penguins.project)
        old, new = versions(fish, 2)
        before = len(changes(fish))
        assert set_alias(fish, "production", old, actor=penguins.ada)
        assert set_alias(fish, "production", new, actor=penguins.ada)
        assert changes(fish)[before:] == [
            "alias_added v0 production",
            "alias_added v1 production from v0",
        ]
        assert aliases(fish) == {"latest": 1, "production": 1}
        move = fish.changes.latest("sequence")
        assert (move.previous, move.version, move.actor) == (old, new, penguins.ada)
        assert sorted(move.aliases) == ["latest", "production"]

    def test_setting_an_alias_where_it_sits_is_no_event(self, penguins: Cast) -> None:
        fish = cast.collection(penguins.project)
        (version,) = versions(fish, 1)
        set_alias(fish, "production", version, actor=None)
        before = changes(fish)
        assert not set_alias(fish, "production", version, actor=None)
        assert changes(fish) == before

    def test_removing_an_alias_is_one_event_and_then_none(self, penguins: Cast) -> None:
        fish = cast.collection(penguins.project)
        (version,) = versions(fish, 1)
        set_alias(fish, "production", version, actor=None)
        assert remove_alias(fish, "production", actor=None)
        assert not remove_alias(fish, "production", actor=None)
        assert changes(fish)[-1] == "alias_removed v0 production"
        assert aliases(fish) == {"latest": 0}

    def test_an_alias_in_the_project_does_not_touch_the_registry_nor_the_reverse(
        self, penguins: Cast
    ) -> None:
        fish, models = cast.collection(penguins.project), cast.collection(cast.registry())
        (version,) = versions(fish, 1)
        link_version(models, version, actor=None)
        set_alias(fish, "here", version, actor=None)
        set_alias(models, "there", version, actor=None)
        assert set(aliases(fish)) == {"latest", "here"}
        assert set(aliases(models)) == {"latest", "there"}

    def test_an_alias_is_set_on_versions_of_the_collection_only(self, penguins: Cast) -> None:
        fish, krill = cast.collection(penguins.project), cast.collection(penguins.project, "krill")
        (version,) = versions(krill, 1)
        with pytest.raises(ValidationError) as refusal:
            set_alias(fish, "production", version, actor=None)
        assert set(refusal.value.message_dict) == {"version"}
        assert aliases(fish) == {}

    def test_two_spellings_of_an_alias_are_one_alias(self, penguins: Cast) -> None:
        fish = cast.collection(penguins.project)
        old, new = versions(fish, 2)
        set_alias(fish, "cafe\u0301", old, actor=None)
        set_alias(fish, "caf\u00e9", new, actor=None)
        assert aliases(fish) == {"latest": 1, "caf\u00e9": 1}
        assert remove_alias(fish, "cafe\u0301", actor=None)


@pytest.mark.parametrize(
    ("name", "is_alias", "is_tag"),
    [
        ("production", True, True),
        ("europe-west_1", True, True),
        ("本番", True, True),
        ("two words", True, True),
        ("two  words", True, True),
        ("release 1.2", True, False),
        ("v0", False, True),
        ("v12", False, True),
        ("v1.2", True, False),
        ("V1", True, True),
        ("a/b", False, False),
        ("a:b", False, False),
        ("a,b", True, False),
        ("", False, False),
        (" a", False, False),
        ("a ", False, False),
        ("a\n", False, False),
        ("a\x00", False, False),
        ("a\ud800", False, False),
        ("x" * 128, True, True),
        ("x" * 129, False, False),
    ],
)
def test_aliases_and_tags_follow_their_grammar(name: str, is_alias: bool, is_tag: bool) -> None:
    for validate, fits in ((validate_alias, is_alias), (validate_tag, is_tag)):
        if fits:
            validate(name)
        else:
            with pytest.raises(ValidationError):
                validate(name)


@pytest.mark.django_db
@pytest.mark.parametrize("alias", ["nul\x00", "lone\ud800", "x" * 129, "v3"])
def test_an_impossible_alias_is_refused_on_every_way(penguins: Cast, alias: str) -> None:
    fish = cast.collection(penguins.project)
    (version,) = versions(fish, 1)
    with pytest.raises(ValidationError) as refusal:
        set_alias(fish, alias, version, actor=None)
    assert set(refusal.value.message_dict) == {"alias"}
    with pytest.raises(ValidationError) as refusal:
        remove_alias(fish, alias, actor=None)
    assert set(refusal.value.message_dict) == {"alias"}
    assert aliases(fish) == {"latest": 0}


@pytest.mark.django_db(transaction=True)
def test_an_alias_that_many_move_at_once_leaves_an_unbroken_chain(penguins: Cast) -> None:
    fish = cast.collection(penguins.project)
    made = versions(fish, 6)
    at_once(6, lambda who: set_alias(fish, "production", made[who], actor=None))
    moves = list(fish.changes.filter(label="production").order_by("sequence"))
    assert len(moves) == 6
    assert moves[0].previous is None
    assert all(move.previous == before.version for before, move in pairwise(moves))
    assert aliases(fish)["production"] == number(fish, moves[-1].version)  # type: ignore[arg-type]
    assert sequences(fish) == list(range(1, len(sequences(fish)) + 1))
