from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from registry.models import ArtifactFile
from runs.models import Role
from runs.services.people import set_member
from runs.services.projects import create_project
from tests import cast
from tests.api.house import Api, rows
from tests.cast import Cast, new_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def fish(penguins: Cast) -> int:
    return cast.collection(penguins.project, "fish").pk


def test_a_version_without_files_is_committed_at_once(penguins: Cast, max_: Api, fish: int) -> None:
    run = new_run(penguins.project)
    body: dict[str, Any] = {
        "collection": fish,
        "run": run.pk,
        "digest": "abc",
        "metadata": {"accuracy": 0.9, "classes": ["cod", None]},
        "description": "the first",
        "aliases": ["best"],
        "tags": ["good one"],
    }
    version = max_.made("versions/", body)
    assert {**body, "aliases": ["best", "latest"]}.items() <= version.items()
    assert (version["version"], version["state"], version["size"], version["files"]) == (
        "v0",
        "committed",
        0,
        [],
    )
    assert max_.get(f"versions/{version['id']}/").json == version
    assert max_.made("versions/", {"collection": fish})["version"] == "v1"


def test_the_same_digest_in_a_collection_is_the_same_version_with_200(
    penguins: Cast, max_: Api, fish: int
) -> None:
    first = max_.made("versions/", {"collection": fish, "digest": "abc"})
    again = max_.post("versions/", {"collection": fish, "digest": "abc", "aliases": ["best"], "tags": ["t"]})
    assert again.status == 200
    assert again.json == first | {"aliases": ["best", "latest"], "tags": ["t"]}
    other = cast.collection(penguins.project, "other").pk
    assert max_.made("versions/", {"collection": other, "digest": "abc"})["id"] != first["id"]


def test_a_pending_version_takes_files_and_is_committed(
    penguins: Cast, max_: Api, vera: Api, fish: int, files: Path
) -> None:
    draft = max_.made(
        "versions/", {"collection": fish, "state": "pending", "aliases": ["best"], "tags": ["good"]}
    )
    assert (draft["version"], draft["state"], draft["aliases"], draft["tags"]) == (None, "pending", [], [])
    path = f"versions/{draft['id']}/"
    weights = bytes(range(256)) * 1000
    stored = max_.ask("PUT", f"{path}files/weights/model.bin", raw=weights, content_type="")
    assert stored.status == 200
    assert stored.json == {
        "path": "weights/model.bin",
        "size": len(weights),
        "digest": hashlib.sha256(weights).hexdigest(),
    }
    # The same path again replaces; a body that claims to be JSON is still a file.
    max_.ask("PUT", f"{path}files/config.json", raw=b"{broken")
    max_.ask("PUT", f"{path}files/config.json", raw=b"{}")

    committed = max_.post(f"{path}commit/")
    assert committed.status == 200
    version = committed.json
    assert (version["version"], version["state"], version["size"]) == ("v0", "committed", len(weights) + 2)
    assert (version["aliases"], version["tags"]) == (["best", "latest"], ["good"])
    assert [file["path"] for file in version["files"]] == ["config.json", "weights/model.bin"]
    assert version["digest"]
    assert max_.post(f"{path}commit/").json == version

    download = vera.get(f"{path}files/weights/model.bin")
    assert download.content == weights
    refused = max_.ask("PUT", f"{path}files/late.bin", raw=b"x")
    assert (refused.status, list(refused.json)) == (409, ["state"])


def test_a_download_is_a_file_that_no_browser_runs(max_: Api, fish: int, files: Path) -> None:
    draft = max_.made("versions/", {"collection": fish, "state": "pending"})["id"]
    page = b"<script>alert(1)</script>"
    max_.ask("PUT", f"versions/{draft}/files/a/page.html", raw=page)
    download = max_.ask("GET", f"versions/{draft}/files/a/page.html", headers={"Accept": "text/html"})
    assert download.status == 200
    assert download.content == page
    assert download.headers["Content-Type"] == "application/octet-stream"
    assert download.headers["Content-Disposition"] == 'attachment; filename="page.html"'
    assert download.headers["X-Content-Type-Options"] == "nosniff"
    assert download.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert download.headers["Content-Length"] == str(len(page))
    assert download.headers["ETag"] == f'"{hashlib.sha256(page).hexdigest()}"'


def test_a_file_may_be_larger_than_any_other_body(
    max_: Api, fish: int, files: Path, settings: Settings
) -> None:
    settings.TRIPLINE_MAX_BODY = settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    draft = max_.made("versions/", {"collection": fish, "state": "pending"})["id"]
    weights = b"x" * 3_000_000
    assert max_.ask("PUT", f"versions/{draft}/files/model.bin", raw=weights).json["size"] == len(weights)
    assert max_.get(f"versions/{draft}/files/model.bin").content == weights
    assert max_.post("versions/", {"collection": fish, "description": "x" * 100}).status == 413


def test_the_same_files_in_a_collection_are_the_same_version(max_: Api, fish: int, files: Path) -> None:
    ids = []
    for _again in range(2):
        draft = max_.made("versions/", {"collection": fish, "state": "pending"})["id"]
        max_.ask("PUT", f"versions/{draft}/files/model.bin", raw=b"same")
        ids.append(max_.post(f"versions/{draft}/commit/").json["id"])
    assert ids[0] == ids[1]
    assert ArtifactFile.objects.count() == 1


@pytest.mark.parametrize(
    "path",
    ["../secret", "a/../b", "a//b", "./a", "a/.", "%2Fetc", "a%5Cb", "x" * 1001, "a%00b", "%2E%2E/x"],
)
def test_a_path_that_leads_elsewhere_is_refused(max_: Api, fish: int, files: Path, path: str) -> None:
    draft = max_.made("versions/", {"collection": fish, "state": "pending"})["id"]
    refused = max_.ask("PUT", f"versions/{draft}/files/{path}", raw=b"x")
    assert (refused.status, list(refused.json)) == (400, ["path"])
    assert not ArtifactFile.objects.exists()
    assert not files.exists()


@pytest.mark.parametrize("name", ["ünïcode.bin", 'a"b.bin', "%FF.bin", "a b", "%ED%A0%80"])
def test_a_file_may_have_any_other_name(max_: Api, fish: int, files: Path, name: str) -> None:
    draft = max_.made("versions/", {"collection": fish, "state": "pending"})["id"]
    stored = max_.ask("PUT", f"versions/{draft}/files/{name}", raw=b"x")
    assert stored.status == 200
    download = max_.get(f"versions/{draft}/files/{name}")
    assert (download.status, download.content) == (200, b"x")
    assert "\n" not in download.headers["Content-Disposition"]
    assert max_.get(f"versions/{draft}/").json["files"][0]["path"] == stored.json["path"]


def test_a_file_that_is_not_there_is_a_404(max_: Api, fish: int) -> None:
    version = max_.made("versions/", {"collection": fish})["id"]
    assert max_.get(f"versions/{version}/files/nothing.bin").status == 404
    assert max_.ask("POST", f"versions/{version}/files/nothing.bin", raw=b"").status == 405


def test_the_words_of_a_version_change_and_its_content_does_not(max_: Api, fish: int) -> None:
    version = max_.made("versions/", {"collection": fish, "digest": "abc", "metadata": {"a": 1}})
    path = f"versions/{version['id']}/"
    assert max_.patch(path, {}).json == version
    changed = max_.patch(path, {"description": "better", "metadata": {"b": 2}}).json
    assert changed == version | {"description": "better", "metadata": {"b": 2}}
    for field in ("digest", "collection", "run", "state", "aliases", "tags", "size", "files", "nonsense"):
        refused = max_.patch(path, {field: version.get(field)})
        assert (refused.status, list(refused.json)) == (400, [field])
    assert max_.delete(path).status == 405


def test_versions_are_found_by_every_filter(penguins: Cast, vera: Api, max_: Api, fish: int) -> None:
    run = new_run(penguins.project)
    other = cast.collection(penguins.project, "other").pk
    first = max_.made("versions/", {"collection": fish, "run": run.pk, "digest": "abc", "tags": ["good"]})[
        "id"
    ]
    second = max_.made("versions/", {"collection": other, "state": "pending"})["id"]
    third = max_.made("versions/", {"collection": other, "tags": ["good"]})["id"]

    def found(query: str) -> list[int]:
        return [row["id"] for row in vera.listed(f"versions/?{query}")]

    assert found(f"collection={fish}") == [first]
    # A pending version is no member yet; it is found by its state.
    assert found(f"collection={other}") == [third]
    assert found(f"run={run.pk}") == [first]
    assert found("digest=abc") == [first]
    assert found("tag=good") == [third, first]
    assert found("state=pending") == [second]
    assert found("ordering=size") == [first, second, third]


def test_a_version_is_tagged_once(max_: Api, fish: int) -> None:
    version = max_.made("versions/", {"collection": fish})["id"]
    path = f"versions/{version}/tags/europe-west/"
    assert max_.put(path).json["tags"] == ["europe-west"]
    assert max_.put(path).json["tags"] == ["europe-west"]
    assert max_.delete(path).status == 204
    assert max_.delete(path).status == 404


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        *(("collection", value, 400) for value in (None, "fish", True, 1.5, [], {})),
        *(("collection", value, 404) for value in (987654, 2**63, 10**30, "9" * 25)),
        ("run", "r1", 400),
        ("run", 987654, 404),
        *(("digest", value, 400) for value in (None, 1, [], "x" * 129)),
        *(("metadata", value, 400) for value in (None, 1, [], "x")),
        *(("description", value, 400) for value in (None, 1, [])),
        *(
            ("aliases", value, 400)
            for value in (None, 1, "best", {}, [None], [1], [[]], ["v1"], ["a/b"], ["x" * 129])
        ),
        *(("tags", value, 400) for value in (None, 1, "good", {}, [None], [1], ["a:b"], [""], ["x" * 129])),
        *(("state", value, 400) for value in (None, "", "done", 1, [])),
        *((field, 1, 400) for field in ("id", "version", "size", "files", "nonsense")),
    ],
)
def test_a_version_that_cannot_be_is_refused_by_field(
    max_: Api, fish: int, field: str, value: object, status: int
) -> None:
    before = rows()
    refused = max_.post("versions/", {"collection": fish, field: value})
    assert (refused.status, list(refused.json)) == (status, [field]), refused
    assert rows() == before


def test_a_version_comes_from_a_run_of_the_same_team(penguins: Cast, max_: Api, fish: int) -> None:
    swim = new_run(create_project(penguins.team, "swim"))
    assert max_.post("versions/", {"collection": fish, "run": swim.pk}).status == 201
    set_member(penguins.otters, penguins.max, role=Role.ADMIN)
    slide = new_run(create_project(penguins.otters, "slide"))
    refused = max_.post("versions/", {"collection": fish, "run": slide.pk})
    assert (refused.status, list(refused.json)) == (400, ["run"])
