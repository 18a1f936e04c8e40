"""Automations and what they did: who sees and does what, and that it all stays text."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest

from automations.models import Attempt, Automation, Delivery, Execution, Inbox, Mode
from automations.services import canary, targets
from automations.templatetags.moments import with_times
from registry.services.versions import create_version, link_version
from runs import clock
from runs.services.projects import create_project
from tests import cast
from tests.api.house import House, furnish, superuser
from tests.cast import Cast
from tests.pages.visitors import MARKUP, Visitor, assert_only_text

pytestmark = [pytest.mark.django_db, pytest.mark.once]

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
    theirs = create_project(penguins.otters, "dive")
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
    assert "<form method=" in _main(Visitor(penguins.max).sees(place))
    assert "<form method=" not in _main(Visitor(penguins.vera).sees(place))
    assert f"{place}edit/" in Visitor(penguins.max).sees(place)
    assert f"{place}edit/" not in Visitor(penguins.vera).sees(place)
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
    assert ada.queries(place) <= one  # the newest runs are looked for once more while there are few


def test_superusers_see_every_team_but_nothing_of_the_canary(penguins: Cast, ours: House) -> None:
    canary.send()
    cast.decide()
    root = Visitor(superuser())
    for place in ("/automations/", "/executions/", "/"):
        page = root.sees(place)
        assert "penguin-rule" in page
        assert "canary" not in page
