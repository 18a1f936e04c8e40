from __future__ import annotations

from typing import Any

import pytest

from registry.models import ArtifactChange, Registry
from runs.models import Organization
from runs.services import people
from tests import cast
from tests.api.house import Api, rows
from tests.cast import Cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def made(penguins: Cast, max_: Api) -> dict[str, Any]:
    """A project's collection with the versions v0 and v1."""
    collection = max_.made("collections/", {"project": penguins.project.pk, "name": "fish"})
    versions = [max_.made("versions/", {"collection": collection["id"]})["id"] for _number in range(2)]
    return {"id": collection["id"], "versions": versions, "path": f"collections/{collection['id']}/"}


@pytest.fixture
def shelf(penguins: Cast, ada: Api) -> dict[str, Any]:
    """A collection of a registry whose admin is Ada."""
    registry = ada.made("registries/", {"name": "models"})
    return ada.made("collections/", {"registry": registry["id"], "name": "fish"})  # type: ignore[no-any-return]


def test_a_registry_is_made_by_its_first_admin(penguins: Cast, max_: Api) -> None:
    body = {"name": "models", "description": "what we serve", "protected_aliases": ["production"]}
    registry = max_.made("registries/", body)
    assert body.items() <= registry.items()
    assert registry["organization"] == Organization.default().pk
    assert registry["visibility"] == "organization"
    assert [(row["user"], row["role"]) for row in registry["members"]] == [("max", "admin")]
    path = f"registries/{registry['id']}/"
    changed = max_.patch(path, {"visibility": "restricted", "protected_aliases": []}).json
    assert changed == registry | {"visibility": "restricted", "protected_aliases": []}
    assert [row["id"] for row in max_.listed("registries/?visibility=restricted&name=models")] == [
        registry["id"]
    ]
    member = max_.made(f"{path}members/", {"user": "vera", "role": "viewer"})
    assert max_.patch(f"{path}members/{member['id']}/", {"role": "member"}).json["role"] == "member"
    assert [row["user"] for row in max_.get(path).json["members"]] == ["max", "vera"]
    assert max_.delete(f"{path}members/{member['id']}/").status == 204


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, "name"),
        ({"name": "models"}, 409, "name"),
        ({"name": "a:b"}, 400, "name"),
        ({"name": "x" * 129}, 400, "name"),
        ({"name": "x", "visibility": "public"}, 400, "visibility"),
        ({"name": "x", "protected_aliases": "best"}, 400, "protected_aliases"),
        ({"name": "x", "protected_aliases": [1]}, 400, "protected_aliases"),
        ({"name": "x", "protected_aliases": ["v1"]}, 400, "protected_aliases"),
        ({"name": "x", "protected_aliases": ["a/b"]}, 400, "protected_aliases"),
        ({"name": "x", "protected_aliases": ["x" * 129]}, 400, "protected_aliases"),
        ({"name": "x", "organization": 987654}, 404, "organization"),
        ({"name": "x", "organization": "default"}, 400, "organization"),
        ({"name": "x", "members": []}, 400, "members"),
    ],
)
def test_a_registry_that_cannot_be_is_refused_by_field(
    penguins: Cast, ada: Api, body: dict[str, object], status: int, field: str
) -> None:
    ada.made("registries/", {"name": "models"})
    refused = ada.post("registries/", body)
    assert (refused.status, list(refused.json)) == (status, [field])


def test_a_registry_stays_in_its_organization(penguins: Cast, ada: Api) -> None:
    registry = ada.made("registries/", {"name": "models"})
    other = Organization.objects.create(name="south")
    people.create_team("gulls", organization=other, owner=penguins.ada)
    refused = ada.patch(f"registries/{registry['id']}/", {"organization": other.pk})
    assert (refused.status, list(refused.json)) == (400, ["organization"])


def test_a_collection_is_of_a_project_or_of_a_registry(penguins: Cast, ada: Api) -> None:
    registry = ada.made("registries/", {"name": "models"})["id"]
    project = penguins.project.pk
    body = {"name": "fish", "type": "dataset", "description": "all fish"}
    first = ada.made("collections/", body | {"project": project})
    assert body.items() <= first.items()
    assert (first["project"], first["registry"], first["tags"], first["aliases"]) == (project, None, [], [])
    second = ada.made("collections/", {"name": "fish", "registry": registry})
    assert (second["project"], second["registry"], second["type"]) == (None, registry, "model")

    def found(query: str) -> list[int]:
        return [row["id"] for row in ada.listed(f"collections/?{query}")]

    assert found(f"project={project}") == [first["id"]]
    assert found(f"registry={registry}") == [second["id"]]
    assert found("type=dataset") == [first["id"]]
    assert found("name=fish") == [second["id"], first["id"]]
    assert ada.post("collections/", body | {"project": project}).status == 409
    path = f"collections/{first['id']}/"
    assert ada.patch(path, {}).json == first
    assert ada.patch(path, {"name": "sharks"}).json == first | {"name": "sharks"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x"}, "project"),
        ({"name": "x", "project": None}, "project"),
        ({"name": "x", "project": "PROJECT", "registry": "REGISTRY"}, "project"),
        ({"project": "PROJECT"}, "name"),
        ({"name": "a/b", "project": "PROJECT"}, "name"),
        ({"name": 1, "project": "PROJECT"}, "name"),
        ({"name": "x", "project": "waddle"}, "project"),
        ({"name": "x", "project": [1]}, "project"),
        ({"name": "x", "project": "PROJECT", "type": None}, "type"),
        ({"name": "x", "project": "PROJECT", "type": "x" * 129}, "type"),
        ({"name": "x", "project": "PROJECT", "tags": ["a"]}, "tags"),
        ({"name": "x", "project": "PROJECT", "aliases": []}, "aliases"),
    ],
)
def test_a_collection_that_cannot_be_is_refused_by_field(
    penguins: Cast, ada: Api, body: dict[str, object], field: str
) -> None:
    registry = ada.made("registries/", {"name": "models"})["id"]
    ids = {"PROJECT": penguins.project.pk, "REGISTRY": registry}
    before = rows()
    filled = {
        name: ids.get(value, value) if isinstance(value, str) else value for name, value in body.items()
    }
    refused = ada.post("collections/", filled)
    assert (refused.status, list(refused.json)) == (400, [field])
    assert rows() == before


def test_a_collection_does_not_move(penguins: Cast, ada: Api, made: dict[str, Any]) -> None:
    for field in ("project", "registry"):
        refused = ada.patch(made["path"], {field: None})
        assert (refused.status, list(refused.json)) == (400, [field])


def test_a_deleted_collection_frees_its_name_and_comes_back(
    penguins: Cast, max_: Api, made: dict[str, Any]
) -> None:
    path = made["path"]
    assert max_.delete(path).status == 204
    assert max_.get(path).status == max_.put(f"{path}tags/x/").status == 404
    assert max_.get(f"versions/{made['versions'][0]}/").status == 404
    successor = max_.made("collections/", {"project": penguins.project.pk, "name": "fish"})
    assert max_.post(f"{path}restore/").status == 409
    max_.patch(f"collections/{successor['id']}/", {"name": "other"})
    assert max_.post(f"{path}restore/").json["id"] == made["id"]
    assert max_.get(f"versions/{made['versions'][0]}/").status == 200


def test_tags_of_a_collection_are_put_and_taken(max_: Api, vera: Api, made: dict[str, Any]) -> None:
    path = made["path"]
    assert max_.put(f"{path}tags/needs review/").json["tags"] == ["needs review"]
    assert max_.put(f"{path}tags/%E6%9C%AC%E7%95%AA/").json["tags"] == ["needs review", "本番"]
    changes = ArtifactChange.objects.count()
    assert max_.put(f"{path}tags/needs review/").status == 200
    assert ArtifactChange.objects.count() == changes
    assert [row["id"] for row in vera.listed("collections/?tag=needs review")] == [made["id"]]
    assert vera.listed("collections/?tag=review") == []
    assert max_.delete(f"{path}tags/needs review/").status == 204
    assert max_.delete(f"{path}tags/needs review/").status == 404


@pytest.mark.parametrize("label", ["a:b", "x" * 200, "%00", "%ED%A0%80", "a%0Ab", "-%20", "%FF", "%"])
def test_a_label_that_cannot_be_is_refused(max_: Api, made: dict[str, Any], label: str) -> None:
    before = rows()
    for path in (f"{made['path']}tags/{label}/", f"versions/{made['versions'][0]}/tags/{label}/"):
        assert max_.put(path).status == 400
        assert max_.delete(path).status == 400
    if label not in {"%ED%A0%80", "-%20", "%FF", "%"}:
        alias = max_.put(f"{made['path']}aliases/{label}/", {"version": made["versions"][0]})
        assert alias.status == 400, alias
    assert rows() == before


def test_an_alias_sits_on_one_version_and_moves(max_: Api, vera: Api, made: dict[str, Any]) -> None:
    first, second = made["versions"]
    alias = f"{made['path']}aliases/best/"
    assert vera.get(f"{made['path']}aliases/latest/").json == {"alias": "latest", "version": second}
    assert max_.get(alias).status == max_.delete(alias).status == 404
    assert max_.put(alias, {"version": first}).json == {"alias": "best", "version": first}
    assert max_.put(alias, {"version": second}).json == {"alias": "best", "version": second}
    assert vera.get(alias).json == {"alias": "best", "version": second}
    assert vera.get(made["path"]).json["aliases"] == [
        {"alias": "best", "version": second},
        {"alias": "latest", "version": second},
    ]
    assert set(vera.get(f"versions/{second}/").json["aliases"]) == {"best", "latest"}
    assert vera.get(f"versions/{first}/").json["aliases"] == []
    assert max_.delete(alias).status == 204
    assert vera.get(alias).status == 404


@pytest.mark.parametrize(
    ("alias", "body", "status", "field"),
    [
        ("best", {}, 400, "version"),
        ("best", None, 400, "version"),
        ("best", {"version": None}, 400, "version"),
        ("best", {"version": "v0"}, 400, "version"),
        ("best", {"version": True}, 400, "version"),
        ("best", {"version": 987654}, 404, "version"),
        ("best", {"version": 2**70}, 404, "version"),
        ("best", {"version": "FIRST", "nonsense": 1}, 400, "nonsense"),
        ("v7", {"version": "FIRST"}, 400, "alias"),
        ("x" * 129, {"version": "FIRST"}, 400, "alias"),
    ],
)
def test_an_alias_that_cannot_be_is_refused_by_field(
    max_: Api, made: dict[str, Any], alias: str, body: dict[str, object] | None, status: int, field: str
) -> None:
    if body and body.get("version") == "FIRST":
        body["version"] = made["versions"][0]
    refused = max_.put(f"{made['path']}aliases/{alias}/", body)
    assert (refused.status, list(refused.json)) == (status, [field])


def test_an_alias_goes_on_no_version_of_another_collection(
    penguins: Cast, max_: Api, made: dict[str, Any]
) -> None:
    other = cast.collection(penguins.project, "other")
    version = max_.made("versions/", {"collection": other.pk})["id"]
    refused = max_.put(f"{made['path']}aliases/best/", {"version": version})
    assert (refused.status, list(refused.json)) == (400, ["version"])


def test_a_version_is_linked_to_a_registry_and_unlinked(
    ada: Api, made: dict[str, Any], shelf: dict[str, Any]
) -> None:
    first, second = made["versions"]
    links = f"collections/{shelf['id']}/links/"
    link = ada.made(links, {"version": second, "aliases": ["staging"]})
    assert (link["version"], link["number"]) == (second, "v0")
    again = ada.post(links, {"version": second, "aliases": []})
    assert (again.status, again.json) == (200, link)
    assert ada.made(links, {"version": first})["number"] == "v1"
    aliases = ada.get(f"collections/{shelf['id']}/").json["aliases"]
    assert aliases == [{"alias": "latest", "version": first}, {"alias": "staging", "version": second}]
    held = [row["id"] for row in ada.listed(f"versions/?collection={shelf['id']}")]
    assert sorted(held) == sorted([first, second])
    # It keeps the number and the aliases that it has at home.
    assert ada.get(f"versions/{second}/").json["version"] == "v1"
    assert ada.get(f"versions/{second}/").json["aliases"] == ["latest"]
    assert ada.delete(f"{links}{second}/").status == 204
    assert ada.delete(f"{links}{second}/").status == 404
    assert ada.get(f"collections/{shelf['id']}/aliases/staging/").status == 404


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, "version"),
        ({"version": 987654}, 404, "version"),
        ({"version": "FIRST", "aliases": "best"}, 400, "aliases"),
        ({"version": "FIRST", "aliases": [1]}, 400, "aliases"),
        ({"version": "FIRST", "aliases": ["v1"]}, 400, "aliases"),
        ({"version": "FIRST", "aliases": ["ok", "a/b"]}, 400, "aliases"),
        ({"version": "FIRST", "aliases": [f"a{number}" for number in range(101)]}, 400, "aliases"),
        ({"version": "FIRST", "tags": []}, 400, "tags"),
    ],
)
def test_a_link_that_cannot_be_is_refused_by_field(
    ada: Api, made: dict[str, Any], shelf: dict[str, Any], body: dict[str, object], status: int, field: str
) -> None:
    before = rows()
    if body.get("version") == "FIRST":
        body = body | {"version": made["versions"][0]}
    refused = ada.post(f"collections/{shelf['id']}/links/", body)
    assert (refused.status, list(refused.json)) == (status, [field])
    assert rows() == before


def test_links_are_for_registries(ada: Api, made: dict[str, Any], shelf: dict[str, Any]) -> None:
    refused = ada.post(f"{made['path']}links/", {"version": made["versions"][0]})
    assert (refused.status, list(refused.json)) == (400, ["collection"])
    assert ada.delete(f"{made['path']}links/{made['versions'][0]}/").status == 400
    draft = ada.made("versions/", {"collection": made["id"], "state": "pending"})["id"]
    refused = ada.post(f"collections/{shelf['id']}/links/", {"version": draft})
    assert (refused.status, list(refused.json)) == (400, ["version"])
    refused = ada.post("versions/", {"collection": shelf["id"]})
    assert (refused.status, list(refused.json)) == (400, ["collection"])


def test_a_protected_alias_is_the_admins_in_every_spelling(
    penguins: Cast, ada: Api, max_: Api, made: dict[str, Any], shelf: dict[str, Any]
) -> None:
    """é is one letter or two: the same alias."""
    registry = Registry.objects.get()
    ada.patch(f"registries/{registry.pk}/", {"protected_aliases": ["cafe\u0301"]})
    ada.post(f"registries/{registry.pk}/members/", {"user": "max", "role": "member"})
    [version, _other] = made["versions"]
    path = f"collections/{shelf['id']}/"
    assert max_.post(f"{path}links/", {"version": version}).status == 201
    for spelling in ("caf%C3%A9", "cafe%CC%81"):
        assert max_.put(f"{path}aliases/{spelling}/", {"version": version}).status == 403
    for written in ("caf\u00e9", "cafe\u0301"):
        assert max_.post(f"{path}links/", {"version": version, "aliases": [written]}).status == 403
    assert max_.put(f"{path}aliases/other/", {"version": version}).status == 200

    assert ada.put(f"{path}aliases/caf%C3%A9/", {"version": version}).status == 200
    for spelling in ("caf%C3%A9", "cafe%CC%81"):
        assert max_.get(f"{path}aliases/{spelling}/").json["version"] == version
        assert max_.delete(f"{path}aliases/{spelling}/").status == 403
    # Nor goes it away with something else.
    assert max_.delete(f"{path}links/{version}/").status == max_.delete(path).status == 403
    assert ada.delete(f"{path}links/{version}/").status == 204
