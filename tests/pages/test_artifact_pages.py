"""Registries, collections and versions: who sees what, at which address, and that it stays text."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from registry.models import Registry, VersionState
from registry.services.collections import (
    create_collection,
    create_registry,
    delete_collection,
    set_registry_member,
    tag_collection,
)
from registry.services.files import put_file
from registry.services.versions import commit_version, create_version, link_version
from runs.models import Organization, Role
from runs.services import people
from runs.services.projects import create_project
from tests import cast
from tests.api.house import House, furnish
from tests.cast import Cast
from tests.pages.visitors import MARKUP, Visitor, assert_only_text

pytestmark = pytest.mark.django_db

PLACES = [
    "/registries/penguin-registry/",
    "/registries/penguin-registry/penguin-shelf/",
    "/registries/penguin-registry/penguin-shelf/v0/",
    "/penguins/penguin-project/collections/",
    "/penguins/penguin-project/collections/penguin-models/",
    "/penguins/penguin-project/collections/penguin-models/v0/",
    "/artifacts/{collection}/",
    "/artifacts/{collection}/v0/",
    "/artifacts/{shelf}/",
]


@pytest.fixture
def ours(penguins: Cast) -> House:
    """One of everything of the penguins; the version is in their restricted registry too."""
    found = furnish(penguins.team, penguins.ada, "penguin")
    link_version(found.shelf, found.version, aliases=["production"], actor=penguins.ada)
    return found


def _place(place: str, ours: House) -> str:
    return place.format(collection=ours.collection.pk, shelf=ours.shelf.pk)


@pytest.mark.parametrize("place", PLACES)
def test_pages_are_for_those_who_see_the_thing(penguins: Cast, ours: House, place: str) -> None:
    place = _place(place, ours)
    assert Visitor().status(place) == 302  # to the sign-in page
    assert "penguin" in Visitor(penguins.ada).sees(place)
    assert Visitor(penguins.otto).status(place) == 404


def test_the_list_of_registries_leaves_out_what_one_may_not_see(penguins: Cast, ours: House) -> None:
    cast.registry("open to all", owner=penguins.ada)
    assert "penguin-registry" in Visitor(penguins.ada).sees("/registries/")
    page = Visitor(penguins.otto).sees("/registries/")
    assert "penguin-registry" not in page
    assert "open to all" in page


def test_an_empty_installation_says_how_to_make_the_first_registry(penguins: Cast) -> None:
    page = Visitor(penguins.vera).sees("/registries/")
    assert "No registry yet" in page
    assert "/api/v1/registries/" in page


def test_a_version_is_reached_by_number_by_alias_and_by_the_link_in_messages(
    penguins: Cast, ours: House
) -> None:
    ada = Visitor(penguins.ada)
    canonical = "/penguins/penguin-project/collections/penguin-models/v0/"
    for place in [
        "/penguins/penguin-project/collections/penguin-models/penguin-alias/",
        f"/artifacts/{ours.collection.pk}/v0/",
        f"/artifacts/{ours.collection.pk}/latest/",
    ]:
        answer = ada.client.get(place)
        assert answer.headers["Location"] == canonical
    for nothing in ["v1", "v00x", "v99999999999999999999", "no-such-alias"]:
        assert ada.status(f"/penguins/penguin-project/collections/penguin-models/{nothing}/") == 404


def test_a_version_shows_its_run_files_metadata_and_other_places(penguins: Cast, ours: House) -> None:
    page = Visitor(penguins.ada).sees("/penguins/penguin-project/collections/penguin-models/v0/")
    for shown in [ours.run.page, "penguin-digest", "penguin-tag", "penguin-alias", "&quot;penguin&quot;: 1"]:
        assert shown in page
    assert "penguin-registry/penguin-shelf:v0" in page
    linked = Visitor(penguins.ada).sees("/registries/penguin-registry/penguin-shelf/v0/")
    assert "production" in linked
    assert "penguin-alias" not in linked  # an alias belongs to its collection


def test_who_sees_a_version_by_a_link_only_learns_nothing_of_where_it_was_made(
    penguins: Cast, ours: House
) -> None:
    """Vera's registry takes a version of the otters: neither their run nor their project shows."""
    theirs = furnish(penguins.otters, penguins.otto, "otter")
    models = cast.registry("models", owner=penguins.ada)
    shelf = cast.collection(models, "shelf")
    link_version(shelf, theirs.version, actor=penguins.otto)
    place = "/registries/models/shelf/v0/"
    seen_by_otto = Visitor(penguins.otto).sees(place)
    assert theirs.run.page in seen_by_otto
    assert "otter-project" in seen_by_otto
    for page in ("/registries/models/shelf/", place):
        seen_by_vera = Visitor(penguins.vera).sees(page)
        assert "otter-run" not in seen_by_vera
        assert "otter-project" not in seen_by_vera
        assert "otter-models" not in seen_by_vera


def test_two_registries_of_one_name_are_both_reached(penguins: Cast) -> None:
    """Names are unique in an organization; somebody may be in several."""
    other = Organization.objects.create(name="abroad")
    people.set_member(people.create_team("terns", organization=other), penguins.ada, role=Role.MEMBER)
    cast.registry("models", owner=penguins.ada)
    abroad = create_registry("models", owner=penguins.ada, organization=other, description="of the terns")
    shelf = cast.collection(abroad, "shelf")
    ada = Visitor(penguins.ada)
    assert "of the terns" not in ada.sees("/registries/models/")
    slug = f"/registries/models:{other.pk}/"
    assert slug in ada.sees("/registries/")
    assert "of the terns" in ada.sees(slug)
    assert f"{slug}shelf/" in ada.sees(slug)
    assert ada.client.get(f"/artifacts/{shelf.pk}/").headers["Location"] == f"{slug}shelf/"
    assert Visitor(penguins.otto).status(slug) == 404
    assert ada.status("/registries/models:999999/") == 404
    assert ada.status("/registries/models:x/") == 200  # not a number: the name alone counts


def test_a_collection_called_automations_has_its_page_by_its_number(penguins: Cast) -> None:
    models = cast.registry("models", owner=penguins.ada)
    shelf = cast.collection(models, "automations")
    ada = Visitor(penguins.ada)
    assert f"/artifacts/{shelf.pk}/" in ada.sees("/registries/models/")
    assert "No version is linked yet" in ada.sees(f"/artifacts/{shelf.pk}/")
    assert "No automation yet" in ada.sees("/registries/models/automations/")


def test_a_deleted_collection_is_not_there(penguins: Cast, ours: House) -> None:
    delete_collection(ours.shelf)
    ada = Visitor(penguins.ada)
    assert ada.status("/registries/penguin-registry/penguin-shelf/") == 404
    assert "penguin-shelf" not in ada.sees("/registries/penguin-registry/")


def test_files_are_downloads_that_no_browser_runs(penguins: Cast, ours: House, files: Path) -> None:
    """Whatever a file is called: an attachment, of no type that is sniffed, in a sandbox."""
    draft, _new = create_version(ours.collection, actor=penguins.ada, state=VersionState.PENDING)
    path = "a folder/ünï?#%25<script>.html"
    put_file(draft, path, BytesIO(b"<script>alert(1)</script>"))
    version = commit_version(draft, actor=penguins.ada)
    ada = Visitor(penguins.ada)
    page = ada.sees(f"/artifacts/{ours.collection.pk}/v1/")
    assert "<script>.html" not in page
    link = f"/api/v1/versions/{version.pk}/files/a%20folder/%C3%BCn%C3%AF%3F%23%2525%3Cscript%3E.html"
    assert link in page
    answer: Any = ada.client.get(link)
    assert b"".join(answer.streaming_content) == b"<script>alert(1)</script>"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert Visitor(penguins.otto).status(link) == 404
    assert Visitor().status(link) == 401


def test_a_version_with_many_files_shows_them_in_pages(
    penguins: Cast, ours: House, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.views.versions.FILES", 2)
    draft, _new = create_version(ours.collection, actor=penguins.ada, state=VersionState.PENDING)
    for name in ("b.bin", "a & c.bin", "c.bin"):
        put_file(draft, name, BytesIO(name.encode()))
    commit_version(draft, actor=penguins.ada)
    ada, place = Visitor(penguins.ada), "/penguins/penguin-project/collections/penguin-models/v1/"
    first = ada.sees(place)
    assert "a &amp; c.bin" in first
    assert ">c.bin<" not in first
    assert "?files=b.bin" in first
    second = ada.sees(f"{place}?files=b.bin")
    assert ">c.bin<" in second
    assert ">b.bin<" not in second


def test_versions_of_a_collection_come_in_pages(
    penguins: Cast, ours: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runs.keyset.page.__kwdefaults__", {"by": "pk", "size": 2})
    for _n in range(4):
        create_version(ours.collection, actor=penguins.ada)
    ada, place = Visitor(penguins.ada), "/penguins/penguin-project/collections/penguin-models/"
    seen = []
    query = ""
    for _page in range(3):
        page = ada.sees(place + query)
        seen.append([n for n in range(5) if f"<strong>v{n}</strong>" in page])
        query = f"?before={seen[-1][0]}"
    assert seen == [[3, 4], [1, 2], [0]]
    assert "?before=3" in ada.sees(place)
    back = ada.sees(f"{place}?after=0")
    assert "<strong>v1</strong>" in back
    assert "<strong>v2</strong>" in back
    for nonsense in ("?before=x", "?before=-1", f"?before={10**30}", "?after=", "?before=0"):
        ada.sees(place + nonsense)


def test_a_part_of_the_name_finds_a_collection(penguins: Cast, ours: House) -> None:
    for name in ("adelie", "rockhopper"):
        cast.collection(ours.project, name)
    page = Visitor(penguins.vera).sees("/penguins/penguin-project/collections/?q=Hopper")
    assert "rockhopper" in page
    assert "adelie" not in page
    assert "No collection is called like this" in Visitor(penguins.vera).sees(
        "/penguins/penguin-project/collections/?q=%3Cscript%3E"
    )


def test_names_tags_and_metadata_stay_text(penguins: Cast, files: Path) -> None:
    """Names cannot hold a slash, so the tags here have none; metadata and descriptions can."""
    opening = "<script>document.title='owned'"
    project = create_project(penguins.team, "p")
    made = create_collection(project, opening, actor=None, description=MARKUP, type=MARKUP[:128])
    shelf = cast.collection(create_registry(opening, owner=penguins.ada, description=MARKUP), opening)
    draft, _new = create_version(
        made,
        actor=penguins.ada,
        aliases=[opening],
        metadata={MARKUP: MARKUP},
        description=MARKUP,
        state=VersionState.PENDING,
    )
    put_file(draft, MARKUP.replace("/", "|"), BytesIO(b"x"))
    version = commit_version(draft, actor=penguins.ada)
    link_version(shelf, version, aliases=[opening], actor=penguins.ada)
    cast.rule(shelf, "alias_added", {"alias": MARKUP}, name=MARKUP)
    ada = Visitor(penguins.ada)
    for place in [
        "/registries/",
        f"/artifacts/{made.pk}/",
        f"/artifacts/{made.pk}/v0/",
        f"/artifacts/{shelf.pk}/",
        f"/artifacts/{shelf.pk}/v0/",
        "/penguins/p/collections/",
        "/search/?q=owned",
        "/",
    ]:
        page = ada.sees(place)
        assert_only_text(page)
        assert "owned" in page  # it was there to be shown


def _registry(penguins: Cast, ours: House, number: int) -> None:
    cast.collection(cast.registry(f"registry {number}", owner=penguins.ada), "c")


def _shelf(penguins: Cast, ours: House, number: int) -> None:
    shelf = cast.collection(ours.registry, f"shelf {number}")
    tag_collection(shelf, f"tag {number}", actor=None)
    link_version(shelf, ours.version, aliases=["a", "b"], actor=None)
    cast.rule(shelf, "alias_added", {"alias": "."}, name=f"r {number}")


def _version(penguins: Cast, ours: House, number: int) -> None:
    run = cast.new_run(ours.project)
    version, _new = create_version(
        ours.collection, actor=penguins.ada, run=run, aliases=[f"a{number}"], tags=["x", f"t{number}"]
    )
    link_version(ours.shelf, version, aliases=[f"b{number}"], actor=penguins.ada)


@pytest.mark.parametrize(
    ("place", "grow"),
    [
        ("/registries/", _registry),
        ("/", _registry),
        ("/registries/penguin-registry/", _shelf),
        ("/penguins/penguin-project/collections/penguin-models/v0/", _shelf),
        ("/registries/penguin-registry/penguin-shelf/", _version),
        ("/penguins/penguin-project/collections/penguin-models/", _version),
        ("/penguins/penguin-project/collections/", lambda c, o, n: cast.collection(o.project, f"c{n}")),
    ],
)
def test_ten_rows_take_as_many_questions_as_one(
    penguins: Cast, ours: House, place: str, grow: Callable[[Cast, House, int], object]
) -> None:
    ada = Visitor(penguins.ada)
    grow(penguins, ours, 0)
    cast.decide()
    one, before = ada.queries(place), len(ada.sees(place))
    for number in range(1, 10):
        grow(penguins, ours, number)
    cast.decide()
    assert len(ada.sees(place)) > before  # they are really shown
    assert ada.queries(place) <= one  # the newest runs are looked for once more while there are few


def test_restricted_registries_open_to_their_members(penguins: Cast, ours: House) -> None:
    assert Registry.objects.get(pk=ours.registry.pk).visibility == "restricted"
    vera = Visitor(penguins.vera)
    assert vera.status("/registries/penguin-registry/") == 404
    set_registry_member(ours.registry, penguins.vera, role=Role.VIEWER)
    assert vera.status("/registries/penguin-registry/") == 200
