"""Every refusal is JSON of one form, whoever refuses: the API, Django, or the boundary before both."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_started
from django.db import close_old_connections
from django.test import Client
from pytest_django import Settings

from config.middleware import utf8_only
from runs.models import Run
from tests.api.house import Api
from tests.cast import Cast

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "path",
    [
        "/api/",
        "/api/v1/",
        "/api/v2/runs/",
        "/api/v1/nonsense",
        "/api/v1/nonsense/",
        "/api/v1/runs/abc/",
        "/api/v1/runs/-1/",
        "/api/v1/runs/1/nonsense/",
        "/api/v1/runs/" + "9" * 30 + "/",
        "/api/v1/runs/999999999999999999/",
        "/api/v1/teams/" + "9" * 30 + "/members/",
        "/inbox/nonsense/",
    ],
)
@pytest.mark.parametrize("verb", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_what_is_not_there_is_a_404_in_json(ada: Api, verb: str, path: str) -> None:
    refused = ada.ask(verb, path, {})
    assert refused.status in ({404, 405} if path.startswith(("/api/v1/runs/9", "/inbox/")) else {404})
    assert refused.json.keys() == {"detail"}


@pytest.mark.parametrize(
    ("verb", "path", "allowed"),
    [
        ("PUT", "runs/", "GET, POST, HEAD, OPTIONS"),
        ("DELETE", "runs/", "GET, POST, HEAD, OPTIONS"),
        ("POST", "me/", "GET, HEAD, OPTIONS"),
        ("POST", "executions/", "GET, HEAD, OPTIONS"),
        ("POST", "events/", "GET, HEAD, OPTIONS"),
        ("GET", "deliveries/recover/", "POST, OPTIONS"),
        ("TRACE", "runs/", "GET, POST, HEAD, OPTIONS"),
        ("NONSENSE", "runs/", "GET, POST, HEAD, OPTIONS"),
    ],
)
def test_a_verb_that_a_resource_does_not_have_is_a_405_that_says_which_it_has(
    ada: Api, verb: str, path: str, allowed: str
) -> None:
    refused = ada.ask(verb, path)
    assert refused.status == 405
    assert refused.headers["Allow"] == allowed


def test_the_last_slash_may_be_left_out(penguins: Cast, ada: Api) -> None:
    made = ada.made("runs", {"project": "penguins/waddle"})
    assert ada.get(f"runs/{made['id']}").json["id"] == made["id"]
    assert ada.post(f"runs/{made['id']}/metrics", {"points": []}).status == 202
    assert ada.get("me").status == 200


@pytest.mark.parametrize("accept", ["*/*", "text/html", "application/octet-stream", "nonsense"])
def test_json_is_answered_whatever_is_accepted(ada: Api, accept: str) -> None:
    for path in ("me/", "runs/", "schema/"):
        answer = ada.ask("GET", path, headers={"Accept": accept})
        assert answer.status == (406 if path == "schema/" and "*" not in accept else 200)
        assert "json" in answer.headers["Content-Type"]


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data; boundary=x", "nonsense", ""])
def test_a_body_that_is_not_json_by_its_own_word_is_a_415(ada: Api, content_type: str) -> None:
    body = b'{"project": "penguins/waddle"}'
    assert ada.ask("POST", "runs/", raw=body, content_type=content_type).status == 415


@pytest.mark.parametrize("charset", ["utf-16", "zlib", "hex", "rot13", "nonsense", "idna", '"utf-7"'])
def test_a_request_is_read_as_utf_8_whatever_it_claims(penguins: Cast, ada: Api, charset: str) -> None:
    body = '{"project": "penguins/waddle", "name": "é"}'.encode()
    status, _headers = _asked(
        CONTENT_TYPE=f"application/json; CharSet={charset}; version=1",
        QUERY_STRING="name=%C3%A9",
        CONTENT_LENGTH=str(len(body)),
        HTTP_AUTHORIZATION=ada.headers["Authorization"],
        **{"wsgi.input": io.BytesIO(body)},
    )
    assert status == 201
    assert Run.objects.get().name == "é"


def test_a_body_over_32_mb_is_a_413(ada: Api) -> None:
    refused = ada.ask("POST", "runs/", raw=b"x" * (32 * 1024 * 1024 + 1))
    assert refused.status == 413
    assert "32 MB" in refused.json["detail"]


@pytest.mark.parametrize("length", ["9" * 18, "9" * 5000, "-1", "nonsense", "٣"])
def test_a_length_that_is_none_is_never_trusted(settings: Settings, length: str) -> None:
    assert _asked(CONTENT_LENGTH=length)[0] == 413


def test_a_file_may_be_larger_and_only_a_file(ada: Api, settings: Settings) -> None:
    settings.TRIPLINE_MAX_BODY = 10
    body = b'{"version": 12345}'
    # Below the boundary, nothing of this exists.
    assert ada.ask("PUT", "versions/1/files/model.bin", raw=body).status == 404
    for path in ("collections/1/aliases/files/", "collections/files/aliases/x/", "versions/files/1/"):
        assert ada.ask("PUT", path, raw=body).status == 413
    assert ada.ask("POST", "versions/1/files/model.bin", raw=body).status == 413


def test_a_body_whose_end_nobody_knows_is_a_411(ada: Api) -> None:
    """Waitress counts a chunked body before it passes it on; gunicorn does not."""
    status, _headers = _asked(HTTP_TRANSFER_ENCODING="chunked")
    assert status == 411
    assert _asked(HTTP_TRANSFER_ENCODING="chunked", CONTENT_LENGTH="2")[0] == 401


def _asked(**environ: Any) -> tuple[int, dict[str, str]]:
    """What the application answers to a POST with this WSGI environment."""
    found: list[tuple[int, dict[str, str]]] = []

    def start(status: str, headers: list[tuple[str, str]], _error: Any = None) -> Any:
        found.append((int(status[:3]), dict(headers)))

    request = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/api/v1/runs/",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "CONTENT_TYPE": "application/json",
        "wsgi.input": io.BytesIO(b"{}"),
        "wsgi.url_scheme": "http",
        "wsgi.version": (1, 0),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    # Between two requests a server may let go of its connection; the test's own stays open.
    request_started.disconnect(close_old_connections)
    try:
        b"".join(utf8_only(WSGIHandler())(request | environ, start))
    finally:
        request_started.connect(close_old_connections)
    [answer] = found
    assert answer[1]["Content-Type"].startswith("application/json")
    return answer


def test_an_unknown_host_is_refused_in_json(db: None) -> None:
    refused = Client().get("/api/v1/me/", headers={"Host": "evil.example.com"})
    assert refused.status_code == 400
    assert refused.json().keys() == {"detail"}


def test_a_fault_of_our_own_is_json_without_what_went_wrong(
    ada: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_user: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("runs.access.runs", fail)
    client = Client(raise_request_exception=False)
    broken = client.get("/api/v1/runs/", headers=ada.headers)
    assert broken.status_code == 500
    assert broken["Content-Type"] == "application/json"
    assert b"secret" not in broken.content
    assert "a secret" in caplog.text


def test_pages_for_people_keep_their_own_errors(db: None) -> None:
    page = Client().get("/nonsense/nowhere/at/all/")
    assert page.status_code == 404
    assert page["Content-Type"].startswith("text/html")
