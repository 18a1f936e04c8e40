"""Aliases, tags and links, changed by forms that need no script."""

from __future__ import annotations

import re

import pytest

from registry.models import (
    Alias,
    ArtifactChange,
    ArtifactVersion,
    CollectionTag,
    Membership,
    Registry,
    VersionTag,
)
from registry.services.collections import set_alias, set_registry_member, tag_collection
from registry.services.uses import use_version
from registry.services.versions import create_version, link_version
from runs.models import Role
from tests import cast
from tests.api.house import House, furnish
from tests.cast import Cast
from tests.pages.visitors import MARKUP, Visitor, assert_only_text

pytestmark = [pytest.mark.django_db, pytest.mark.once]


@pytest.fixture
def ours(penguins: Cast) -> House:
    """The penguins' things; their registry is Ada's, Max is a member of it and Vera may look."""
    found = furnish(penguins.team, penguins.ada, "penguin")
    Registry.objects.filter(pk=found.registry.pk).update(protected_aliases=["production"])
    set_registry_member(found.registry, penguins.max, role=Role.MEMBER)
    set_registry_member(found.registry, penguins.vera, role=Role.VIEWER)
    return found


@pytest.fixture
def second(penguins: Cast, ours: House) -> ArtifactVersion:
    return create_version(ours.collection, actor=penguins.ada, digest="second")[0]


def at(house: House, deed: str) -> str:
    return f"/artifacts/{house.collection.pk}/edit/{deed}/"


def at_version(house: House, deed: str, *, shelf: bool = False) -> str:
    return f"/artifacts/{(house.shelf if shelf else house.collection).pk}/v0/edit/{deed}/"


def sits(house: House, *, shelf: bool = False) -> dict[str, int]:
    rows = Alias.objects.filter(collection=house.shelf if shelf else house.collection)
    return dict(rows.values_list("name", "version"))


# --- Aliases --------------------------------------------------------------------------------------


def test_an_alias_is_set_moved_and_removed_from_the_collections_page(
    penguins: Cast, ours: House, second: ArtifactVersion
) -> None:
    max_ = Visitor(penguins.max)
    page = max_.sees(f"/artifacts/{ours.collection.pk}/")
    assert at(ours, "alias") in page
    assert max_.told(at(ours, "alias"), label="best", version="v0") == ["The alias “best” is on v0 now."]
    assert sits(ours)["best"] == ours.version.pk
    assert max_.told(at(ours, "alias"), label="best", version="v1") == ["The alias “best” is on v1 now."]
    assert sits(ours)["best"] == second.pk
    before = ArtifactChange.objects.count()
    assert max_.told(at(ours, "alias"), label="best", version="v1") == ["It is like this already."]
    assert ArtifactChange.objects.count() == before
    assert max_.told(at(ours, "unalias"), label="best") == ["The alias “best” is removed."]
    assert "best" not in sits(ours)


def test_an_alias_is_set_and_removed_from_the_versions_page(
    penguins: Cast, ours: House, second: ArtifactVersion
) -> None:
    max_ = Visitor(penguins.max)
    max_.told(at_version(ours, "alias"), label="  best  ")
    assert sits(ours)["best"] == ours.version.pk
    # Somebody moved it on while this page was open: it is not taken from there.
    set_alias(ours.collection, "best", second, actor=penguins.ada)
    assert max_.told(at_version(ours, "unalias"), label="best") == ["It is like this already."]
    assert sits(ours)["best"] == second.pk


@pytest.mark.parametrize("label", ["v3", "a/b", "", "x" * 200])
def test_what_is_no_alias_is_said_in_words(penguins: Cast, ours: House, label: str) -> None:
    before = sits(ours)
    (said,) = Visitor(penguins.max).told(at_version(ours, "alias"), label=label)
    assert said
    assert "is on" not in said
    assert sits(ours) == before


@pytest.mark.parametrize("version", ["v9", "", "nowhere", "v99999999999999999999"])
def test_an_alias_for_a_version_that_is_not_there(penguins: Cast, ours: House, version: str) -> None:
    before = sits(ours)
    told = Visitor(penguins.max).told(at(ours, "alias"), label="best", version=version)
    assert told == ["This version is not in the collection."]
    assert sits(ours) == before


def test_only_admins_of_the_registry_move_a_protected_alias(penguins: Cast, ours: House) -> None:
    link_version(ours.shelf, ours.version, aliases=["production", "staging"], actor=penguins.ada)
    for deed in ("alias", "unalias"):
        refused = Visitor(penguins.max).submits(at_version(ours, deed, shelf=True), label="production")
        assert refused.status_code == 403
    assert sits(ours, shelf=True)["production"] == ours.version.pk
    offered = re.findall(r'name="label" value="([^"]*)"', Visitor(penguins.max).sees(here(ours)))
    assert "staging" in offered
    assert "production" not in offered
    Visitor(penguins.max).told(at_version(ours, "unalias", shelf=True), label="staging")
    Visitor(penguins.ada).told(at_version(ours, "unalias", shelf=True), label="production")
    assert set(sits(ours, shelf=True)) == {"latest"}


def here(house: House) -> str:
    return f"/artifacts/{house.shelf.pk}/v0/"


# --- Tags -----------------------------------------------------------------------------------------


def test_a_tag_of_the_version_and_one_of_the_collection(penguins: Cast, ours: House) -> None:
    max_ = Visitor(penguins.max)
    assert max_.told(at_version(ours, "tag"), label="本番 1") == ["The tag “本番 1” is added."]
    assert max_.told(at(ours, "tag"), label="shared") == ["The tag “shared” is added."]
    assert VersionTag.objects.filter(version=ours.version, name="本番 1").exists()
    assert CollectionTag.objects.filter(collection=ours.collection, name="shared").exists()
    assert max_.told(at_version(ours, "untag"), label="本番 1") == ["The tag “本番 1” is removed."]
    assert max_.told(at(ours, "untag"), label="shared") == ["The tag “shared” is removed."]
    assert not VersionTag.objects.filter(name="本番 1").exists()
    assert not CollectionTag.objects.exists()


def test_what_is_no_tag_is_said_in_words_and_stays_text(penguins: Cast, ours: House) -> None:
    for place in (at(ours, "tag"), at_version(ours, "tag")):
        answer = Visitor(penguins.max).client.post(place, {"label": MARKUP}, follow=True)
        assert b"A tag holds letters" in answer.content
        assert_only_text(answer.content.decode())
    assert not CollectionTag.objects.exists()


def test_a_version_is_tagged_by_the_team_that_made_it(penguins: Cast, ours: House) -> None:
    """Otto writes in the registry that it is linked to, and so moves aliases there."""
    link_version(ours.shelf, ours.version, actor=penguins.ada)
    set_registry_member(ours.registry, penguins.otto, role=Role.MEMBER)
    otto = Visitor(penguins.otto)
    page = otto.sees(here(ours))
    assert at_version(ours, "alias", shelf=True) in page
    assert at_version(ours, "tag", shelf=True) not in page
    assert otto.submits(at_version(ours, "tag", shelf=True), label="good").status_code == 403
    otto.told(at_version(ours, "alias", shelf=True), label="tried")
    assert "tried" in sits(ours, shelf=True)
    assert not VersionTag.objects.filter(name="good").exists()


# --- Links ----------------------------------------------------------------------------------------


def test_a_version_is_linked_from_its_page_and_unlinked_there(penguins: Cast, ours: House) -> None:
    max_ = Visitor(penguins.max)
    assert f'<option value="{ours.shelf.pk}">' in max_.sees(f"/artifacts/{ours.collection.pk}/v0/")
    told = max_.told(at_version(ours, "link"), collection=ours.shelf.pk, label="staging")
    assert told == ["It is linked: penguin-registry/penguin-shelf:v0."]
    assert sits(ours, shelf=True) == {"latest": ours.version.pk, "staging": ours.version.pk}
    assert f'<option value="{ours.shelf.pk}">' not in max_.sees(f"/artifacts/{ours.collection.pk}/v0/")
    assert max_.told(at_version(ours, "unlink", shelf=True)) == ["v0 is unlinked."]
    assert not Membership.objects.filter(collection=ours.shelf).exists()


def test_a_version_leaves_no_collection_it_was_made_in(penguins: Cast, ours: House) -> None:
    (said,) = Visitor(penguins.ada).told(at_version(ours, "unlink"))
    assert "cannot leave" in said
    assert Membership.objects.filter(collection=ours.collection).exists()


def test_a_link_with_a_protected_alias_and_its_end_are_for_admins(penguins: Cast, ours: House) -> None:
    max_, wanted = Visitor(penguins.max), {"collection": ours.shelf.pk, "label": "production"}
    assert max_.submits(at_version(ours, "link"), **wanted).status_code == 403
    assert not Membership.objects.filter(collection=ours.shelf).exists()
    Visitor(penguins.ada).told(at_version(ours, "link"), **wanted)
    assert max_.submits(at_version(ours, "unlink", shelf=True)).status_code == 403
    assert sits(ours, shelf=True)["production"] == ours.version.pk


@pytest.mark.parametrize("wanted", ["", "x", "987654321", "99999999999999999999999"])
def test_a_link_to_nothing_is_said_in_words(penguins: Cast, ours: House, wanted: str) -> None:
    told = Visitor(penguins.max).told(at_version(ours, "link"), collection=wanted)
    assert told == ["Choose a collection of a registry."]


def test_who_only_reads_a_version_in_a_registry_does_not_publish_it(penguins: Cast, ours: House) -> None:
    link_version(ours.shelf, ours.version, actor=penguins.ada)
    set_registry_member(ours.registry, penguins.otto, role=Role.VIEWER)
    own = cast.collection(cast.registry("ottos", owner=penguins.otto), "own")
    otto = Visitor(penguins.otto)
    assert "/edit/" not in otto.sees(here(ours))
    assert otto.submits(at_version(ours, "link", shelf=True), collection=own.pk).status_code == 403
    assert not Membership.objects.filter(collection=own).exists()


# --- For whom -------------------------------------------------------------------------------------

DEEDS = ["tag", "untag", "alias", "unalias", "link", "unlink"]


@pytest.mark.parametrize("deed", DEEDS)
def test_viewers_change_nothing_and_strangers_find_nothing(penguins: Cast, ours: House, deed: str) -> None:
    tag_collection(ours.collection, "old", actor=penguins.ada)
    fields = {"label": "latest" if deed == "unalias" else "old", "version": "v0", "collection": ours.shelf.pk}
    before = ArtifactChange.objects.count()
    places = [at_version(ours, deed)] + [at(ours, deed)] * (deed not in {"link", "unlink"})
    for place in places:
        assert Visitor(penguins.vera).submits(place, **fields).status_code == 403, place
        assert Visitor(penguins.otto).submits(place, **fields).status_code == 404, place
        assert Visitor().submits(place, **fields).status_code == 302, place  # to the sign-in page
        assert Visitor(penguins.max).status(place) == 405, place  # looking changes nothing
        guarded = Visitor(penguins.max, enforce_csrf_checks=True)
        assert guarded.submits(place, **fields).status_code == 403, place
    assert ArtifactChange.objects.count() == before
    assert "/edit/" not in Visitor(penguins.vera).sees(f"/artifacts/{ours.collection.pk}/")
    assert "/edit/" not in Visitor(penguins.vera).sees(f"/artifacts/{ours.collection.pk}/v0/")


def test_an_unknown_deed_is_no_page(penguins: Cast, ours: House) -> None:
    assert Visitor(penguins.max).submits(at(ours, "burn")).status_code == 404
    assert Visitor(penguins.max).submits(at_version(ours, "burn")).status_code == 404


# --- Made and used --------------------------------------------------------------------------------


def test_runs_and_versions_name_each_other(penguins: Cast, ours: House) -> None:
    reader = cast.new_run(ours.project, user=penguins.max, name="reads-it")
    use_version(reader, ours.version)
    page = Visitor(penguins.vera).sees(f"/artifacts/{ours.collection.pk}/v0/")
    assert 'href="/penguins/penguin-project/runs/' in page
    assert "reads-it" in page
    of_reader = Visitor(penguins.vera).sees(reader.page)
    assert "Versions that it used" in of_reader
    assert "Versions that it made" not in of_reader
    assert "penguin-models:v0" in of_reader
    of_maker = Visitor(penguins.vera).sees(ours.run.page)
    assert "Versions that it made" in of_maker
    assert "Versions that it used" not in of_maker


def test_who_sees_the_version_by_a_link_sees_their_own_readers_only(penguins: Cast, ours: House) -> None:
    link_version(ours.shelf, ours.version, actor=penguins.ada)
    set_registry_member(ours.registry, penguins.otto, role=Role.VIEWER)
    theirs = furnish(penguins.otters, penguins.otto, "otter")
    use_version(cast.new_run(ours.project, name="penguin-reader"), ours.version)
    use_version(theirs.run, ours.version)
    page = Visitor(penguins.otto).sees(here(ours))
    assert "otter-run" in page
    assert "penguin-reader" not in page
    assert "penguin-shelf:v0" in Visitor(penguins.otto).sees(theirs.run.page)


def test_pages_with_many_readers_and_links_ask_as_often_as_with_one(penguins: Cast, ours: House) -> None:
    max_ = Visitor(penguins.max)
    places = [f"/artifacts/{ours.collection.pk}/v0/", f"/artifacts/{ours.collection.pk}/", ours.run.page]

    def grow(number: int) -> None:
        use_version(cast.new_run(ours.project, name=f"reader {number}"), ours.version)
        made = create_version(ours.collection, actor=penguins.ada, digest=f"made {number}")[0]
        use_version(ours.run, made)
        set_alias(ours.collection, f"alias {number}", ours.version, actor=penguins.ada)
        cast.collection(ours.registry, f"shelf {number}")

    grow(0)
    few = [max_.queries(place) for place in places]
    for number in range(1, 6):
        grow(number)
    assert [max_.queries(place) for place in places] == few
