"""Registries, collections and versions in the admin: every write is a service's, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from automations.models import Event
from registry.models import (
    Alias,
    ArtifactChange,
    ArtifactVersion,
    ChangeKind,
    Collection,
    CollectionTag,
    Membership,
    Registry,
    RegistryMember,
    VersionTag,
)
from registry.services.collections import set_alias, set_registry_member, tag_collection
from registry.services.versions import create_version, link_version, tag_version
from runs.models import Role
from tests.adminpages import Pages, errors, notes, text
from tests.cast import Cast, collection, person, registry


@pytest.fixture
def ada(penguins: Cast) -> Pages:
    """Ada, admin of the penguins and one of the staff."""
    penguins.ada.is_staff = True
    penguins.ada.save()
    return Pages(penguins.ada)


@pytest.fixture
def fish(penguins: Cast) -> Collection:
    """A collection with v0 and v1, `latest` on v1."""
    made = collection(penguins.project, "fish")
    for digest in ("a", "b"):
        create_version(made, actor=None, digest=digest)
    return made


def version(of: Collection, index: int) -> ArtifactVersion:
    return Membership.objects.get(collection=of, index=index).version


def recorded(act: Callable[[], Any]) -> list[tuple[str, str, str]]:
    """What an act leaves: (kind, label, actor) of every change row, and as many events."""
    changes, events = ArtifactChange.objects.count(), Event.objects.count()
    act()
    rows = list(ArtifactChange.objects.order_by("pk").select_related("actor")[changes:])
    assert Event.objects.count() == events + len(rows)
    return [(row.kind, row.label, row.actor.username if row.actor else "") for row in rows]


# --- Aliases --------------------------------------------------------------------------------------


def test_an_alias_added_in_its_form_is_one_change(ada: Pages, fish: Collection) -> None:
    fields = {"collection": fish.pk, "name": "production", "number": 0}
    assert recorded(lambda: ada.save(ada.add_url(Alias), **fields)) == [("alias_added", "production", "ada")]
    assert Alias.objects.get(name="production").version == version(fish, 0)


def test_an_alias_moved_in_its_form_is_one_change_that_carries_both_ends(
    ada: Pages, fish: Collection
) -> None:
    latest = Alias.objects.get(name="latest")
    assert ada.form(ada.change_url(latest)).fields["number"] == "1"
    assert recorded(lambda: ada.save(ada.change_url(latest), number=0)) == [("alias_added", "latest", "ada")]
    change = ArtifactChange.objects.latest("pk")
    assert (change.previous, change.version) == (version(fish, 1), version(fish, 0))


def test_aliases_of_the_inline_are_one_change_each(ada: Pages, fish: Collection) -> None:
    url = ada.change_url(fish)
    added = recorded(lambda: ada.save_row(url, "aliases", name="production", number=0))
    assert added == [("alias_added", "production", "ada")]
    moved = recorded(lambda: ada.save(url, **{"aliases-1-number": 1}))
    assert moved == [("alias_added", "production", "ada")]
    assert Alias.objects.get(name="production").version == version(fish, 1)
    removed = recorded(lambda: ada.save(url, **{"aliases-1-DELETE": "on"}))
    assert removed == [("alias_removed", "production", "ada")]


@pytest.mark.parametrize("page", ["collection", "alias", "version"])
def test_a_form_saved_unchanged_changes_nothing(ada: Pages, fish: Collection, page: str) -> None:
    tag_version(version(fish, 0), "good", actor=None)
    tag_collection(fish, "good", actor=None)
    row = {"collection": fish, "alias": Alias.objects.get(), "version": version(fish, 0)}[page]
    assert recorded(lambda: ada.save(ada.change_url(row))) == []


def test_deleted_aliases_are_one_change_each(ada: Pages, fish: Collection) -> None:
    for name in ("blue", "green", "red"):
        set_alias(fish, name, version(fish, 0), actor=None)
    chosen = Alias.objects.filter(name__in=["blue", "green"])
    removed = recorded(lambda: ada.act(Alias, "delete_selected", list(chosen)))
    assert sorted(removed) == [("alias_removed", "blue", "ada"), ("alias_removed", "green", "ada")]
    assert recorded(lambda: ada.delete(Alias.objects.get(name="red"))) == [("alias_removed", "red", "ada")]


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"name": "v3", "number": 0}, "name"),
        ({"name": "a/b", "number": 0}, "name"),
        ({"name": "a\x00b", "number": 0}, "name"),
        ({"name": "good", "number": 7}, "number"),
        ({"name": "good", "number": -1}, "number"),
        ({"name": "good", "number": 10**30}, "number"),
        ({"name": "good", "number": "nan"}, "number"),
    ],
)
def test_an_impossible_alias_is_a_form_error(
    ada: Pages, fish: Collection, fields: dict[str, Any], wrong: str
) -> None:
    for refused in (
        ada.save(ada.add_url(Alias), collection=fish.pk, **fields),
        ada.save_row(ada.change_url(fish), "aliases", **fields),
    ):
        assert [name.removeprefix("aliases-1-") for name in errors(refused)] == [wrong]
    assert Alias.objects.count() == 1


def test_an_alias_that_exists_is_moved_not_added(ada: Pages, fish: Collection) -> None:
    def act() -> None:
        refused = ada.save(ada.add_url(Alias), collection=fish.pk, name="latest", number=0)
        assert "already exists" in str(errors(refused))

    assert recorded(act) == []


def test_only_the_registrys_admins_move_a_protected_alias(penguins: Cast, fish: Collection) -> None:
    models = registry(owner=penguins.ada)
    Registry.objects.update(protected_aliases=["production"])
    set_registry_member(models, penguins.max, role=Role.MEMBER)
    shelf = collection(models, "shelf")
    link_version(shelf, version(fish, 0), aliases=["production"], actor=None)
    penguins.max.is_staff = True
    penguins.max.save()
    pages = Pages(penguins.max)
    alias = Alias.objects.get(name="production")
    Alias.objects.filter(name="latest", collection=shelf).delete()
    assert pages.client.post(pages.change_url(alias), {"number": 0}).status_code == 403
    refused = pages.save(pages.change_url(shelf), **{"aliases-0-DELETE": "on"})
    assert "Admin" in errors(refused)["__all__"][0]
    assert Alias.objects.filter(name="production").exists()
    # It is the name that is protected, not the collection.
    assert pages.save_row(pages.change_url(shelf), "aliases", name="staging", number=0).status_code == 302


@pytest.fixture
def shelf(penguins: Cast, fish: Collection) -> Collection:
    """In a registry of Ada's that protects “production” and “latest”; Max is a member. v0 has both."""
    models = registry(owner=penguins.ada)
    Registry.objects.update(protected_aliases=["production", "latest"])
    set_registry_member(models, penguins.max, role=Role.MEMBER)
    made = collection(models, "shelf")
    link_version(made, version(fish, 0), aliases=["production"], actor=None)
    made.refresh_from_db()
    return made


def test_what_takes_a_protected_alias_along_is_for_the_registrys_admins(
    penguins: Cast, fish: Collection, shelf: Collection
) -> None:
    """To unlink its version, to delete its collection, and to link what `latest` would move to."""
    for person_, may in ((penguins.max, False), (penguins.ada, True)):
        person_.is_staff = True
        person_.save()
        pages = Pages(person_)
        newer = {"collection": shelf.pk, "version": version(fish, 1).pk}
        pages.save(pages.add_url(Membership), **newer)
        assert Membership.objects.filter(**newer).exists() is may
        home = Membership.objects.get(collection=shelf, index=0)
        pages.delete(home)
        assert Membership.objects.filter(pk=home.pk).exists() is not may
        pages.act(Collection, "delete_selected", [shelf])
        assert Collection.objects.filter(pk=shelf.pk, deleted_at=None).exists() is not may


def test_a_protected_alias_is_the_same_in_every_spelling(penguins: Cast, ada: Pages) -> None:
    models = registry(owner=penguins.ada)
    assert ada.save(ada.change_url(models), protected_aliases='["cafe\u0301", "café"]').status_code == 302
    models.refresh_from_db()
    assert models.protected_aliases == ["caf\u00e9"]


def test_who_may_only_look_at_a_version_publishes_it_nowhere(penguins: Cast, fish: Collection) -> None:
    shelf = collection(registry(owner=penguins.vera), "shelf")
    penguins.vera.is_staff = True
    penguins.vera.save()
    pages = Pages(penguins.vera)
    fields = {"collection": shelf.pk, "version": version(fish, 0).pk}
    assert "Member" in str(errors(pages.save(pages.add_url(Membership), **fields)))
    assert not Membership.objects.filter(collection=shelf).exists()


# --- Tags -----------------------------------------------------------------------------------------


def test_tags_in_forms_and_inlines_are_one_change_each(ada: Pages, fish: Collection) -> None:
    first = version(fish, 0)
    assert recorded(lambda: ada.save_row(ada.change_url(fish), "tags", name="本番")) == [
        ("collection_tag_added", "本番", "ada")
    ]
    assert recorded(lambda: ada.save_row(ada.change_url(first), "tags", name="good")) == [
        ("tag_added", "good", "ada")
    ]
    assert recorded(lambda: ada.save(ada.add_url(VersionTag), version=first.pk, name="fast")) == [
        ("tag_added", "fast", "ada")
    ]
    assert recorded(lambda: ada.save(ada.add_url(CollectionTag), collection=fish.pk, name="big")) == [
        ("collection_tag_added", "big", "ada")
    ]
    assert recorded(lambda: ada.save(ada.change_url(first), **{"tags-0-DELETE": "on"})) == [
        ("tag_removed", "fast", "ada")
    ]
    chosen = list(CollectionTag.objects.all())
    assert sorted(recorded(lambda: ada.act(CollectionTag, "delete_selected", chosen))) == [
        ("collection_tag_removed", "big", "ada"),
        ("collection_tag_removed", "本番", "ada"),
    ]


def test_a_decomposed_tag_is_the_composed_one(ada: Pages, fish: Collection) -> None:
    ada.save_row(ada.change_url(fish), "tags", name="cafe\u0301")
    assert CollectionTag.objects.get().name == "caf\u00e9"


@pytest.mark.parametrize("tag", ["a/b", "a\x00b", "a!", "", "x" * 129])
def test_an_impossible_tag_is_a_form_error(ada: Pages, fish: Collection, tag: str) -> None:
    refused = ada.save(ada.add_url(CollectionTag), collection=fish.pk, name=tag)
    assert list(errors(refused)) == ["name"]


# --- Collections ----------------------------------------------------------------------------------


def test_a_collection_made_in_the_form_is_one_change(penguins: Cast, ada: Pages) -> None:
    fields = {"project": penguins.project.pk, "name": "birds", "type": "dataset"}
    assert recorded(lambda: ada.save(ada.add_url(Collection), **fields)) == [
        ("collection_created", "", "ada")
    ]
    assert "exists already" in errors(ada.save(ada.add_url(Collection), **fields))["name"][0]
    assert "name" in errors(ada.save(ada.add_url(Collection), **{**fields, "name": "a/b"}))


def test_a_collection_is_in_a_project_or_in_a_registry(penguins: Cast, ada: Pages) -> None:
    models = registry(owner=penguins.ada)
    assert "project" in errors(ada.save(ada.add_url(Collection), name="x", type="model"))
    both = {"project": penguins.project.pk, "registry": models.pk}
    assert "project" in errors(ada.save(ada.add_url(Collection), **both, name="x", type="model"))
    assert ada.save(ada.add_url(Collection), registry=models.pk, name="x", type="model").status_code == 302


def test_deleting_hides_collections_and_restoring_minds_the_name(
    penguins: Cast, ada: Pages, fish: Collection
) -> None:
    ada.act(Collection, "delete_selected", [fish])
    assert ada.shown(Collection) == []
    assert ada.offered(Alias, "collection") == []
    collection(penguins.project, "fish")
    assert "exists already" in notes(ada.act(Collection, "restore", [fish], deleted="yes"))
    Collection.objects.filter(deleted_at=None).update(name="other")
    assert "1 collection restored" in notes(ada.act(Collection, "restore", [fish], deleted="yes"))


def test_a_collection_in_an_open_registry_is_seen_by_all_and_written_by_members(
    penguins: Cast, ada: Pages
) -> None:
    shelf = collection(registry(owner=penguins.otto), "shelf")
    assert ada.shown(Collection) == [shelf]
    assert ada.client.post(ada.change_url(shelf), {"name": "mine", "type": "x"}).status_code == 403
    refused = ada.save(ada.add_url(CollectionTag), collection=shelf.pk, name="mine")
    assert "does not allow" in errors(refused)["__all__"][0]


# --- Links ----------------------------------------------------------------------------------------


def test_a_membership_added_is_a_link_and_one_deleted_an_unlink(
    penguins: Cast, ada: Pages, fish: Collection
) -> None:
    shelf = collection(registry(owner=penguins.ada), "shelf")
    fields = {"collection": shelf.pk, "version": version(fish, 0).pk}
    linked = recorded(lambda: ada.save(ada.add_url(Membership), **fields))
    assert linked == [("version_linked", "", "ada"), ("alias_added", "latest", "ada")]
    assert "already exists" in str(errors(ada.save(ada.add_url(Membership), **fields)))
    unlinked = recorded(lambda: ada.delete(Membership.objects.get(collection=shelf)))
    assert unlinked == [("version_unlinked", "", "ada"), ("alias_removed", "latest", "ada")]


def test_what_cannot_be_linked_or_unlinked_says_why(penguins: Cast, ada: Pages, fish: Collection) -> None:
    other = collection(penguins.project, "other")
    refused = ada.save(ada.add_url(Membership), collection=other.pk, version=version(fish, 0).pk)
    assert "registry" in errors(refused)["collection"][0]
    home = Membership.objects.get(collection=fish, index=0)
    assert "cannot leave" in notes(ada.delete(home))
    assert "cannot leave" in notes(ada.act(Membership, "delete_selected", [home]))
    assert Membership.objects.filter(pk=home.pk).exists()


# --- Registries -----------------------------------------------------------------------------------


def test_who_makes_a_registry_is_its_first_admin(penguins: Cast, ada: Pages) -> None:
    fields = {"organization": penguins.organization.pk, "name": "zoo", "protected_aliases": '["production"]'}
    assert ada.save(ada.add_url(Registry), **fields).status_code == 302
    made = Registry.objects.get()
    assert made.protected_aliases == ["production"]
    assert RegistryMember.objects.get().user == penguins.ada
    assert "already exists" in str(errors(ada.save(ada.add_url(Registry), **fields)))
    person("zoe")
    assert ada.save_row(ada.change_url(made), "members", username="zoe", role="viewer").status_code == 302
    assert RegistryMember.objects.count() == 2


@pytest.mark.parametrize(
    "aliases",
    [
        "{}",
        "[1]",
        '["v1"]',
        '["a\\u0000"]',
        '["\\ud800"]',
        "[NaN]",
        "[1e999]",
        "[" * 9999,
        "1" * 5000,
        "nonsense",
    ],
)
def test_protected_aliases_that_are_none_are_a_form_error(penguins: Cast, ada: Pages, aliases: str) -> None:
    refused = ada.save(
        ada.add_url(Registry), organization=penguins.organization.pk, name="zoo", protected_aliases=aliases
    )
    assert list(errors(refused)) == ["protected_aliases"]
    assert not Registry.objects.exists()


def test_a_registry_that_is_open_is_changed_by_its_admins_alone(penguins: Cast, ada: Pages) -> None:
    models = registry(owner=penguins.otto)
    assert ada.client.get(ada.change_url(models)).status_code == 200
    assert ada.client.post(ada.change_url(models), {"name": "mine"}).status_code == 403
    collection(models, "shelf")
    penguins.otto.is_staff = True
    penguins.otto.save()
    otto = Pages(penguins.otto)
    assert "shelf" in text(otto.delete(models))
    assert Registry.objects.exists()


def test_the_history_is_read_only_for_superusers_too(penguins: Cast, fish: Collection) -> None:
    penguins.ada.is_staff = penguins.ada.is_superuser = True
    penguins.ada.save()
    pages = Pages(penguins.ada)
    change = ArtifactChange.objects.filter(kind=ChangeKind.VERSION_ADDED).latest("pk")
    assert pages.client.get(pages.change_url(change)).status_code == 200
    assert pages.client.post(pages.change_url(change), {"label": "x"}).status_code == 403
    assert pages.client.post(pages.delete_url(change), {"post": "yes"}).status_code == 403
    assert pages.client.get(pages.add_url(ArtifactChange)).status_code == 403
