"""What automations did: read, filtered, paged, and what failed sent again."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from automations import fired, notices, trial
from automations.models import Attempt, Automation, Delivery, DeliveryState, Execution, Mode
from automations.services import rules
from runs import clock
from tests import cast
from tests.api.house import House, furnish
from tests.cast import Cast
from tests.pages.visitors import Visitor

pytestmark = pytest.mark.django_db


@pytest.fixture
def ours(penguins: Cast) -> House:
    """One of everything; its rule fired, and the message finally failed."""
    return furnish(penguins.team, penguins.ada, "penguin")


# --- Sending again --------------------------------------------------------------------------------


def test_a_member_sends_again_what_finally_failed_and_a_viewer_does_not(penguins: Cast, ours: House) -> None:
    Delivery.objects.filter(pk=ours.delivery.pk).update(body="{}")
    place = f"/executions/{ours.execution.pk}/redeliver/"
    assert Visitor(penguins.vera).submits(place).status_code == 403
    assert Visitor(penguins.otto).submits(place).status_code == 404
    assert Delivery.objects.get(pk=ours.delivery.pk).state == DeliveryState.FAILED
    assert Visitor(penguins.max).told(place) == ["1 message is sent again."]
    assert Delivery.objects.get(pk=ours.delivery.pk).state == DeliveryState.PENDING
    assert Visitor(penguins.max).told(place) == ["Nothing has finally failed, so nothing is sent again."]


def test_each_try_shows_what_was_sent_and_answered(penguins: Cast, ours: House) -> None:
    Attempt.objects.filter(delivery=ours.delivery).delete()
    Attempt.objects.create(
        delivery=ours.delivery,
        number=1,
        started_at=clock.now(),
        duration=1.25,
        status_code=502,
        request={"method": "POST", "headers": {"Authorization": "[redacted]"}, "body": '{"a":1}'},
        response='{"error":"bad gateway"}',
    )
    Attempt.objects.create(
        delivery=ours.delivery, number=2, started_at=clock.now(), duration=10, error="It took too long."
    )
    page = Visitor(penguins.vera).sees(f"/executions/{ours.execution.pk}/")
    for shown in [
        "status 502",
        "1.2 s",
        "&quot;error&quot;: &quot;bad gateway&quot;",
        "&quot;Authorization&quot;: &quot;[redacted]&quot;",
        "&quot;a&quot;: 1",
        "It took too long.",
    ]:
        assert shown in page


@pytest.mark.parametrize(
    ("state", "next_in", "polls"),
    [
        (DeliveryState.PENDING, timedelta(0), True),
        (DeliveryState.PENDING, timedelta(seconds=30), True),
        (DeliveryState.PENDING, timedelta(hours=1), False),
        (DeliveryState.PENDING, None, False),  # it waits for the one before it, however long
        (DeliveryState.HELD, None, False),
        (DeliveryState.FAILED, None, False),
        (DeliveryState.SUCCEEDED, None, False),
    ],
)
def test_a_page_looks_again_only_while_something_is_on_its_way(
    penguins: Cast, ours: House, state: DeliveryState, next_in: timedelta | None, polls: bool
) -> None:
    next_at = None if next_in is None else clock.now() + next_in
    Delivery.objects.filter(pk=ours.delivery.pk).update(state=state, next_at=next_at)
    page = Visitor(penguins.vera).sees(f"/executions/{ours.execution.pk}/")
    assert ('hx-trigger="every' in page) == polls


# --- History --------------------------------------------------------------------------------------


@pytest.fixture
def week(penguins: Cast, clock: cast.Clock) -> dict[str, Automation]:
    """A run a day for a week, seven executions; every second is finished, the others shadows."""
    found = {
        "real": cast.rule(penguins.project, "run_status", {"statuses": ["running"]}, name="real"),
        "shadow": cast.rule(
            penguins.project, "run_status", {"statuses": ["failed"]}, name="shade", mode=Mode.SHADOW
        ),
    }
    for day in range(7):
        cast.new_run(penguins.project, name=f"exp-{day}", status=["running", "failed"][day % 2])  # type: ignore[arg-type]
        cast.decide()
        clock.move(hours=24)
    assert Execution.objects.count() == 7
    return found


@pytest.mark.parametrize(
    ("query", "days"),
    [
        ("", {0, 1, 2, 3, 4, 5, 6}),
        ("?state=shadow", {1, 3, 5}),
        ("?state=finished", {0, 2, 4, 6}),
        ("?state=failed", set()),
        ("?run=exp-3", {3}),
        ("?run=EXP", {0, 1, 2, 3, 4, 5, 6}),
        ("?run=exp-9", set()),
        ("?first=2026-09-05", {4, 5, 6}),
        ("?last=2026-09-02", {0, 1}),
        ("?first=2026-09-02&last=2026-09-03&state=shadow", {1}),
        ("?first=2026-09-03&last=2026-09-02", set()),
        ("?first=0001-01-01&last=9999-12-31", {0, 1, 2, 3, 4, 5, 6}),
    ],
)
def test_history_is_filtered_by_state_run_and_time(
    penguins: Cast, week: dict[str, Automation], query: str, days: set[int]
) -> None:
    for place in ("/executions/", "/penguins/waddle/automations/history/"):
        page = Visitor(penguins.vera).sees(place + query)
        assert {day for day in range(7) if f">exp-{day}<" in page} == days


# A run a day, at noon by UTC: in Auckland that is the beginning of the next day, in Honolulu still night.
@pytest.mark.parametrize(
    ("zone", "label", "first_of_september", "second_of_september"),
    [
        ("", "UTC", {0}, {1}),
        ("Pacific/Honolulu", "Pacific/Honolulu", {0}, {1}),
        ("Pacific%2FAuckland", "Pacific/Auckland", set(), {0}),
        ("Moon/Tranquility", "UTC", {0}, {1}),
        ("../../etc/passwd", "UTC", {0}, {1}),
    ],
)
def test_days_are_the_readers(
    penguins: Cast,
    week: dict[str, Automation],
    zone: str,
    label: str,
    first_of_september: set[int],
    second_of_september: set[int],
) -> None:
    vera = Visitor(penguins.vera)
    vera.client.cookies["zone"] = zone
    for day, runs in ((1, first_of_september), (2, second_of_september)):
        page = vera.sees(f"/executions/?first=2026-09-0{day}&last=2026-09-0{day}")
        assert f"From day ({label})" in page
        assert {run for run in range(7) if f">exp-{run}<" in page} == runs
        assert re.findall(r"<h2>(.*)</h2>", page) == [f"Sept. {day}, 2026"] * len(runs)


def test_history_is_told_day_by_day_the_newest_first(penguins: Cast, week: dict[str, Automation]) -> None:
    cast.new_run(penguins.project, name="exp-7")
    cast.new_run(penguins.project, name="exp-8")
    cast.decide()
    page = Visitor(penguins.vera).sees("/executions/")
    told = re.findall(r"<h2>Sept. (\d), 2026</h2>|>exp-(\d)<", page)
    assert told[:5] == [("8", ""), ("", "8"), ("", "7"), ("7", ""), ("", "6")]
    assert len([day for day, _run in told if day]) == 8


@pytest.mark.parametrize(
    "query", ["?state=eaten", "?first=yesterday", "?last=2026-13-01", f"?run={'x' * 251}"]
)
def test_a_filter_that_cannot_be_read_says_so(
    penguins: Cast, week: dict[str, Automation], query: str
) -> None:
    page = Visitor(penguins.vera).sees(f"/executions/{query}")
    assert 'class="problem"' in page


@pytest.mark.parametrize("automation", ["x", "-1", "", "999999", "9" * 30])
def test_the_history_of_no_automation_is_not_there(penguins: Cast, automation: str) -> None:
    assert Visitor(penguins.vera).status(f"/executions/?automation={automation}") == 404


def test_history_comes_in_pages_that_keep_the_filter(
    penguins: Cast, week: dict[str, Automation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runs.keyset.page.__kwdefaults__", {"by": "pk", "size": 3})
    vera, seen = Visitor(penguins.vera), []
    query: str | None = "?state=finished"
    while query:
        page = vera.sees(f"/executions/{query}")
        seen.append([day for day in range(7) if f">exp-{day}<" in page])
        older = re.search(r'href="(\?[^"]*before=[^"]*)" rel="next"', page)
        query = older[1].replace("&amp;", "&") if older else None
        assert query is None or "state=finished" in query
    assert seen == [[2, 4, 6], [0]]
    newer = re.search(r'href="(\?[^"]*after=[^"]*)" rel="prev"', page)
    assert newer is not None
    page = vera.sees("/executions/" + newer[1].replace("&amp;", "&"))
    assert [day for day in range(7) if f">exp-{day}<" in page] == [2, 4, 6]
    assert 'rel="prev"' not in page


def test_history_stays_when_the_rule_and_the_run_are_gone(
    penguins: Cast, week: dict[str, Automation], monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = Execution.objects.get(run__name="exp-2")
    rules.delete_automation(week["real"])
    assert execution.run is not None
    execution.run.deleted_at = clock.now()
    execution.run.save()
    page = Visitor(penguins.vera).sees(f"/executions/{execution.pk}/")
    assert "real" in page
    assert "exp-2" in page
    assert execution.run.page not in page  # it leads nowhere


@pytest.mark.usefixtures("loopback")
def test_what_no_rule_decided_has_its_page_too(penguins: Cast, httpserver: HTTPServer) -> None:
    """A message sent to try an integration, and that Tripline disabled one."""
    httpserver.expect_request("/hook").respond_with_data("thanks")
    hook = cast.webhook(penguins.team, httpserver.url_for("/hook"), name="penguin-hook")
    trial.try_integration(hook, actor=penguins.max)
    tried = Execution.objects.latest("pk")
    page = Visitor(penguins.vera).sees(f"/executions/{tried.pk}/")
    assert "An integration is tried by hand" in page
    assert "max tried the integration penguin-hook" in page
    assert "thanks" in page
    notices.integration_disabled(hook, clock.now())
    told = Execution.objects.latest("pk")
    assert told != tried
    assert "An integration is disabled" in Visitor(penguins.vera).sees(f"/executions/{told.pk}/")
    assert Visitor(penguins.otto).status(f"/executions/{told.pk}/") == 404


def test_what_happened_in_a_project_is_found_without_its_event(penguins: Cast, ours: House) -> None:
    """Events are pruned after a month; the run, or the rule, still says where it was."""
    Execution.objects.filter(pk=ours.execution.pk).update(event=None)
    found: Any = fired.in_project(Execution.objects.all(), ours.project)
    assert [each.pk for each in found] == [ours.execution.pk]
    assert not fired.in_project(Execution.objects.all(), penguins.project)
