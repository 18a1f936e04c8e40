from __future__ import annotations

import pytest
from django.contrib.auth import authenticate

from runs.models import ApiKey, Organization, User
from runs.services import people
from runs.services.people import digest_of
from tests import cast
from tests.api.house import Api
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def test_staff_make_people_who_can_sign_in(penguins: Cast, everything: Api) -> None:
    body = {"username": "nina", "email": "nina@example.com", "password": "seven-herons-fly"}
    made = everything.made("users/", body)
    assert {"username": "nina", "email": "nina@example.com", "is_active": True}.items() <= made.items()
    assert "password" not in made
    assert authenticate(username="nina", password="seven-herons-fly") == User.objects.get(username="nina")
    assert [row["username"] for row in everything.listed("users/?username=nina")] == ["nina"]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"username": "ada", "password": "seven-herons-fly"}, 409, "username"),
        ({"username": "nina", "password": "short"}, 400, "password"),
        ({"username": "nina", "password": "password"}, 400, "password"),
        ({"username": "nina nina", "password": "seven-herons-fly"}, 400, "username"),
        ({"username": "n" * 151, "password": "seven-herons-fly"}, 400, "username"),
        ({"username": "nina", "email": "nina", "password": "seven-herons-fly"}, 400, "email"),
        ({"username": "nina", "password": "seven-herons-fly", "is_superuser": True}, 400, "is_superuser"),
        ({"username": "nina", "password": "seven-herons-fly", "is_staff": True}, 400, "is_staff"),
        ({"username": "nina"}, 400, "password"),
    ],
)
def test_a_person_that_cannot_be_is_refused_by_field(
    penguins: Cast, everything: Api, body: dict[str, object], status: int, field: str
) -> None:
    people = User.objects.count()
    refused = everything.post("users/", body)
    assert (refused.status, list(refused.json)) == (status, [field])
    assert User.objects.count() == people


def test_a_key_is_shown_in_the_answer_to_its_making_alone(penguins: Cast, ada: Api) -> None:
    made = ada.made("keys/", {"name": "laptop"})
    assert made["key"].startswith(made["prefix"])
    assert made["team"] is None
    assert ApiKey.objects.get(pk=made["id"]).digest == digest_of(made["key"])
    for path in (f"keys/{made['id']}/", "keys/", "keys/?name=laptop"):
        assert made["key"] not in ada.get(path).text
    assert ada.get(f"keys/{made['id']}/").json["key"] is None


def test_people_see_their_own_keys_and_admins_those_of_their_team(
    penguins: Cast, ada: Api, max_: Api
) -> None:
    mine = max_.made("keys/", {"name": "laptop"})["id"]
    ci = ada.made("keys/", {"name": "ci", "team": penguins.team.pk})["id"]
    assert ada.get(f"keys/{mine}/").status == ada.delete(f"keys/{mine}/").status == 404
    assert max_.get(f"keys/{ci}/").status == 404
    assert [row["id"] for row in ada.listed(f"keys/?team={penguins.team.pk}")] == [ci]


def test_the_one_organization_is_the_default_of_teams(penguins: Cast, everything: Api) -> None:
    [organization] = everything.listed("organizations/")
    team = everything.made("teams/", {"name": "seals"})
    assert team["organization"] == organization["id"] == Organization.default().pk
    assert {"id", "name", "organization", "created_at"} <= set(team)
    other = everything.made("organizations/", {"name": "south"})
    assert (
        everything.made("teams/", {"name": "gulls", "organization": other["id"]})["organization"]
        == (other["id"])
    )
    renamed = everything.patch(f"organizations/{other['id']}/", {"name": "far south"})
    assert renamed.json["name"] == "far south"


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("teams/", {"name": "penguins"}, 409, "name"),
        ("teams/", {"name": "admin"}, 400, "name"),
        ("teams/", {"name": "a/b"}, 400, "name"),
        ("teams/", {"name": ""}, 400, "name"),
        ("teams/", {"name": "t" * 129}, 400, "name"),
        ("teams/", {"name": "x", "organization": 987654}, 404, "organization"),
        ("organizations/", {"name": "default"}, 409, "name"),
        ("organizations/", {"name": "a\nb"}, 400, "name"),
    ],
)
def test_names_of_teams_and_organizations_are_checked(
    penguins: Cast, everything: Api, path: str, body: dict[str, object], status: int, field: str
) -> None:
    refused = everything.post(path, body)
    assert (refused.status, list(refused.json)) == (status, [field])


def test_an_admin_invites_changes_and_lets_go(penguins: Cast, ada: Api) -> None:
    cast.person("nina")
    members = f"teams/{penguins.team.pk}/members/"
    nina = ada.made(members, {"user": "nina"})
    assert nina["role"] == "member"
    assert ada.patch(f"{members}{nina['id']}/", {"role": "viewer"}).json["role"] == "viewer"
    assert ada.patch(f"{members}{nina['id']}/", {}).json["role"] == "viewer"
    assert {row["user"]: row["role"] for row in ada.listed(members)} == {
        "ada": "admin",
        "max": "member",
        "vera": "viewer",
        "nina": "viewer",
    }
    assert [row["user"] for row in ada.listed(f"{members}?role=admin")] == ["ada"]
    assert ada.delete(f"{members}{nina['id']}/").status == 204
    assert ada.get(f"{members}{nina['id']}/").status == 404


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"user": "nobody"}, 404, "user"),
        ({"user": 7}, 400, "user"),
        ({"user": "nina", "role": "owner"}, 400, "role"),
        ({"role": "viewer"}, 400, "user"),
        ({"user": "nina", "team": 1}, 400, "team"),
    ],
)
def test_a_member_that_cannot_be_is_refused_by_field(
    penguins: Cast, ada: Api, body: dict[str, object], status: int, field: str
) -> None:
    cast.person("nina")
    refused = ada.post(f"teams/{penguins.team.pk}/members/", body)
    assert (refused.status, list(refused.json)) == (status, [field])


def test_a_team_is_renamed_and_not_moved_by_its_admin(penguins: Cast, ada: Api) -> None:
    team = f"teams/{penguins.team.pk}/"
    assert ada.patch(team, {"name": "emperors"}).json["name"] == "emperors"
    other = Organization.objects.create(name="south")
    assert ada.patch(team, {"organization": other.pk}).status == 404
    people.create_team("gulls", organization=other, owner=penguins.ada)
    assert ada.patch(team, {"organization": other.pk}).status == 403
