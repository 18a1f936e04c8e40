"""Who asks: a key, or the browser's session with its CSRF token; nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from runs.models import ApiKey, Role
from runs.services import people
from tests import cast
from tests.api.house import Api, superuser
from tests.cast import Cast, Clock

pytestmark = pytest.mark.django_db


def test_a_key_is_its_owner(penguins: Cast, ada: Api) -> None:
    me = ada.get("me/")
    assert me.status == 200
    assert me.json == {
        "id": penguins.ada.pk,
        "username": "ada",
        "email": "ada@example.com",
        "is_staff": False,
        "is_superuser": False,
        "teams": [{"team": penguins.team.pk, "team_name": "penguins", "role": "admin"}],
    }


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer nonsense",
        "Bearer tl-" + "x" * 40,
        "Bearer tl-" + "x" * 100_000,
        "Bearer clé",
        "Basic YWRhOmFkYQ==",
        "Token abc",
        "tl-abc",
    ],
)
def test_without_a_known_key_one_is_asked_for_one(penguins: Cast, header: str) -> None:
    refused = Api().ask("GET", "runs/", headers={"Authorization": header} if header else {})
    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert "detail" in refused.json


def test_the_word_bearer_may_be_written_in_any_case(penguins: Cast) -> None:
    _row, text = people.create_key(penguins.ada, "laptop")
    assert Api().ask("GET", "me/", headers={"Authorization": f"bearer {text}"}).status == 200


def test_a_revoked_key_opens_nothing(penguins: Cast, ada: Api) -> None:
    made = ada.made("keys/", {"name": "laptop"})
    laptop = Api(key=made["key"])
    assert laptop.get("me/").json["username"] == "ada"
    assert ada.delete(f"keys/{made['id']}/").status == 204
    assert laptop.get("me/").status == 401


def test_the_key_of_a_deactivated_person_opens_nothing(penguins: Cast, max_: Api) -> None:
    browser = Client()
    browser.force_login(penguins.max)
    assert max_.get("me/").status == browser.get("/api/v1/me/").status_code == 200
    penguins.max.is_active = False
    penguins.max.save()
    assert max_.get("me/").status == browser.get("/api/v1/me/").status_code == 401


def test_a_service_key_is_a_member_of_its_team_and_no_more(penguins: Cast, ada: Api) -> None:
    made = ada.made("keys/", {"name": "ci", "team": penguins.team.pk})
    machine = Api(key=made["key"])
    assert machine.get("me/").json["teams"] == [
        {"team": penguins.team.pk, "team_name": "penguins", "role": "member"}
    ]
    assert machine.post("runs/", {"project": "penguins/waddle"}).status == 201
    assert machine.post("runs/", {"project": "otters/slide"}).status == 404
    assert machine.post("secrets/", {"team": "penguins", "name": "n", "value": "v"}).status == 403
    # Neither itself nor another key could it make.
    assert machine.get("keys/").json["results"] == []
    assert machine.post("keys/", {"name": "another"}).status == 400
    assert machine.post("keys/", {"name": "another", "team": penguins.team.pk}).status == 403


def test_a_service_account_is_put_into_no_other_team(penguins: Cast, ada: Api, otto: Api) -> None:
    row, _text = people.create_service_key(penguins.otters, "ci")
    members = f"teams/{penguins.team.pk}/members/"
    registry = cast.registry("adas", owner=penguins.ada)
    refused = ada.post(members, {"user": row.user.username})
    assert refused.status == 404
    assert refused.json == ada.post(members, {"user": "nobody"}).json
    assert ada.post(f"registries/{registry.pk}/members/", {"user": row.user.username}).status == 404


def test_a_session_writes_only_with_the_token_of_its_page(penguins: Cast) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(penguins.ada)
    body = {"project": "penguins/waddle"}
    assert browser.get("/api/v1/runs/").status_code == 200
    refused = browser.post("/api/v1/runs/", body, content_type="application/json")
    assert refused.status_code == 403
    assert refused["Content-Type"] == "application/json"
    assert "CSRF" in refused.json()["detail"]

    browser.cookies["csrftoken"] = token = "t" * 32
    made = browser.post(
        "/api/v1/runs/", body, content_type="application/json", headers={"X-CSRFToken": token}
    )
    assert made.status_code == 201


def test_a_key_opens_no_page_of_the_admin(db: None) -> None:
    _row, text = people.create_key(superuser(), "laptop")
    page = Client().get("/admin/", headers={"Authorization": f"Bearer {text}"})
    assert page.status_code == 302
    assert "/login" in page["Location"]
    home = Client().get("/", headers={"Authorization": f"Bearer {text}"})
    assert home.status_code == 302


def test_a_member_does_not_raise_their_own_role(penguins: Cast, max_: Api, ada: Api) -> None:
    mine = penguins.team.members.get(user=penguins.max)
    members = f"teams/{penguins.team.pk}/members/"
    assert max_.patch(f"{members}{mine.pk}/", {"role": "admin"}).status == 403
    assert max_.post(members, {"user": "max", "role": "admin"}).status == 403
    mine.refresh_from_db()
    assert mine.role == Role.MEMBER
    assert ada.patch(f"{members}{mine.pk}/", {"role": "admin"}).json["role"] == "admin"


def test_the_last_use_of_a_key_is_noted_now_and_then(penguins: Cast, ada: Api, clock: Clock) -> None:
    def noted() -> datetime | None:
        return ApiKey.objects.get(user=penguins.ada).last_used_at

    assert noted() is None
    ada.get("me/")
    assert noted() == datetime(2026, 9, 1, 12, tzinfo=UTC)
    clock.move(seconds=30)
    ada.get("me/")
    assert noted() == datetime(2026, 9, 1, 12, tzinfo=UTC)
    now = clock.move(minutes=1)
    ada.get("me/")
    assert noted() == now
    assert timedelta(0) < now - datetime(2026, 9, 1, 12, tzinfo=UTC)
