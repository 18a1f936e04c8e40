"""The canary: made once, sent once per interval, seen by nobody, and not kept for long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from automations import access as automations_access
from automations.health import stages, trips
from automations.models import (
    Attempt,
    Automation,
    Delivery,
    Event,
    Execution,
    Inbox,
    InboxRequest,
    Integration,
)
from automations.services import canary, targets
from registry import access as registry_access
from runs import access
from runs.models import MetricBatch, MetricChunk, Organization, Project, Run, Team
from runs.services import people
from tests import cast
from tests.automations.plant import Plant, states
from tests.cast import Cast, Clock, at_once, person
from tests.furniture import superuser

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _every_30_seconds(settings: Settings) -> None:
    settings.TRIPLINE_CANARY_EVERY = 30


@pytest.fixture
def web(live_server: LiveServer, settings: Settings) -> str:
    settings.TRIPLINE_BASE_URL = live_server.url
    return live_server.url


def counts() -> dict[str, int]:
    models: list[Any] = [Organization, Team, Project, Inbox, Integration, Automation]
    return {model.__name__: model.objects.count() for model in models}


# --- What it consists of ----------------------------------------------------------------------------


def test_it_is_made_once(clock: Clock) -> None:
    first = canary.make()
    assert canary.make() == first
    assert set(counts().values()) == {1}
    assert first.organization.is_internal
    assert not first.project.team.members.exists()


@pytest.mark.django_db(transaction=True)
def test_many_who_make_it_at_once_make_one() -> None:
    made = at_once(6, lambda _n: canary.make())
    assert len({one.rule.pk for one in made}) == 1
    assert set(counts().values()) == {1}


def test_a_new_address_is_taken_over(settings: Settings, clock: Clock) -> None:
    settings.TRIPLINE_BASE_URL = "http://127.0.0.1:8001"
    before = canary.make().integration
    settings.TRIPLINE_BASE_URL = "https://tripline.example.com"
    after = canary.make().integration
    assert (before.pk, before.host, after.host) == (after.pk, "127.0.0.1:8001", "tripline.example.com")


def test_what_disabled_it_is_undone(clock: Clock) -> None:
    targets.set_integration_enabled(canary.make().integration, enabled=False, reason="gone")
    assert canary.make().integration.healthy


def test_names_that_people_took_are_in_nobodys_way(penguins: Cast, clock: Clock) -> None:
    south = Organization.objects.create(name="canary")
    people.create_team("canary", organization=south)
    assert canary.make().organization != south


def test_it_is_not_what_new_teams_belong_to(clock: Clock) -> None:
    """Where the canary is the first thing in the database."""
    internal = canary.make().organization
    assert Organization.default() != internal
    assert people.create_team("penguins").organization != internal


# --- One per interval -------------------------------------------------------------------------------


def test_however_many_send_it_one_goes_out_per_interval(clock: Clock) -> None:
    assert [canary.send() for _beat in range(3)] == [True, False, False]
    clock.move(seconds=30)
    assert [canary.send() for _beat in range(2)] == [True, False]
    assert MetricBatch.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_two_pools_at_the_same_moment_send_one(clock: Clock) -> None:
    assert sorted(at_once(4, lambda _n: canary.send())) == [False, False, False, True]


@pytest.mark.django_db(transaction=True)
def test_it_really_fires_into_the_inbox(web: str, clock: Clock) -> None:
    canary.send()
    cast.decide()
    clock.move(seconds=0.25)
    cast.deliver()
    request = InboxRequest.objects.get()
    number = int(clock().timestamp()) // 30
    assert request.body == f'{{"canary":{number}}}'
    (trip,) = trips.newest(clock())
    assert (trip.seconds, trip.stopped_at, trip.answer) == (0.25, "", "200")
    assert trip.received_at == request.received_at == clock()


# --- Seen by nobody ---------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_no_list_shows_it_superusers_included(web: str, penguins: Cast, clock: Clock) -> None:
    root = superuser(person("root"))
    lists: dict[str, Any] = {
        "organizations": access.organizations,
        "teams": access.teams,
        "projects": access.projects,
        "runs": access.runs,
        "automations": automations_access.automations,
        "executions": automations_access.executions,
        "events": automations_access.events,
        "deliveries": automations_access.deliveries,
        "integrations": automations_access.integrations,
        "inboxes": automations_access.inboxes,
        "secrets": automations_access.secrets,
        "registries": registry_access.registries,
        "collections": registry_access.collections,
    }
    seen = {
        who.username: {name: set(rows(who)) for name, rows in lists.items()} for who in (root, penguins.ada)
    }
    canary.send()
    cast.decide()
    cast.deliver()
    assert Execution.objects.count() == Delivery.objects.count() == InboxRequest.objects.count() == 1
    for who in (root, penguins.ada):
        assert {name: set(rows(who)) for name, rows in lists.items()} == seen[who.username]
    assert seen["root"]["projects"] == {penguins.project}


def test_a_superuser_still_sees_history_of_no_organization(penguins: Cast, clock: Clock) -> None:
    root = superuser(person("root"))
    cast.rule(penguins.project, "run_metric_threshold", cast.threshold())
    cast.log(cast.new_run(penguins.project), "loss", [0.9])
    cast.decide()
    Execution.objects.update(organization=None, team=None)
    assert automations_access.executions(root).count() == 1


# --- Not kept for long ------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_an_hour_is_kept_however_long_it_runs(web: str, clock: Clock, settings: Settings) -> None:
    settings.TRIPLINE_CANARY_EVERY = 300
    plant = Plant(clock, every=300, step=300)
    kept: list[dict[str, int]] = []
    for hours in (5, 1, 1):
        plant.live(hours * 3600)
        models: list[Any] = [MetricBatch, MetricChunk, Event, Execution, Delivery, Attempt, InboxRequest, Run]
        kept.append({model.__name__: model.objects.count() for model in models})
    assert kept[0] == kept[1] == kept[2], kept
    assert kept[2]["Execution"] == kept[2]["Attempt"] == 13
    assert kept[2]["InboxRequest"] == targets.INBOX_KEEPS
    assert kept[2]["Run"] <= 3
    assert states(stages.look()) == dict.fromkeys(stages.STAGES, "green")


def test_what_stalled_is_forgotten_too(clock: Clock) -> None:
    """Nobody decides for a day: the lanes do not pile up."""
    for _interval in range(6 * 12):
        canary.send()
        clock.move(minutes=20)
    oldest = MetricBatch.objects.order_by("received_at").first()
    assert oldest is not None
    assert clock() - oldest.received_at < timedelta(hours=3)
    assert Event.objects.filter(decided_at=None).count() <= 3


def test_other_peoples_rows_are_not_touched(penguins: Cast, clock: Clock) -> None:
    cast.rule(penguins.project, "run_metric_threshold", cast.threshold())
    cast.log(cast.new_run(penguins.project), "loss", [0.9])
    cast.decide()
    canary.send()
    clock.move(hours=30)
    canary.send()
    assert Execution.objects.filter(team=penguins.team).count() == 1
    assert Run.objects.filter(project=penguins.project).count() == 1
    assert Run.objects.exclude(project=penguins.project).count() == 1
