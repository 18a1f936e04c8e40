"""Metrics calls with a key are answered by a shorter way; nobody can tell by what they are answered."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import LazySettings as Settings

from runs.api.runs import RunViewSet
from runs.models import MetricBatch, Run
from runs.services import runs
from tests.api.house import Answer, Api
from tests.cast import Cast, new_run

pytestmark = pytest.mark.django_db

POINTS = b'{"points":[{"step":1,"values":{"loss":0.5,"acc":"NaN"}},{"values":{"val":{"loss":1}}}]}'


@pytest.fixture
def run(penguins: Cast) -> Run:
    return new_run(penguins.project)


class LongWay:
    """Which calls went there."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def came(self) -> list[str]:
        calls, self.calls = self.calls, []
        return calls


@pytest.fixture
def long_way(monkeypatch: pytest.MonkeyPatch) -> LongWay:
    seen, initial = LongWay(), RunViewSet.initial

    def noted(view: RunViewSet, request: Any, *args: Any, **kwargs: Any) -> None:
        seen.calls.append(request.method)
        initial(view, request, *args, **kwargs)

    monkeypatch.setattr(RunViewSet, "initial", noted)
    return seen


@pytest.fixture
def only_long(settings: Settings) -> None:
    """For clients that are made from here on."""
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if not name.endswith(".ShortWay")]


def told(answer: Answer) -> tuple[int, Any, str | None]:
    return answer.status, answer.json, answer.headers.get("WWW-Authenticate")


def log(api: Api, run: Run, raw: bytes, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.ask("POST", f"runs/{run.pk}/metrics/", raw=raw, headers=named)


def test_what_is_accepted_takes_it(run: Run, max_: Api, long_way: LongWay) -> None:
    assert told(log(max_, run, POINTS)) == (202, {"accepted": 3, "duplicate": False}, None)
    once = [log(max_, run, POINTS, Idempotency_Key="once").json for _time in range(2)]
    assert once == [{"accepted": 3, "duplicate": False}, {"accepted": 3, "duplicate": True}]
    assert max_.ask("POST", f"runs/{run.pk}/metrics", raw=b'{"points":[]}').json["accepted"] == 0
    assert long_way.came() == []
    assert MetricBatch.objects.filter(run=run).count() == 2


@pytest.mark.usefixtures("only_long")
def test_without_it_the_same_is_answered(run: Run, max_: Api, long_way: LongWay) -> None:
    assert told(log(max_, run, POINTS)) == (202, {"accepted": 3, "duplicate": False}, None)
    assert log(max_, run, POINTS, Idempotency_Key="once").json == {"accepted": 3, "duplicate": False}
    assert log(max_, run, POINTS, Idempotency_Key="once").json == {"accepted": 3, "duplicate": True}
    assert long_way.came() == ["POST"] * 3


REFUSED: dict[str, tuple[int, bytes, dict[str, str]]] = {
    "no JSON": (400, b"{", {}),
    "no body": (400, b"", {}),
    "a null": (400, b'{"points":[{"values":{"a":1}},{"values":{"a":null}}]}', {}),
    "no step is left": (400, b'{"points":[{"step":9223372036854775807,"values":{}},{"values":{"a":1}}]}', {}),
    "an empty key": (400, POINTS, {"Idempotency_Key": ""}),
    "an unknown key": (401, POINTS, {"Authorization": "Bearer tl-nobody"}),
    "no key": (401, POINTS, {"Authorization": ""}),
    "another scheme": (401, POINTS, {"Authorization": "Basic dGw6dGw="}),
    "another host": (400, POINTS, {"Host": "evil.example"}),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_refusal_is_that_of_the_long_way(
    run: Run, penguins: Cast, max_: Api, request: pytest.FixtureRequest, why: str
) -> None:
    status, raw, headers = REFUSED[why]
    short = told(log(max_, run, raw, **headers))
    request.getfixturevalue("only_long")
    assert short == told(log(Api(penguins.max), run, raw, **headers))
    assert short[0] == status
    assert not MetricBatch.objects.exists()


def test_a_run_is_found_by_those_who_see_it_and_logged_to_by_members(
    run: Run, max_: Api, vera: Api, otto: Api, long_way: LongWay
) -> None:
    assert log(vera, run, POINTS).status == 403
    assert log(otto, run, POINTS).status == 404
    runs.delete_run(run)
    assert log(max_, run, POINTS).status == 404
    assert long_way.came() == ["POST"] * 3
    assert not MetricBatch.objects.exists()


def test_a_browser_goes_the_long_way_and_needs_a_token_of_ours(
    run: Run, penguins: Cast, long_way: LongWay
) -> None:
    browser = Api()
    browser._client.handler.enforce_csrf_checks = True
    browser._client.force_login(penguins.max)
    refused = log(browser, run, POINTS)
    assert (refused.status, long_way.came()) == (403, ["POST"])
    assert "CSRF" in refused.json["detail"]


def test_the_reader_s_language_is_heard(max_: Api) -> None:
    said = [
        max_.ask("POST", "runs/4711/metrics/", raw=POINTS, headers={"Accept-Language": language}).json
        for language in ("en", "ja", "en")
    ]
    assert said[0] == said[2] != said[1]
