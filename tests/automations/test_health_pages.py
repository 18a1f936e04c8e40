"""What `/healthz`, `/metrics` and `/status/` tell, and whom."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from automations.actions.base import ACTIONS, Outcome
from automations.health import recent, stages
from automations.health.stages import Health
from automations.models import Delivery, Event, Integration
from automations.services import canary, targets
from automations.sweep import sweep
from runs.models import Role, User
from runs.services import people
from tests import cast
from tests.cast import Cast, Clock, log, new_run, person, rule, secret, sends, threshold
from tests.furniture import staff, superuser

pytestmark = pytest.mark.django_db

TOKEN = "a-token-of-32-characters-at-least"
ELSEWHERE = "203.0.113.7"


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    stages.forget()
    yield
    stages.forget()


@pytest.fixture(autouse=True)
def _settled(settings: Settings, clock: Clock, db: None) -> None:
    """Somebody sweeps, and no canary is sent."""
    settings.TRIPLINE_CANARY_EVERY = 0
    settings.TRIPLINE_BASE_URL = "http://127.0.0.1:8000"
    sweep()


def healthz() -> tuple[int, dict[str, Any]]:
    stages.forget()
    answer = Client().get("/healthz")
    return answer.status_code, answer.json()


# --- /healthz ---------------------------------------------------------------------------------------


def test_healthz_is_200_without_a_login_and_says_all_stages() -> None:
    status, found = healthz()
    assert (status, found["state"]) == (200, "green")
    assert list(found["stages"]) == list(stages.STAGES)
    for stage in found["stages"].values():
        assert set(stage) == {"state", "age_seconds", "sentence"}
        assert stage["sentence"].endswith(".")


def test_healthz_is_503_when_a_stage_stands_still(clock: Clock) -> None:
    clock.move(seconds=31)
    status, found = healthz()
    assert (status, found["state"]) == (503, "red")
    assert found["stages"]["sweeping"] == {
        "state": "red",
        "age_seconds": 31,
        "sentence": "Nobody has swept for 31 s: celery beat, the broker or the workers stand still.",
    }


def test_what_is_red_does_not_fill_the_log(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    clock.move(seconds=31)
    assert [healthz()[0] for _probe in range(3)] == [503] * 3
    assert caplog.records == []


def test_healthz_is_503_when_the_database_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Any:
        raise OperationalError("password authentication failed for user tripline at 10.0.0.9")

    monkeypatch.setattr("runs.clock.now", refuse)
    status, found = healthz()
    assert (status, found["stages"]["accepting"]["state"]) == (503, "red")
    assert "10.0.0.9" not in str(found)


def test_what_is_not_known_yet_is_no_alarm(settings: Settings) -> None:
    settings.TRIPLINE_CANARY_EVERY = 30
    status, found = healthz()
    assert (status, found["state"]) == (200, "unknown")


def trouble(penguins: Cast) -> Integration:
    """A message to an integration of the penguins that stands still in every way a page could name."""
    token = secret(penguins.team, "TOKEN", "fish-for-breakfast")
    hook = cast.webhook(penguins.team, "https://penguin.example/s3cret", name="iceberg", access_token=token)
    rule(penguins.project, "run_metric_threshold", threshold(), name="krill", actions=sends(hook))
    log(new_run(penguins.project, name="waddling"), "loss", [0.9])
    cast.decide()
    return hook


def test_healthz_names_nothing_of_anybodys(penguins: Cast, clock: Clock) -> None:
    trouble(penguins)
    clock.move(minutes=10)
    status, found = healthz()
    assert status == 503
    assert found["stages"]["delivering"]["state"] == "red"
    words = ["penguins", "waddle", "iceberg", "penguin.example", "s3cret", "krill", "waddling", "ada", "fish"]
    assert [word for word in words if word in str(found)] == []


def test_healthz_of_an_unreachable_inbox_names_no_address(settings: Settings, clock: Clock) -> None:
    settings.TRIPLINE_CANARY_EVERY = 30
    settings.TRIPLINE_BASE_URL = "http://internal.invalid:8000"
    canary.send()
    cast.decide()
    delivery = Delivery.objects.get()
    delivery.attempts.create(
        number=1, started_at=clock(), duration=0.1, error="internal.invalid leads to 10.0.0.9 (private)."
    )
    clock.move(seconds=31)
    sweep()
    status, found = healthz()
    assert status == 503
    assert found["stages"]["receiving"]["state"] == "red"
    assert "internal" not in str(found)
    assert "10.0.0.9" not in str(found)
    root = Client()
    root.force_login(superuser(person("root")))
    assert "10.0.0.9" in root.get("/status/").content.decode()


def test_both_spellings_are_answered_and_nothing_is_stored() -> None:
    for path in ("/healthz", "/healthz/"):
        answer = Client().get(path)
        assert answer.status_code == 200
        assert "no-store" in answer["Cache-Control"]
    assert Client().post("/healthz").status_code == 405


def test_pages_in_a_row_look_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Health] = []
    look = stages.look

    def counted() -> Health:
        looks.append(look())
        return looks[-1]

    monkeypatch.setattr(stages, "look", counted)
    for _request in range(5):
        Client().get("/healthz")
    assert len(looks) == 1


# --- /metrics: what --------------------------------------------------------------------------------


Samples = dict[tuple[str, str], float]


def scrape() -> Samples:
    """Every sample, by its name and the value of its only label (or "")."""
    answer = Client().get("/metrics")
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"].startswith("text/plain; version=")
    found = {}
    for family in text_string_to_metric_families(answer.content.decode()):
        for sample in family.samples:
            label = "/".join(sample.labels.values()) if family.name != "tripline_build_info" else ""
            assert (sample.name, label) not in found
            found[sample.name, label] = sample.value
    return found


def test_an_empty_installation_has_metrics() -> None:
    found = scrape()
    assert found["tripline_build_info", ""] == 1
    assert found["tripline_stage_state", "deciding/green"] == 1
    assert found["tripline_stage_state", "deciding/red"] == 0
    for queue in ("lanes", "events", "due", "abandoned", "later", "held"):
        assert found["tripline_backlog", queue] == 0
        assert found["tripline_backlog_oldest_age_seconds", queue] == 0
    assert found["tripline_sweep_age_seconds", ""] == 0


def test_the_figures_are_those_of_the_rows(penguins: Cast, clock: Clock) -> None:
    hook = cast.webhook(penguins.team, "https://example.com/hook")
    rule(penguins.project, "run_metric_threshold", threshold(), actions=sends(hook))
    runs = [new_run(penguins.project) for _n in range(3)]
    cast.decide()
    clock.move(minutes=10)  # what was before is no longer lately
    for run in runs[:2]:
        log(run, "loss", [0.9])
    clock.move(seconds=2)
    cast.decide()
    log(runs[2], "loss", [0.9])
    clock.move(seconds=3)
    first, second = Delivery.objects.order_by("pk")
    first.attempts.create(number=1, started_at=clock(), duration=0.1, status_code=503)
    Delivery.objects.filter(pk=first.pk).update(next_at=clock.moment.replace(hour=23), tries=1)
    second.attempts.create(number=1, started_at=clock(), duration=0.1, status_code=200)
    Delivery.objects.filter(pk=second.pk).update(
        state="succeeded", next_at=None, finished_at=clock.move(seconds=1)
    )
    targets.set_integration_enabled(
        cast.webhook(penguins.team, "https://example.com/x", name="x"), enabled=False
    )
    found = scrape()
    assert found["tripline_backlog", "lanes"] == 1
    assert found["tripline_backlog_oldest_age_seconds", "lanes"] == 4
    assert found["tripline_backlog", "later"] == 1
    assert found["tripline_decision_latency_seconds", "1"] == 2
    assert found["tripline_first_attempt_latency_seconds", "0.5"] == 3
    assert found["tripline_success_latency_seconds", "0.99"] == 4
    assert found["tripline_recent_attempts", "5xx"] == found["tripline_recent_attempts", "succeeded"] == 1
    assert found["tripline_recent_deliveries", "pending"] == 1
    assert found["tripline_recent_rows", "deliveries"] == 2
    assert found["tripline_recent_window_seconds", "deliveries"] == 300
    assert found["tripline_integrations_disabled", ""] == 1


def test_the_window_is_as_long_as_the_rows_reach(
    penguins: Cast, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "LOOK_AT", 10)
    for _second in range(20):
        new_run(penguins.project)
        cast.decide()
        clock.move(seconds=1)
    assert Event.objects.count() == 20
    found = scrape()
    assert found["tripline_recent_rows", "events"] == 10
    assert found["tripline_recent_window_seconds", "events"] == 10


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([3.0], 0.5, 3.0),
        ([1.0, 2.0], 0.5, 1.0),
        ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0),
        (list(map(float, range(1, 101))), 0.99, 99.0),
        (list(map(float, range(1, 101))), 1.0, 100.0),
    ],
)
def test_quantiles(values: list[float], share: float, expected: float) -> None:
    assert recent.quantile(values, share) == expected


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (200, "", "succeeded"),
        (204, "", "succeeded"),
        (None, "", "succeeded"),
        (None, "no route", "no_answer"),
        (302, "", "3xx"),
        (404, "", "4xx"),
        (500, "", "5xx"),
    ],
)
def test_outcomes(status: int | None, error: str, expected: str) -> None:
    assert recent.outcome(status, error) == expected


# --- /metrics: whom ---------------------------------------------------------------------------------


def asked(
    client: Client | None = None, *, by: str = "127.0.0.1", token: str = "", forwarded: str = ""
) -> int:
    """The status that a scraper at this address gets."""
    headers = {"Authorization": token, "X-Forwarded-For": forwarded}
    given = {name: value for name, value in headers.items() if value}
    answer = (client or Client()).get("/metrics", headers=given, REMOTE_ADDR=by)
    if answer.status_code != 200:
        assert answer.content.decode().strip().endswith("."), "a sentence"
        assert b"tripline_" not in answer.content
    return answer.status_code


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def key_of(user: User) -> str:
    return f"Bearer {people.create_key(user, 'scraper')[1]}"


def test_without_a_token_this_machine_and_staff_may_scrape(penguins: Cast) -> None:
    root = superuser(person("root"))
    operator = staff(person("operator"))
    table = {
        "this machine": (asked(), 200),
        "this machine by IPv6": (asked(by="::1"), 200),
        "somebody else": (asked(by=ELSEWHERE), 403),
        "a proxy on this machine": (asked(forwarded=ELSEWHERE), 403),
        "no address (a socket)": (asked(by=""), 403),
        "a superuser": (asked(signed_in(root), by=ELSEWHERE), 200),
        "a member": (asked(signed_in(penguins.ada), by=ELSEWHERE), 403),
        "staff by key": (asked(token=key_of(operator), by=ELSEWHERE), 200),
        "a member by key": (asked(token=key_of(penguins.ada), by=ELSEWHERE), 403),
        "an unknown key": (asked(token="Bearer tl-nothing", by=ELSEWHERE), 403),
    }
    assert {who: status for who, (status, _expected) in table.items()} == {
        who: expected for who, (_status, expected) in table.items()
    }


def test_where_people_come_by_another_address_loopback_may_be_their_proxy(settings: Settings) -> None:
    settings.TRIPLINE_BASE_URL = "https://tripline.example.com"
    assert asked() == 403


def test_a_token_is_asked_of_everybody(settings: Settings, penguins: Cast) -> None:
    settings.TRIPLINE_METRICS_TOKEN = TOKEN
    root = superuser(person("root"))
    assert asked(token=f"Bearer {TOKEN}", by=ELSEWHERE) == 200
    for token in ("", "Bearer ", f"Bearer {TOKEN}x", TOKEN, "Bearer ä", key_of(root)):
        assert asked(token=token) == 403, token
    assert asked(signed_in(root)) == 403


def test_no_canary_and_no_name_is_in_the_metrics(penguins: Cast) -> None:
    trouble(penguins)
    canary.make()
    text = Client().get("/metrics").content.decode()
    assert "tripline_backlog" in text
    assert re.findall("penguin|iceberg|krill|waddl|canary-", text) == []


# --- /status/ ---------------------------------------------------------------------------------------


def page(user: User) -> str:
    answer = signed_in(user).get("/status/")
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", answer.content.decode()))


def test_the_page_is_for_people_who_signed_in(penguins: Cast) -> None:
    assert Client().get("/status/")["Location"] == "/accounts/login/?next=/status/"
    text = page(penguins.vera)
    assert "Everything moves" in text
    assert "None is disabled, and none is failing." in text


def test_red_is_said_in_words_and_marked_in_every_header(penguins: Cast, clock: Clock) -> None:
    vera = signed_in(penguins.vera)
    assert "something stands still" not in vera.get("/").content.decode()
    clock.move(seconds=31)
    stages.forget()
    assert "Something stands still: Sweeping" in page(penguins.vera)
    assert 'aria-label="something stands still"' in vera.get("/").content.decode()


def test_a_disabled_integration_is_shown_to_its_team_alone(penguins: Cast) -> None:
    hook = trouble(penguins)
    targets.set_integration_enabled(hook, enabled=False, reason="It answered 410 <b>Gone</b>.")
    Delivery.objects.update(state="held")
    staff(penguins.ada)
    for user in (penguins.ada, penguins.vera):
        html = signed_in(user).get("/status/").content.decode()
        assert "penguins / iceberg" in html
        assert "It answered 410 &lt;b&gt;Gone&lt;/b&gt;." in html
        assert "1 message waits." in html
    where = f"/admin/automations/integration/{hook.pk}/change/"
    assert where in signed_in(penguins.ada).get("/status/").content.decode()
    assert signed_in(penguins.ada).get(where).status_code == 200
    html = signed_in(penguins.vera).get("/status/").content.decode()
    assert where not in html
    assert f"POST /api/v1/integrations/{hook.pk}/enable/" in html
    assert "iceberg" not in page(penguins.otto)


def test_a_failing_integration_is_shown_with_what_it_answered(
    penguins: Cast, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble(penguins)
    send = ACTIONS["webhook"]
    monkeypatch.setattr(send, "send", lambda _delivery: Outcome(ok=False, status=503))
    cast.deliver()
    text = page(penguins.max)
    assert "penguins / iceberg ! failing It answered with status 503." in text
    assert "iceberg" not in page(penguins.otto)
    monkeypatch.setattr(send, "send", lambda _delivery: Outcome(ok=True, status=200))
    clock.move(seconds=6)
    cast.deliver()
    assert "iceberg" not in page(penguins.max)


def test_a_superuser_is_not_shown_the_canarys_own(penguins: Cast, settings: Settings, clock: Clock) -> None:
    people.set_member(penguins.team, superuser(person("root")), role=Role.MEMBER)
    targets.set_integration_enabled(canary.make().integration, enabled=False)
    assert "None is disabled, and none is failing." in page(User.objects.get(username="root"))


def test_the_last_canaries_are_listed(penguins: Cast, settings: Settings, clock: Clock) -> None:
    settings.TRIPLINE_CANARY_EVERY = 30
    canary.send()
    clock.move(seconds=0.5)
    cast.decide()
    clock.move(seconds=31)
    sweep()
    text = page(penguins.vera)
    assert "Something stands still: Delivering" in text
    assert "Decided 500 ms Tried – Received –" in text
