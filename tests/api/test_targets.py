"""Secrets, integrations and inboxes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pytest_django import Settings
from pytest_httpserver import HTTPServer
from standardwebhooks import Webhook

from automations.models import Delivery, Inbox, Integration, Secret
from runs.models import Role
from runs.services.people import set_member
from tests.api.house import Api, House, rows
from tests.cast import Cast

pytestmark = pytest.mark.django_db

HOOK: dict[str, Any] = {
    "team": "penguins",
    "type": "webhook",
    "name": "hook",
    "url": "https://hooks.example.com/x?key=hidden",
}


def test_the_value_of_a_secret_is_written_and_never_read(penguins: Cast, ada: Api, max_: Api) -> None:
    made = ada.made("secrets/", {"team": "penguins", "name": "TOKEN", "value": "s3cret-value"})
    path = f"secrets/{made['id']}/"
    assert set(made) == {"id", "team", "name", "created_at", "updated_at"}
    changed = ada.patch(path, {"value": "n3w-value"}).json
    assert Secret.objects.get().updated_at.isoformat().replace("+00:00", "Z") == changed["updated_at"]
    renamed = ada.patch(path, {"name": "OTHER"})
    for answer in (renamed, ada.get(path), max_.get(path), max_.get("secrets/"), ada.get("schema/")):
        assert "s3cret" not in answer.text
        assert "n3w" not in answer.text
    assert "n3w" not in Secret.objects.get().ciphertext
    assert [row["name"] for row in max_.listed("secrets/?name=OTHER")] == ["OTHER"]
    assert ada.delete(path).status == 204


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"value": "v"}, 400, "name"),
        ({"name": "N"}, 400, "value"),
        ({"name": "N", "value": ""}, 400, "value"),
        ({"name": "N", "value": None}, 400, "value"),
        ({"name": "N", "value": 7}, 400, "value"),
        ({"name": "N", "value": "x" * 10_001}, 400, "value"),
        ({"name": "N", "value": "whsec_!!!"}, 400, "value"),
        ({"name": "a-b", "value": "v"}, 400, "name"),
        ({"name": "1a", "value": "v"}, 400, "name"),
        ({"name": "x" * 129, "value": "v"}, 400, "name"),
        ({"name": "TOKEN", "value": "v"}, 409, "name"),
        ({"name": "N", "value": "v", "ciphertext": "v"}, 400, "ciphertext"),
    ],
)
def test_a_secret_that_cannot_be_is_refused_by_field_and_not_repeated(
    penguins: Cast, ada: Api, body: dict[str, object], status: int, field: str
) -> None:
    ada.made("secrets/", {"team": "penguins", "name": "TOKEN", "value": "old"})
    before = rows()
    refused = ada.post("secrets/", {"team": "penguins", **body})
    assert (refused.status, list(refused.json)) == (status, [field])
    assert "whsec_!!!" not in refused.text
    assert rows() == before


def test_an_integration_shows_the_host_of_its_url_and_no_more(penguins: Cast, ada: Api, vera: Api) -> None:
    ada.made("secrets/", {"team": "penguins", "name": "TOKEN", "value": "t0ken"})
    ada.made("secrets/", {"team": "penguins", "name": "SIGN", "value": "whsec_c2VjcmV0"})
    made = ada.made("integrations/", HOOK | {"access_token": "TOKEN", "signing_secret": "SIGN"})
    assert {
        "team": "penguins",
        "type": "webhook",
        "name": "hook",
        "host": "hooks.example.com",
        "access_token": "TOKEN",
        "signing_secret": "SIGN",
        "signing_secret_previous": None,
        "timeout": 10,
        "healthy": True,
        "disabled_reason": "",
    }.items() <= made.items()
    path = f"integrations/{made['id']}/"
    assert ada.patch(path, {}).json == made
    assert ada.patch(path, {"timeout": 30}).json == made | {"timeout": 30}
    moved = ada.patch(path, {"url": "https://other.example.com:8443/y", "access_token": None}).json
    assert (moved["host"], moved["access_token"]) == ("other.example.com:8443", None)
    rotated = ada.patch(path, {"signing_secret": "TOKEN", "signing_secret_previous": "SIGN"}).json
    assert (rotated["signing_secret"], rotated["signing_secret_previous"]) == ("TOKEN", "SIGN")
    for answer in (vera.get(path), ada.get("integrations/")):
        for hidden in ("hidden", "/x", "/y", "t0ken", "url", "whsec"):
            assert f"{hidden}" not in answer.text
    assert "hidden" not in Integration.objects.get().url_ciphertext


def test_credentials_in_a_url_are_refused_and_not_repeated(penguins: Cast, ada: Api) -> None:
    refused = ada.post("integrations/", HOOK | {"url": "https://user:s3cret@hooks.example.com/"})
    assert (refused.status, list(refused.json)) == (400, ["url"])
    assert "s3cret" not in refused.text


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"url": None}, 400, "url"),
        ({"url": ""}, 400, "url"),
        ({"url": 7}, 400, "url"),
        ({"url": "nonsense"}, 400, "url"),
        ({"url": "ftp://hooks.example.com/"}, 400, "url"),
        ({"url": "http://169.254.169.254/"}, 400, "url"),
        ({"url": "http://[::1]/"}, 400, "url"),
        ({"url": "http://2130706433/"}, 400, "url"),
        ({"url": "https://hooks.example.com/" + "x" * 4000}, 400, "url"),
        ({"type": "nonsense"}, 400, "type"),
        ({"type": "noop"}, 400, "type"),
        ({"type": None}, 400, "type"),
        ({"type": []}, 400, "type"),
        ({"name": ""}, 400, "name"),
        ({"name": "x" * 251}, 400, "name"),
        ({"name": "taken"}, 409, "name"),
        ({"timeout": 4}, 400, "timeout"),
        ({"timeout": 31}, 400, "timeout"),
        ({"timeout": "10"}, 400, "timeout"),
        ({"timeout": 10.5}, 400, "timeout"),
        ({"timeout": True}, 400, "timeout"),
        ({"timeout": 10**30}, 400, "timeout"),
        ({"timeout": None}, 400, "timeout"),
        ({"access_token": "NOTHING"}, 404, "access_token"),
        ({"access_token": 7}, 400, "access_token"),
        ({"access_token": "LINES"}, 400, "access_token"),
        ({"signing_secret": "x" * 100_000}, 404, "signing_secret"),
        ({"host": "x"}, 400, "host"),
        ({"healthy": False}, 400, "healthy"),
        ({"disabled_reason": "x"}, 400, "disabled_reason"),
        ({"nonsense": 1}, 400, "nonsense"),
    ],
)
def test_an_integration_that_cannot_be_is_refused_by_field(
    penguins: Cast, ada: Api, body: dict[str, object], status: int, field: str
) -> None:
    ada.made("integrations/", HOOK | {"name": "taken"})
    ada.made("secrets/", {"team": "penguins", "name": "LINES", "value": "a\nb"})
    before = rows()
    refused = ada.post("integrations/", HOOK | body)
    assert (refused.status, list(refused.json)) == (status, [field]), refused
    assert rows() == before
    made = ada.made("integrations/", HOOK)
    if body.get("url", "x") is not None:
        assert ada.patch(f"integrations/{made['id']}/", body).status == status
    assert ada.get(f"integrations/{made['id']}/").json == made


def test_an_integration_without_its_url_is_refused(penguins: Cast, ada: Api) -> None:
    refused = ada.post("integrations/", {name: value for name, value in HOOK.items() if name != "url"})
    assert (refused.status, list(refused.json)) == (400, ["url"])


def test_what_is_in_use_is_not_deleted(ours: House, ada: Api) -> None:
    for path, user in (
        (f"secrets/{ours.secret.pk}/", "penguin-hook"),
        (f"integrations/{ours.integration.pk}/", ""),
    ):
        refused = ada.delete(path)
        assert refused.status == 409
        assert user in refused.text
        assert ada.get(path).status == 200


def test_what_a_team_has_stays_with_it(penguins: Cast, ours: House, ada: Api) -> None:
    set_member(penguins.otters, penguins.ada, role=Role.ADMIN)
    for place, pk in (
        ("secrets", ours.secret.pk),
        ("integrations", ours.integration.pk),
        ("inboxes", ours.inbox.pk),
    ):
        refused = ada.patch(f"{place}/{pk}/", {"team": "otters"})
        assert (refused.status, list(refused.json)) == (400, ["team"])
        assert ada.patch(f"{place}/{pk}/", {"team": "penguins"}).status == 200


def test_a_secret_of_another_of_ones_teams_is_not_found(penguins: Cast, ada: Api, theirs: House) -> None:
    """Its name says whose it is only together with the team of the integration."""
    set_member(penguins.otters, penguins.ada, role=Role.ADMIN)
    refused = ada.post("integrations/", HOOK | {"signing_secret": theirs.secret.name})
    assert (refused.status, list(refused.json)) == (404, ["signing_secret"])


def test_deliveries_to_a_disabled_integration_are_held_until_it_is_enabled(ours: House, ada: Api) -> None:
    path = f"integrations/{ours.integration.pk}/"
    disabled = ada.post(f"{path}disable/").json
    assert (disabled["healthy"], disabled["disabled_reason"]) == (False, "Disabled by ada.")
    Delivery.objects.update(state="held")
    enabled = ada.post(f"{path}enable/").json
    assert (enabled["healthy"], enabled["disabled_reason"]) == (True, "")
    assert Delivery.objects.get().state == "pending"


def test_trying_an_integration_sends_a_marked_signed_example_and_says_what_came_back(
    penguins: Cast, ada: Api, httpserver: HTTPServer, loopback: None
) -> None:
    httpserver.expect_request("/hook", method="POST").respond_with_data("thanks", status=201)
    ada.made("secrets/", {"team": "penguins", "name": "SIGN", "value": "whsec_c2VjcmV0LWtleQ=="})
    hook = ada.made("integrations/", HOOK | {"url": httpserver.url_for("/hook"), "signing_secret": "SIGN"})

    tried = ada.post(f"integrations/{hook['id']}/test/")
    assert tried.status == 200
    assert {"ok": True, "status": 201, "body": "thanks", "error": ""}.items() <= tried.json.items()
    assert 0 < tried.json["latency"] < 5
    [(request, _response)] = httpserver.log
    sent = Webhook("whsec_c2VjcmV0LWtleQ==").verify(request.get_data(), dict(request.headers))
    assert sent["test"] is True


def test_trying_an_integration_that_does_not_work_says_why(
    penguins: Cast, ada: Api, httpserver: HTTPServer, loopback: None
) -> None:
    httpserver.expect_request("/hook").respond_with_data("no", status=500)
    hook = ada.made("integrations/", HOOK | {"url": httpserver.url_for("/hook")})
    path = f"integrations/{hook['id']}/"
    failed = ada.post(f"{path}test/").json
    assert {"ok": False, "status": 500, "body": "no"}.items() <= failed.items()
    ada.patch(path, {"url": "https://nowhere.example.com/"})
    failed = ada.post(f"{path}test/").json
    assert (failed["ok"], failed["status"], failed["body"]) == (False, None, "")
    assert "nowhere.example.com" in failed["error"]


def test_every_type_of_integration_can_be_tried(
    penguins: Cast, ada: Api, httpserver: HTTPServer, loopback: None, mailoutbox: list[Any]
) -> None:
    httpserver.expect_request("/slack").respond_with_data("ok")
    slack = ada.made(
        "integrations/",
        {"team": "penguins", "type": "slack", "name": "chat", "url": httpserver.url_for("/slack")},
    )
    assert ada.post(f"integrations/{slack['id']}/test/").json["ok"] is True
    assert "This is a test message" in httpserver.log[0][0].get_data(as_text=True)

    mail = ada.made("integrations/", {"team": "penguins", "type": "email", "name": "mail"})
    assert ada.post(f"integrations/{mail['id']}/test/").json["ok"] is True
    assert [message.to for message in mailoutbox] == [["ada@example.com"]]
    assert "This is a test message" in mailoutbox[0].body


def test_an_inbox_shows_what_came_with_a_verdict(penguins: Cast, max_: Api, ada: Api, vera: Api) -> None:
    inbox = max_.made("inboxes/", {"team": "penguins", "name": "first"})
    assert set(inbox) == {"id", "team", "name", "url", "created_at"}
    path = f"inboxes/{inbox['id']}/"
    door = inbox["url"].removeprefix("http://127.0.0.1:8000")
    received = Api().ask("POST", door, raw=b'{"a": "\x00\xff"}', headers={"Authorization": "Bearer secret"})
    assert (received.status, received.json) == (200, {"received": True})
    [request] = vera.listed(f"{path}requests/")
    assert set(request) == {"id", "received_at", "headers", "body", "verdict"}
    assert request["verdict"] == "unchecked"
    assert request["body"].startswith('{"a": "')
    assert "secret" not in json.dumps(request["headers"])
    assert max_.patch(path, {"name": "second"}).json == inbox | {"name": "second"}
    assert max_.post("inboxes/", {"team": "penguins", "name": "second"}).status == 409
    assert max_.delete(path).status == 204
    assert Api().ask("POST", door, raw=b"{}").status == 404


def test_an_inbox_keeps_the_last_fifty_newest_first(penguins: Cast, max_: Api) -> None:
    inbox = max_.made("inboxes/", {"team": "penguins", "name": "first"})
    door = inbox["url"].removeprefix("http://127.0.0.1:8000")
    for number in range(53):
        Api().ask("POST", door, raw=str(number).encode())
    path = f"inboxes/{inbox['id']}/requests/"
    kept = max_.listed(path)
    assert [row["body"] for row in kept] == [str(number) for number in range(52, 2, -1)]
    page = max_.get(f"{path}?page_size=20").json
    assert len(page["results"]) == 20
    rest = max_.get(page["next"].removeprefix("http://testserver")).json["results"]
    assert [row["body"] for row in rest] == [str(number) for number in range(32, 12, -1)]
    # Its order is its own.
    assert max_.get(f"{path}?ordering=name").status == 200


def test_an_inbox_refuses_what_is_too_large_or_too_much(
    penguins: Cast, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("automations.throttle.time.time", lambda: 1_790_000_000.25)
    settings.TRIPLINE_INBOX_RATE = 2
    inbox = Inbox.objects.create(team=penguins.team, name="first")
    door = f"/inbox/{inbox.token}/"
    large = Api().ask("POST", door, raw=b"x" * (256 * 1024 + 1))
    assert (large.status, list(large.json)) == (413, ["detail"])
    assert Api().ask("POST", door, raw=b"x" * (256 * 1024)).status == 200
    assert Api().ask("POST", door, raw=b"").status == 200
    busy = Api().ask("POST", door, raw=b"")
    assert (busy.status, list(busy.json)) == (429, ["detail"])
    assert busy.headers["Retry-After"] == "1"
    assert inbox.requests.count() == 2
    monkeypatch.setattr("automations.throttle.time.time", lambda: 1_790_000_001.0)
    assert Api().ask("POST", door, raw=b"").status == 200
    assert Api().ask("GET", door).status == 405
    assert Api().ask("POST", "/inbox/nonsense/", raw=b"").status == 404
