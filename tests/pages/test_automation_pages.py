"""Automations and what they did: who sees and does what, filters, pages, and that it all stays text."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from automations import fired, notices, trial
from automations.models import Attempt, Automation, Delivery, DeliveryState, Execution, Inbox, Mode
from automations.services import rules, targets
from registry.services.versions import create_version, link_version
from runs import clock
from tests import cast
from tests.api.house import House, furnish, superuser
from tests.cast import Cast
from tests.furniture import staff
from tests.pages.visitors import MARKUP, Visitor, assert_only_text

pytestmark = pytest.mark.django_db

PLACES = [
    "/automations/{automation}/",
    "/executions/{execution}/",
    "/executions/?automation={automation}",
    "/penguins/penguin-project/automations/",
    "/penguins/penguin-project/automations/history/",
    "/registries/penguin-registry/automations/",
    "/registries/penguin-registry/automations/history/",
]


@pytest.fixture
def ours(penguins: Cast) -> House:
    """One of everything; its rule fired, and the message finally failed."""
    return furnish(penguins.team, penguins.ada, "penguin")


def _place(place: str, ours: House) -> str:
    return place.format(automation=ours.automation.pk, execution=ours.execution.pk)


# --- Who sees what --------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_pages_are_for_those_who_see_the_thing(penguins: Cast, ours: House, place: str) -> None:
    place = _place(place, ours)
    assert Visitor().status(place) == 302  # to the sign-in page
    assert "penguin" in Visitor(penguins.ada).sees(place)
    assert Visitor(penguins.otto).status(place) == 404


def test_the_lists_of_everything_leave_out_what_one_may_not_see(penguins: Cast, ours: House) -> None:
    for place in ("/automations/", "/executions/", "/"):
        assert "penguin-rule" in Visitor(penguins.vera).sees(place)
        assert "penguin-rule" not in Visitor(penguins.otto).sees(place)


def test_a_project_shows_every_rule_that_can_fire_in_it(penguins: Cast, ours: House) -> None:
    """Its own, its collections', its team's and the organization's; not those of another project."""
    from runs.services.projects import create_project

    cast.rule(ours.collection, "version_added", {}, name="of the collection")
    cast.rule(penguins.team, "run_status", {"statuses": ["failed"]}, name="of the team")
    cast.rule(penguins.organization, "run_status", {"statuses": ["failed"]}, name="of everything")
    cast.rule(create_project(penguins.team, "other"), "version_added", {}, name="of another project")
    cast.rule(ours.registry, "version_linked", {}, name="of the registry")
    page = Visitor(penguins.vera).sees("/penguins/penguin-project/automations/")
    for shown in ["penguin-rule", "of the collection", "of the team", "of everything"]:
        assert shown in page
    assert "of another project" not in page
    assert "of the registry" not in page
    page = Visitor(penguins.ada).sees("/registries/penguin-registry/automations/")
    assert "of the registry" in page
    assert "of everything" in page
    assert "of the team" not in page


def test_a_rule_of_the_whole_organization_shows_each_reader_their_own_history(
    penguins: Cast, ours: House
) -> None:
    everywhere = cast.rule(penguins.organization, "run_status", {"statuses": ["running"]}, name="everywhere")
    theirs = cast.create_project(penguins.otters, "dive")
    cast.new_run(theirs, name="otter-dive")
    cast.decide()
    place = f"/automations/{everywhere.pk}/"
    assert "otter-dive" in Visitor(penguins.otto).sees(place)
    page = Visitor(penguins.vera).sees(place)
    assert "otter-dive" not in page
    assert "never fired" in Visitor(penguins.vera).sees("/automations/")


def test_the_rule_the_explanation_and_the_messages_are_told(penguins: Cast, ours: House) -> None:
    page = Visitor(penguins.vera).sees(f"/automations/{ours.automation.pk}/")
    assert "When a run changes to finished, in project penguins/penguin-project: Webhook to" in page
    assert "the run changed from running to finished" in page
    assert f"/executions/{ours.execution.pk}/" in page


def test_what_is_disabled_or_failing_is_said_in_the_list(penguins: Cast, ours: House) -> None:
    place = "/penguins/penguin-project/automations/"
    assert "penguin-hook: working" in Visitor(penguins.vera).sees(place)
    targets.set_integration_enabled(ours.integration, enabled=False, reason="It answered 410 Gone.")
    for page in (place, f"/automations/{ours.automation.pk}/"):
        assert "It answered 410 Gone." in Visitor(penguins.vera).sees(page)


# --- Switching ------------------------------------------------------------------------------------


def _mode(ours: House) -> str:
    return Automation.objects.get(pk=ours.automation.pk).mode


@pytest.mark.parametrize(
    ("fields", "mode"),
    [
        ({"mode": "disabled"}, Mode.DISABLED),
        ({"mode": "shadow"}, Mode.SHADOW),
        ({"mode": "muted", "hours": "8"}, Mode.MUTED),
    ],
)
def test_members_switch_a_rule_and_viewers_do_not(
    penguins: Cast, ours: House, fields: dict[str, str], mode: Mode
) -> None:
    place = f"/automations/{ours.automation.pk}/mode/"
    assert Visitor(penguins.vera).submits(place, **fields).status_code == 403
    assert Visitor(penguins.otto).submits(place, **fields).status_code == 404
    assert Visitor().submits(place, **fields).status_code == 302
    assert _mode(ours) == Mode.ACTIVE
    assert len(Visitor(penguins.max).told(place, **fields)) == 1
    assert _mode(ours) == mode
    assert len(Visitor(penguins.max).told(place, mode="active")) == 1
    assert _mode(ours) == Mode.ACTIVE


def test_a_mute_ends_by_itself(penguins: Cast, ours: House, clock: cast.Clock) -> None:
    max_ = Visitor(penguins.max)
    max_.told(f"/automations/{ours.automation.pk}/mode/", mode="muted", hours="8")
    place = f"/automations/{ours.automation.pk}/"
    assert Automation.objects.get(pk=ours.automation.pk).muted_until == clock() + timedelta(hours=8)
    assert "Muted until" in max_.sees(place)
    clock.move(hours=8)
    page = max_.sees(place)
    assert "Muted until" not in page
    assert ">Active<" in page


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"mode": "off"},
        {"mode": "muted"},
        {"mode": "muted", "hours": "x"},
        {"mode": "muted", "hours": "5"},
    ],
)
def test_nonsense_changes_nothing(penguins: Cast, ours: House, fields: dict[str, str]) -> None:
    said = Visitor(penguins.max).told(f"/automations/{ours.automation.pk}/mode/", **fields)
    assert said == ["Choose one of the modes."]
    assert _mode(ours) == Mode.ACTIVE


def test_a_test_is_fired_by_hand_and_leads_to_its_execution(penguins: Cast, ours: House) -> None:
    place = f"/automations/{ours.automation.pk}/test/"
    before = Execution.objects.count()
    assert Visitor(penguins.vera).submits(place).status_code == 403
    assert Execution.objects.count() == before
    answer = Visitor(penguins.max).submits(place)
    made = Execution.objects.get(is_test=True)
    assert answer.headers["Location"] == f"/executions/{made.pk}/"
    assert "fired by hand by max, as a test" in Visitor(penguins.vera).sees(f"/executions/{made.pk}/")


def test_who_may_not_is_offered_nothing(penguins: Cast, ours: House) -> None:
    place, execution = f"/automations/{ours.automation.pk}/", f"/executions/{ours.execution.pk}/"
    staff(penguins.ada)
    assert "<form method=" in _main(Visitor(penguins.max).sees(place))
    assert "<form method=" not in _main(Visitor(penguins.vera).sees(place))
    edit = f"/admin/automations/automation/{ours.automation.pk}/change/"
    assert edit in Visitor(penguins.ada).sees(place)
    assert edit not in Visitor(penguins.max).sees(place)  # a member, but not staff
    assert "redeliver" in Visitor(penguins.max).sees(execution)
    assert "redeliver" not in Visitor(penguins.vera).sees(execution)


def _main(page: str) -> str:
    return page.partition("<main")[2]


def test_forms_carry_a_token_and_are_refused_without(penguins: Cast, ours: House) -> None:
    careful = Visitor(penguins.max, enforce_csrf_checks=True)
    for place in (
        f"/automations/{ours.automation.pk}/mode/",
        f"/automations/{ours.automation.pk}/test/",
        f"/executions/{ours.execution.pk}/redeliver/",
    ):
        assert careful.submits(place, mode="disabled").status_code == 403
        assert careful.status(place) == 405
    page = careful.sees(f"/automations/{ours.automation.pk}/")
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', _main(page))
    assert found is not None
    place = f"/automations/{ours.automation.pk}/mode/"
    assert careful.submits(place, mode="disabled", csrfmiddlewaretoken=found[1]).status_code == 302
    assert _mode(ours) == Mode.DISABLED


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


# --- Panels on other pages ------------------------------------------------------------------------


def test_runs_collections_and_versions_show_what_fired_for_them(penguins: Cast, ours: House) -> None:
    cast.rule(ours.collection, "version_added", {}, name="a new one")
    cast.rule(ours.registry, "alias_added", {"alias": "^production$"}, name="promoted")
    version, _new = create_version(ours.collection, actor=penguins.ada)
    link_version(ours.shelf, version, aliases=["production"], actor=penguins.ada)
    cast.decide()
    ada = Visitor(penguins.ada)
    expected = {
        ours.run.page: {"penguin-rule"},
        f"/artifacts/{ours.collection.pk}/": {"a new one"},
        f"/artifacts/{ours.collection.pk}/v1/": {"a new one", "promoted"},
        f"/artifacts/{ours.collection.pk}/v0/": set(),
        f"/artifacts/{ours.shelf.pk}/": {"promoted"},
        "/registries/penguin-registry/": {"promoted"},
        "/penguins/": {"penguin-rule", "a new one"},
        "/": {"penguin-rule", "a new one", "promoted"},
    }
    for place, names in expected.items():
        panel = ada.sees(place).partition("What fired lately")[2]
        assert {
            name for name in ("penguin-rule", "a new one", "promoted") if f">{name}<" in panel
        } == names, place
    # Vera is not in the restricted registry, and so learns nothing of its rule.
    assert "promoted" not in Visitor(penguins.vera).sees(f"/artifacts/{ours.collection.pk}/")


def test_the_search_finds_automations(penguins: Cast, ours: House) -> None:
    assert f"/automations/{ours.automation.pk}/" in Visitor(penguins.vera).sees("/search/?q=PENGUIN-r")
    assert f"/automations/{ours.automation.pk}/" not in Visitor(penguins.otto).sees("/search/?q=PENGUIN-r")


# --- Inboxes --------------------------------------------------------------------------------------


def test_the_list_of_inboxes_says_how_much_came_and_when(penguins: Cast, ours: House) -> None:
    assert "nothing yet" in Visitor(penguins.vera).sees("/inboxes/")
    for _n in range(2):
        targets.receive(ours.inbox, headers={}, body=b"{}")
    page = Visitor(penguins.vera).sees("/inboxes/")
    assert "2 requests" in page
    assert "penguin-inbox" not in Visitor(penguins.otto).sees("/inboxes/")
    assert Visitor(penguins.otto).status(f"/inboxes/{ours.inbox.pk}/") == 404


# --- Text stays text ------------------------------------------------------------------------------


def test_names_messages_and_answers_stay_text(penguins: Cast) -> None:
    hook = cast.webhook(penguins.team, "https://hooks.example.com/", name=MARKUP)
    rule = cast.rule(
        penguins.project,
        "run_metric_threshold",
        cast.threshold(metric=MARKUP, value=0.1, run_name="."),
        name=MARKUP,
        actions=cast.sends(hook, {MARKUP: "${run_name}"}),
    )
    Automation.objects.filter(pk=rule.pk).update(description=MARKUP)
    run = cast.new_run(penguins.project, name=MARKUP)
    cast.log(run, MARKUP, [0.5])
    cast.decide()
    delivery = Delivery.objects.get()
    Attempt.objects.create(
        delivery=delivery,
        number=1,
        started_at=clock.now(),
        duration=0.1,
        status_code=500,
        request={"body": MARKUP, "headers": {MARKUP: MARKUP}},
        response=MARKUP,
        error=MARKUP,
    )
    targets.set_integration_enabled(hook, enabled=False, reason=MARKUP)
    inbox = targets.save_inbox(Inbox(team=penguins.team, name=MARKUP))
    targets.receive(inbox, headers={MARKUP: MARKUP}, body=MARKUP.encode())
    ada = Visitor(penguins.ada)
    for place in [
        "/",
        "/automations/",
        f"/automations/{rule.pk}/",
        "/executions/",
        f"/executions/?run={MARKUP}",
        f"/executions/{Execution.objects.get().pk}/",
        "/penguins/waddle/automations/",
        "/penguins/waddle/automations/history/",
        run.page,
        "/search/?q=owned",
        "/inboxes/",
        f"/inboxes/{inbox.pk}/",
    ]:
        page = ada.sees(place)
        assert_only_text(page)
        assert "&lt;script&gt;document" in page  # it was there to be shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<b> fired at 2026-09-01T12:00:00+00:00", "&lt;b&gt; fired at <time"),
        ("at 2026-99-99T12:00:00+00:00", "at 2026-99-99T12:00:00+00:00"),
        ("at 0001-01-01T00:00:00+14:00", "at 0001-01-01T00:00:00+14:00"),
        ("2026-09-01T12:00:00.5+09:00", '<time datetime="2026-09-01T03:00:00.500000+00:00">'),
    ],
)
def test_moments_in_sentences_are_times(text: str, shown: str) -> None:
    from automations.templatetags.moments import with_times

    assert shown in with_times(text)


# --- Questions to the database --------------------------------------------------------------------


def _fired(penguins: Cast, ours: House, number: int) -> None:
    """One more rule with an integration, and one more run for which all of them fire."""
    hook = cast.webhook(penguins.team, "https://hooks.example.com/", name=f"hook {number}")
    actions = cast.sends(hook) * 2
    cast.rule(ours.project, "run_status", {"statuses": ["running"]}, name=f"rule {number}", actions=actions)
    cast.rule(ours.registry, "version_linked", {}, name=f"linked {number}", actions=actions)
    cast.new_run(ours.project, user=penguins.ada)
    version, _new = create_version(ours.collection, actor=penguins.ada)
    link_version(ours.shelf, version, actor=penguins.ada)
    cast.decide()


def _more_attempts(penguins: Cast, ours: House, number: int) -> None:
    extra = Delivery.objects.create(execution=ours.execution, type="webhook", created_at=clock.now())
    for delivery in (ours.delivery, extra):
        Attempt.objects.create(
            delivery=delivery, number=number + 1, started_at=clock.now(), duration=0.1, status_code=500
        )


def _received(penguins: Cast, ours: House, number: int) -> None:
    inbox = targets.save_inbox(Inbox(team=penguins.team, name=f"inbox {number}"))
    targets.receive(inbox, headers={}, body=b"{}")
    targets.receive(ours.inbox, headers={}, body=b"{}")


@pytest.mark.parametrize(
    ("place", "grow"),
    [
        ("/automations/", _fired),
        ("/executions/", _fired),
        ("/penguins/penguin-project/automations/", _fired),
        ("/penguins/penguin-project/automations/history/", _fired),
        ("/registries/penguin-registry/automations/", _fired),
        ("/registries/penguin-registry/automations/history/", _fired),
        ("/", _fired),
        ("/penguins/", _fired),
        ("/search/?q=rule", _fired),
        ("/executions/{execution}/", _more_attempts),
        ("/inboxes/", _received),
        ("/inboxes/{inbox}/", _received),
    ],
)
def test_ten_rows_take_as_many_questions_as_one(
    penguins: Cast, ours: House, place: str, grow: Callable[[Cast, House, int], object]
) -> None:
    ada = Visitor(penguins.ada)
    place = place.format(execution=ours.execution.pk, inbox=ours.inbox.pk)
    Attempt.objects.all().delete()
    grow(penguins, ours, 0)
    one, before = ada.queries(place), len(ada.sees(place))
    for number in range(1, 10):
        grow(penguins, ours, number)
    assert len(ada.sees(place)) > before  # they are really shown
    assert ada.queries(place) == one


def test_superusers_see_every_team_but_nothing_of_the_canary(penguins: Cast, ours: House) -> None:
    from automations.services import canary

    canary.send()
    cast.decide()
    root = Visitor(superuser())
    for place in ("/automations/", "/executions/", "/"):
        page = root.sees(place)
        assert "penguin-rule" in page
        assert "canary" not in page


def test_what_happened_in_a_project_is_found_without_its_event(penguins: Cast, ours: House) -> None:
    """Events are pruned after a month; the run, or the rule, still says where it was."""
    Execution.objects.filter(pk=ours.execution.pk).update(event=None)
    found: Any = fired.in_project(Execution.objects.all(), ours.project)
    assert [each.pk for each in found] == [ours.execution.pk]
    assert not fired.in_project(Execution.objects.all(), penguins.project)
    assert datetime.now(UTC) > ours.execution.created_at
