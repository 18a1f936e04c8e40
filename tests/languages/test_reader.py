"""Whose language a page, an answer and an explanation are in."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.template.loader import render_to_string
from django.test import Client, RequestFactory
from django.utils import translation

from automations import disabling
from runs.models import User
from runs.services import people
from tests import cast
from tests.api.house import Api
from tests.cast import Cast

pytestmark = pytest.mark.django_db

ENGLISH, JAPANESE = "Sign out", "サインアウト"


def browser(user: User | None = None, *, asks: str = "") -> Client:
    found = Client(headers={"Accept-Language": asks} if asks else {})
    if user is not None:
        found.force_login(user)
    return found


# --- Pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asks", "chosen", "expected"),
    [
        ("", "", "en"),
        ("en-GB,en;q=0.9", "", "en"),
        ("ja", "", "ja"),
        ("ja-JP,ja;q=0.9,en;q=0.8", "", "ja"),
        ("fr,ja;q=0.5,en;q=0.4", "", "ja"),
        ("fr", "", "en"),
        ("nonsense;;q=?", "", "en"),
        ("en", "ja", "ja"),
        ("ja", "en", "en"),
        ("", "ja", "ja"),
    ],
)
def test_a_page_is_in_the_chosen_language_or_else_in_the_browsers(
    penguins: Cast, asks: str, chosen: str, expected: str
) -> None:
    people.set_language(penguins.ada, chosen)
    answer = browser(penguins.ada, asks=asks).get("/")
    page = answer.content.decode()
    assert f'<html lang="{expected}">' in page
    assert ((ENGLISH in page), (JAPANESE in page)) == (expected == "en", expected == "ja")
    assert answer.headers["Content-Language"] == expected
    assert {"Accept-Language", "Cookie"} <= {name.strip() for name in answer.headers["Vary"].split(",")}


@pytest.mark.parametrize(("asks", "expected"), [("ja", "サインイン"), ("en", "Sign in"), ("de", "Sign in")])
def test_who_has_not_signed_in_reads_what_the_browser_asks_for(db: None, asks: str, expected: str) -> None:
    answer = browser(asks=asks).get("/accounts/login/")
    assert f"<h1>{expected}</h1>" in answer.content.decode()
    assert "Accept-Language" in answer.headers["Vary"]


def test_one_readers_language_does_not_stay_for_the_next(penguins: Cast) -> None:
    people.set_language(penguins.ada, "ja")
    ada, max_ = browser(penguins.ada), browser(penguins.max)
    for _time in range(2):
        assert JAPANESE in ada.get("/").content.decode()
        assert ENGLISH in max_.get("/").content.decode()


def test_the_admin_is_in_the_chosen_language_too(penguins: Cast) -> None:
    people.set_language(penguins.ada, "ja")
    User.objects.filter(pk=penguins.ada.pk).update(is_staff=True)
    assert '<html lang="ja"' in browser(penguins.ada, asks="en").get("/admin/").content.decode()


# --- The choice -----------------------------------------------------------------------------------


@pytest.mark.parametrize("language", [*dict(settings.LANGUAGES), ""])
def test_a_person_chooses_the_language_on_their_profile(penguins: Cast, language: str) -> None:
    people.set_language(penguins.ada, "" if language else "ja")
    client = browser(penguins.ada, asks="en")
    answer = client.post("/profile/language/", {"language": language, "next": "/penguins/"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/penguins/")
    assert User.objects.get(pk=penguins.ada.pk).language == language
    assert f'<html lang="{language or "en"}">' in client.get("/").content.decode()
    # It goes with the person into every other browser.
    assert f'<html lang="{language or "ja"}">' in browser(penguins.ada, asks="ja").get("/").content.decode()


def test_a_language_that_does_not_exist_is_refused(penguins: Cast) -> None:
    people.set_language(penguins.ada, "ja")
    client = browser(penguins.ada)
    for language in ("de", "JA", "x" * 300, "ja\x00"):
        assert client.post("/profile/language/", {"language": language}).status_code == 302
        assert User.objects.get(pk=penguins.ada.pk).language == "ja"
    assert client.get("/profile/language/").status_code == 405


@pytest.mark.parametrize("place", ["https://example.com/", "//example.com/", "javascript:alert(1)", ""])
def test_choosing_leads_to_no_other_server(penguins: Cast, place: str) -> None:
    answer = browser(penguins.ada).post("/profile/language/", {"language": "ja", "next": place})
    assert answer.headers["Location"] == "/"


def test_a_stranger_chooses_nothing(penguins: Cast) -> None:
    answer = browser().post("/profile/language/", {"language": "ja"})
    assert answer.headers["Location"].startswith("/accounts/login/")


def test_the_form_offers_every_language_by_its_own_name(penguins: Cast) -> None:
    people.set_language(penguins.ada, "ja")
    request = RequestFactory().get("/profile/")
    request.user = penguins.ada
    page = render_to_string("runs/language_form.html", request=request)
    assert '<input type="hidden" name="next" value="/profile/">' in page
    assert '<option value="ja" lang="ja" selected>日本語</option>' in page
    assert '<option value="en" lang="en">English</option>' in page


# --- Programs -------------------------------------------------------------------------------------


def reason(api: Api, asks: str) -> str:
    headers = {"Accept-Language": asks} if asks else {}
    answer = api.ask("GET", "executions/", headers=headers)
    [execution] = answer.json["results"]
    text = str(execution["explanation"]["text"])
    assert answer.headers["Content-Language"] == ("ja" if "ステップ" in text else "en")
    return text


@pytest.mark.parametrize(
    ("asks", "chosen", "japanese"),
    [
        ("", "", False),
        ("ja", "", True),
        ("", "ja", True),
        # A program that asks does so on purpose.
        ("en", "ja", False),
        ("ja", "en", True),
    ],
)
def test_an_explanation_is_in_the_language_of_whoever_reads_it(
    penguins: Cast, asks: str, chosen: str, japanese: bool
) -> None:
    run = cast.new_run(penguins.project)
    cast.rule(penguins.project, "run_metric_threshold", cast.threshold(aggregation="average"))
    cast.log(run, "loss", [0.5, 0.6, 0.6, 0.6, 0.8], first_step=37)
    cast.decide()
    people.set_language(penguins.vera, chosen)
    expected = {
        True: "loss の直近 5 個の値の平均 = 0.62 > 0.6（ステップ 41）",
        False: "average of the last 5 values of loss = 0.62 > 0.6 at step 41",
    }
    assert reason(Api(penguins.vera), asks) == expected[japanese]
    # Nothing of the answer was kept for the next reader.
    assert reason(Api(penguins.max), "") == expected[False]


def test_why_an_integration_is_disabled_is_said_in_the_readers_language(penguins: Cast) -> None:
    hook = cast.webhook(penguins.team, "https://hooks.example.com/")
    Api(penguins.ada).post(f"integrations/{hook.pk}/disable/")
    reader = Api(penguins.vera)
    for asks, expected in (("en", "Disabled by ada."), ("ja", "ada が無効にしました。")):
        told = reader.ask("GET", f"integrations/{hook.pk}/", headers={"Accept-Language": asks})
        assert told.json["disabled_reason"] == expected


@pytest.mark.parametrize(
    ("code", "english", "japanese"),
    [
        ("gone", "It answered 410 Gone.", "410 Gone が返されました。"),
        ("silent:5", "Nothing arrived for 5 days.", "5 日間、1 件も届いていません。"),
        ("by:mo:on", "Disabled by mo:on.", "mo:on が無効にしました。"),
        ("", "", ""),
    ],
)
def test_a_stored_reason_is_a_code(code: str, english: str, japanese: str) -> None:
    with translation.override("en"):
        assert disabling.said(code) == english
    with translation.override("ja"):
        assert disabling.said(code) == japanese


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("runs/", {"project": "otters/x"}, "利用できるチーム「otters」はありません。"),
        ("runs/", {"project": "penguins/waddle", "nmae": 1}, "不明なフィールドです。"),
        ("runs/", {}, "このフィールドは必須です。"),
        ("teams/", {"name": "new"}, "スタッフだけが実行できます。"),
        ("runs/99/heartbeat/", {}, "見つかりません。"),
    ],
)
def test_a_refusal_is_in_the_readers_language(
    penguins: Cast, path: str, body: dict[str, Any], expected: str
) -> None:
    people.set_language(penguins.max, "ja")
    assert expected in Api(penguins.max).post(path, body).text


def test_who_has_no_key_is_told_so_in_the_language_asked_for(db: None) -> None:
    told = Api().ask("GET", "me/", headers={"Accept-Language": "ja"})
    assert (told.status, told.json) == (401, {"detail": "認証情報が含まれていません。"})


@pytest.mark.parametrize(
    ("asks", "expected"), [("ja", "NUL 文字は使えません。"), ("en", "NUL characters are not allowed.")]
)
def test_what_is_refused_at_the_door_is_in_the_language_asked_for(db: None, asks: str, expected: str) -> None:
    # Whatever the thread spoke before.
    with translation.override("en" if asks == "ja" else "ja"):
        told = Api().ask("GET", "runs/?name=%00", headers={"Accept-Language": asks})
    assert (told.status, told.json) == (400, {"name": [expected]})


def test_a_thread_speaks_afterwards_what_it_spoke_before(penguins: Cast) -> None:
    people.set_language(penguins.vera, "ja")
    for before in ("en", "ja"):
        with translation.override(before):
            assert Api(penguins.vera).post("runs/").json == {"project": ["このフィールドは必須です。"]}
            assert translation.get_language() == before
