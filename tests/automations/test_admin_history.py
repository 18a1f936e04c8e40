"""Executions and deliveries in the admin: read only, but what failed can be sent again."""

from __future__ import annotations

import pytest

from automations.models import Delivery, DeliveryState, Event, Execution
from automations.services.rules import delete_automation
from runs import clock
from runs.models import RunStatus, Team, User
from runs.services import people
from runs.services.runs import set_status
from tests.adminpages import Pages, notes, text
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


@pytest.mark.parametrize("model", [Execution, Delivery])
def test_what_failed_is_sent_again(ada: Pages, failed: Delivery, model: type[Execution | Delivery]) -> None:
    row = failed if model is Delivery else failed.execution
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
    failed.refresh_from_db()
    assert failed.state == DeliveryState.FAILED


@pytest.mark.parametrize("model", [Execution, Delivery])
def test_history_is_read_only_for_superusers_too(
    root: Pages, failed: Delivery, model: type[Execution | Delivery]
) -> None:
    row = failed if model is Delivery else failed.execution
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
