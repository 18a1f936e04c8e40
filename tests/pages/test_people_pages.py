"""The profile with its keys, and a team's people: who may do what, and what is shown once."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from runs.models import ApiKey, Member, Role
from runs.services import people
from tests import cast
from tests.api.house import Api, superuser
from tests.cast import Cast
from tests.pages.visitors import MARKUP, Visitor, assert_only_text

pytestmark = [pytest.mark.django_db, pytest.mark.once]

KEY = re.compile(r"tl-[A-Za-z0-9]{40}")


# --- Keys -----------------------------------------------------------------------------------------


def test_a_key_is_shown_once_and_works(penguins: Cast) -> None:
    vera = Visitor(penguins.vera)
    assert "Make the first key" in vera.sees("/profile/")
    answer = vera.submits("/profile/", name="my laptop")
    assert answer.status_code == 200
    assert "no-store" in answer.headers["Cache-Control"]
    (key,) = set(KEY.findall(answer.content.decode()))
    assert Api(key=key).get("me/").json["username"] == "vera"
    page = vera.sees("/profile/")
    assert "my laptop" in page
    assert not KEY.search(page)
    assert key[:8] in page
    assert "never" not in page  # it was used


def test_a_revoked_key_opens_nothing(penguins: Cast) -> None:
    row, key = people.create_key(penguins.vera, "old")
    assert Visitor(penguins.vera).told(f"/profile/keys/{row.pk}/revoke/") == ["The key “old” is revoked."]
    assert Api(key=key).get("me/").status == 401


def test_nobody_revokes_the_key_of_somebody_else(penguins: Cast) -> None:
    row, _key = people.create_key(penguins.vera, "hers")
    service, _key = people.create_service_key(penguins.team, "ci")
    for visitor in (Visitor(penguins.ada), Visitor(penguins.otto), Visitor(superuser())):
        assert visitor.submits(f"/profile/keys/{row.pk}/revoke/").status_code == 404
        assert visitor.submits(f"/profile/keys/{service.pk}/revoke/").status_code == 404
    assert ApiKey.objects.filter(pk__in=[row.pk, service.pk]).count() == 2
    assert "hers" not in Visitor(penguins.ada).sees("/profile/")


@pytest.mark.parametrize("name", ["", " ", "x" * 251, "a\x01b"])
def test_a_key_without_a_good_name_is_not_made(penguins: Cast, name: str) -> None:
    answer = Visitor(penguins.vera).submits("/profile/", name=name)
    assert answer.status_code == 200
    assert 'class="message error"' in answer.content.decode()
    assert not ApiKey.objects.exists()


def test_the_profile_says_which_role_one_has_where(penguins: Cast) -> None:
    page = Visitor(penguins.vera).sees("/profile/")
    assert "penguins" in page
    assert "Viewer" in page
    assert "otters" not in page
    assert "You are in no team yet." in Visitor(cast.person("nina")).sees("/profile/")


def test_strangers_are_asked_to_sign_in(penguins: Cast) -> None:
    for place in ("/profile/", "/teams/penguins/", "/accounts/password/"):
        assert Visitor().status(place) == 302


def test_a_password_is_changed_by_who_knows_it(penguins: Cast) -> None:
    penguins.vera.set_password("ice floe 1")
    penguins.vera.save()
    vera = Visitor(penguins.vera)
    fields = {"old_password": "wrong", "new_password1": "krill 4 all!", "new_password2": "krill 4 all!"}
    answer = vera.submits("/accounts/password/", **fields)
    assert 'class="problem"' in answer.content.decode()
    assert vera.submits("/accounts/password/", **fields | {"old_password": "ice floe 1"}).status_code == 302
    assert Client().login(username="vera", password="krill 4 all!")


# --- Members --------------------------------------------------------------------------------------


def _roles(penguins: Cast) -> dict[str, str]:
    rows = Member.objects.filter(team=penguins.team, user__is_service=False)
    return dict(rows.values_list("user__username", "role"))


AS_IT_WAS = {"ada": "admin", "max": "member", "vera": "viewer"}


def test_everybody_in_a_team_sees_its_members_and_nobody_else_does(penguins: Cast) -> None:
    for user in (penguins.ada, penguins.max, penguins.vera):
        page = Visitor(user).sees("/teams/penguins/")
        assert all(f"{name}" in page for name in AS_IT_WAS)
        assert ("Add somebody" in page) == (user == penguins.ada)
    assert Visitor(penguins.otto).status("/teams/penguins/") == 404


def test_an_admin_adds_changes_and_removes(penguins: Cast) -> None:
    nina = cast.person("nina")
    ada = Visitor(penguins.ada)
    assert ada.told("/teams/penguins/members/", username=" nina ", role="viewer") == [
        "nina is in the team now."
    ]
    member = Member.objects.get(team=penguins.team, user=nina)
    assert ada.told(f"/teams/penguins/members/{member.pk}/", role="admin") == [
        "nina has the role “Admin” now."
    ]
    assert _roles(penguins) == {**AS_IT_WAS, "nina": "admin"}
    assert ada.told(f"/teams/penguins/members/{member.pk}/remove/") == ["nina is no longer in the team."]
    assert _roles(penguins) == AS_IT_WAS


@pytest.mark.parametrize("who", ["max", "vera", "otto"])
def test_nobody_else_changes_members_or_service_keys(penguins: Cast, who: str) -> None:
    nina = cast.person("nina")
    mine = Member.objects.get(team=penguins.team, user=penguins.vera)
    key, _text = people.create_service_key(penguins.team, "ci")
    visitor = Visitor(getattr(penguins, who))
    wanted = 404 if who == "otto" else 403
    for place, fields in [
        ("/teams/penguins/members/", {"username": nina.username, "role": "admin"}),
        (f"/teams/penguins/members/{mine.pk}/", {"role": "admin"}),
        (f"/teams/penguins/members/{mine.pk}/remove/", {}),
        ("/teams/penguins/", {"name": "another"}),
        (f"/teams/penguins/keys/{key.pk}/revoke/", {}),
    ]:
        assert visitor.submits(place, **fields).status_code == wanted
    assert _roles(penguins) == AS_IT_WAS
    assert ApiKey.objects.filter(team=penguins.team).count() == 1


def test_an_admin_of_one_team_does_not_reach_into_another(penguins: Cast) -> None:
    """Their own team in the path, somebody else's member in the number."""
    theirs = Member.objects.get(team=penguins.team, user=penguins.vera)
    key, _text = people.create_service_key(penguins.team, "ci")
    otto = Visitor(penguins.otto)
    assert otto.submits(f"/teams/otters/members/{theirs.pk}/", role="admin").status_code == 404
    assert otto.submits(f"/teams/otters/members/{theirs.pk}/remove/").status_code == 404
    assert otto.submits(f"/teams/otters/keys/{key.pk}/revoke/").status_code == 404
    assert _roles(penguins) == AS_IT_WAS


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"username": "nobody", "role": "viewer"}, "There is no user “nobody”."),
        ({"role": "viewer"}, "There is no user “”."),
        ({"username": "otto", "role": "emperor"}, "Choose a role."),
        ({"username": "vera", "role": "admin"}, "vera is in the team already."),
    ],
)
def test_what_cannot_be_added_is_refused_in_words(penguins: Cast, fields: dict[str, str], said: str) -> None:
    assert Visitor(penguins.ada).told("/teams/penguins/members/", **fields) == [said]
    assert _roles(penguins) == AS_IT_WAS


def test_service_accounts_are_not_added_by_name(penguins: Cast) -> None:
    account = people.create_service_key(penguins.otters, "ci")[0].user
    said = Visitor(penguins.ada).told("/teams/penguins/members/", username=account.username, role="admin")
    assert said == [f"There is no user “{account.username}”."]


def test_who_leaves_by_their_own_hand_comes_to_their_profile(penguins: Cast) -> None:
    people.set_member(penguins.team, penguins.max, role=Role.ADMIN)
    mine = Member.objects.get(team=penguins.team, user=penguins.ada)
    answer = Visitor(penguins.ada).submits(f"/teams/penguins/members/{mine.pk}/remove/")
    assert answer.headers["Location"] == "/profile/"


def test_a_service_key_of_the_team_is_shown_once_to_its_admin(penguins: Cast) -> None:
    ada = Visitor(penguins.ada)
    page = ada.submits("/teams/penguins/", name="CI").content.decode()
    (key,) = set(KEY.findall(page))
    assert Api(key=key).get("me/").json["teams"][0]["team_name"] == "penguins"
    page = ada.sees("/teams/penguins/")
    assert not KEY.search(page)
    assert "service account" in page
    assert key[:8] not in Visitor(penguins.max).sees("/teams/penguins/")
    row = ApiKey.objects.get(team=penguins.team)
    assert ada.told(f"/teams/penguins/keys/{row.pk}/revoke/") == ["The key “CI” is revoked."]
    assert Api(key=key).get("me/").status == 401


def test_names_of_keys_stay_text(penguins: Cast) -> None:
    ada = Visitor(penguins.ada)
    for place in ("/profile/", "/teams/penguins/"):
        for page in (ada.submits(place, name=MARKUP).content.decode(), ada.sees(place)):
            assert_only_text(page)
            assert "&lt;script&gt;document" in page
    page = ada.client.post("/teams/penguins/members/", {"username": MARKUP, "role": "x"}, follow=True)
    assert_only_text(page.content.decode())


def test_ten_members_and_keys_take_as_many_questions_as_one(penguins: Cast) -> None:
    ada = Visitor(penguins.ada)

    def grow(number: int) -> None:
        people.set_member(penguins.team, cast.person(f"person{number}"), role=Role.MEMBER)
        people.set_member(people.create_team(f"team{number}"), penguins.ada, role=Role.VIEWER)
        people.create_key(penguins.ada, f"key {number}")
        people.create_service_key(penguins.team, f"service {number}")

    grow(0)
    places = ("/teams/penguins/", "/profile/")
    before = {place: (ada.queries(place), len(ada.sees(place))) for place in places}
    for number in range(1, 10):
        grow(number)
    for place, (queries, length) in before.items():
        assert len(ada.sees(place)) > length
        assert ada.queries(place) == queries
