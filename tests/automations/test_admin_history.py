"""Executions and deliveries in the admin: read only, but what failed can be sent again."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db.models import Model

from automations.admin.recent import RECENT
from automations.models import Attempt, Delivery, DeliveryState, Event, Execution
from automations.services.rules import delete_automation
from runs import clock
from runs.models import RunStatus, Team, User
from runs.services import people
from runs.services.projects import create_project
from runs.services.runs import set_status
from tests.adminpages import Pages, errors, notes, text
from tests.cast import Cast, decide, new_run, registry, rule, sends, webhook


@pytest.fixture
def ada(penguins: Cast) -> Pages:
    """Ada, admin of the penguins and one of the staff."""
    penguins.ada.is_staff = True
    penguins.ada.save()
    return Pages(penguins.ada)


@pytest.fixture
def root(penguins: Cast) -> Pages:
    return Pages(User.objects.create(username="root", is_staff=True, is_superuser=True))


@pytest.fixture
def failed(penguins: Cast) -> Delivery:
    """A delivery to the penguins' hook that finally failed."""
    hook = webhook(penguins.team, "https://example.com")
    rule(
        penguins.project, "run_status", {"statuses": ["failed"]}, actions=sends(hook, {"run": "${run_name}"})
    )
    set_status(new_run(penguins.project, name="heron"), RunStatus.FAILED, actor=None)
    decide()
    Delivery.objects.update(state=DeliveryState.FAILED, finished_at=clock.now(), next_at=None)
    Execution.objects.update(state="failed", finished_at=clock.now())
    return Delivery.objects.get()


def test_an_execution_says_why(ada: Pages, failed: Delivery) -> None:
    page = text(ada.client.get(ada.change_url(failed.execution)))
    assert "the run changed from running to failed" in page
    assert failed.webhook_id in page
    assert "heron" in text(ada.client.get(ada.change_url(failed)))


def test_the_event_and_the_actions_as_they_were_are_shown_when_all_is_gone(
    penguins: Cast, ada: Pages, failed: Delivery
) -> None:
    Event.objects.all().delete()
    assert failed.execution.automation is not None
    delete_automation(failed.execution.automation)
    penguins.project.runs.all().delete()
    page = text(ada.client.get(ada.change_url(failed.execution)))
    assert '"run_name": "heron"' in page
    assert '"integration": "hook"' in page
    assert '"run": "${run_name}"' in page


def test_what_was_sent_and_what_came_back_is_readable(ada: Pages, failed: Delivery) -> None:
    attempt = failed.attempts.create(
        number=1,
        started_at=clock.now(),
        duration=0.2,
        status_code=400,
        request={"method": "POST", "headers": {"Authorization": "Bearer [redacted]"}, "body": failed.body},
        response='{"error": "<b>本番</b>", "deep": ' + "[" * 100_000,
    )
    answer = ada.client.get(ada.change_url(attempt))
    assert "&lt;b&gt;本番" in answer.content.decode()
    page = text(answer)
    assert '{\n  "run": "heron"\n}' in page
    assert '  "headers": {\n    "Authorization": "Bearer [redacted]"\n  }' in page
    assert '{\n  "run": "heron"\n}' in text(ada.client.get(ada.change_url(failed)))
    event = Event.objects.get(executions=failed.execution)
    assert '  "run_name": "heron"' in text(ada.client.get(ada.change_url(event)))


def attempted(delivery: Delivery, **answer: Any) -> Attempt:
    return delivery.attempts.create(
        number=delivery.attempts.count() + 1, started_at=clock.now(), duration=0.2, **answer
    )


def test_the_page_of_an_automation_shows_its_last_executions_and_leads_to_all(
    penguins: Cast, ada: Pages
) -> None:
    watched, other = (rule(penguins.project, "run_status", {"statuses": ["failed"]}) for _i in range(2))
    for i in range(RECENT + 2):
        set_status(new_run(penguins.project, name=f"heron-{i:02}"), RunStatus.FAILED, actor=None)
    decide()
    answer = ada.client.get(ada.change_url(watched))
    page = text(answer)
    assert page.count("the run changed from running to failed") == RECENT
    assert [name in page for name in ("heron-11", "heron-02", "heron-01")] == [True, True, False]
    (link,) = re.findall(r'href="([^"]+automation__id__exact=\d+)"', answer.content.decode())
    listed = ada.client.get(link).context["cl"]
    assert listed.result_count == RECENT + 2
    assert {row.automation for row in listed.result_list} == {watched}
    assert Execution.objects.filter(automation=other).count() == RECENT + 2


def test_a_rule_of_all_teams_shows_each_reader_what_happened_in_their_own(penguins: Cast, ada: Pages) -> None:
    of_all = rule(penguins.organization, "run_status", {"statuses": ["failed"]})
    river = create_project(penguins.otters, "river")
    for project, name in ((penguins.project, "heron"), (river, "salmon")):
        set_status(new_run(project, name=name), RunStatus.FAILED, actor=None)
    decide()
    assert Execution.objects.filter(automation=of_all).count() == 2
    page = text(ada.client.get(ada.change_url(of_all)))
    assert "heron" in page
    assert "salmon" not in page


def test_saving_the_page_leaves_its_history_as_it_is(penguins: Cast, ada: Pages, failed: Delivery) -> None:
    watched = failed.execution.automation
    assert watched is not None
    url = ada.change_url(watched)
    found = ada.form(url).fields
    forged = {"executions-0-state": "finished", "executions-1-id": "9", "executions-TOTAL_FORMS": "x"}
    set_status(new_run(penguins.project), RunStatus.FAILED, actor=None)
    decide()
    assert Execution.objects.filter(automation=watched).count() == 2
    refused = ada.client.post(url, {**found, **forged, "name": ""})
    assert list(errors(refused)) == ["name"]
    assert text(refused).count("the run changed from running to failed") == 2
    assert ada.client.post(url, {**found, **forged, "description": "x"}).status_code == 302
    failed.execution.refresh_from_db()
    watched.refresh_from_db()
    assert (failed.execution.state, watched.description) == ("failed", "x")


def test_attempts_are_narrowed_by_what_came_back_and_where_it_went(
    penguins: Cast, ada: Pages, failed: Delivery
) -> None:
    refused = attempted(failed, status_code=404)
    broken = attempted(failed, status_code=503)
    silent = attempted(failed, error="refused")
    assert ada.shown(Attempt, answer="4") == [refused]
    assert ada.shown(Attempt, answer="5") == [broken]
    assert ada.shown(Attempt, answer="none") == [silent]
    assert ada.shown(Attempt, answer="2") == []
    assert ada.shown(Attempt, delivery__integration__id__exact=failed.integration_id) == [
        silent,
        broken,
        refused,
    ]
    other = webhook(penguins.team, "https://example.com", name="other")
    assert ada.shown(Attempt, delivery__integration__id__exact=other.pk) == []
    assert ada.shown(Delivery, type="webhook") == [failed]
    assert ada.shown(Delivery, type="slack") == []


@pytest.mark.parametrize("model", [Execution, Delivery, Attempt])
def test_what_failed_is_sent_again(ada: Pages, failed: Delivery, model: type[Model]) -> None:
    attempt = attempted(failed, status_code=500)
    row = {Execution: failed.execution, Delivery: failed, Attempt: attempt}[model]
    assert "1 delivery is sent again" in notes(ada.act(model, "redeliver", [row]))
    failed.refresh_from_db()
    assert (failed.state, failed.execution.state) == (DeliveryState.PENDING, "pending")
    assert "0 deliveries" in notes(ada.act(model, "redeliver", [row]))


def test_a_viewer_sends_nothing_again(penguins: Cast, failed: Delivery) -> None:
    penguins.vera.is_staff = True
    penguins.vera.save()
    pages = Pages(penguins.vera)
    assert pages.shown(Delivery) == [failed]
    pages.act(Delivery, "redeliver", [failed])
    pages.act(Attempt, "redeliver", [attempted(failed, status_code=500)])
    failed.refresh_from_db()
    assert failed.state == DeliveryState.FAILED


@pytest.mark.parametrize("model", [Execution, Delivery, Attempt])
def test_history_is_read_only_for_superusers_too(root: Pages, failed: Delivery, model: type[Model]) -> None:
    attempt = attempted(failed, status_code=500)
    row = {Execution: failed.execution, Delivery: failed, Attempt: attempt}[model]
    assert root.client.post(root.change_url(row), {"state": "finished"}).status_code == 403
    assert root.client.post(root.delete_url(row), {"post": "yes"}).status_code == 403
    assert root.client.get(root.add_url(model)).status_code == 403


def test_a_team_with_automations_of_others_using_its_hook_is_not_deleted(penguins: Cast, root: Pages) -> None:
    seals = people.create_team("seals")
    hook = webhook(seals, "https://example.com")
    models = registry(owner=penguins.ada)
    rule(models, "alias_added", {"alias": "."}, actions=sends(hook))
    root.act(Team, "delete_selected", [seals])
    root.delete(seals)
    assert Team.objects.filter(pk=seals.pk).exists()
