"""What was decided and sent is still told when the rule, the run, the collection or the event is gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from automations.actions.http import MAX_RESPONSE_BYTES
from automations.models import Attempt, Automation, Event, Execution
from automations.services import rules, targets
from automations.services.rules import ActionDraft
from registry.models import ArtifactVersion, Collection
from registry.services.collections import delete_collection
from runs.models import Run
from runs.services.runs import delete_run
from tests import cast
from tests.api.house import Api
from tests.automations.stories import goes_to_production, loss_is_high
from tests.cast import Cast

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback")]

PAYLOAD = {"text": "${run_name}"}


@pytest.fixture
def told(penguins: Cast, httpserver: HTTPServer) -> Execution:
    """A run's firing that was sent and refused."""
    httpserver.expect_request("/hook").respond_with_data("no such thing", status=404)
    hook = cast.webhook(penguins.team, httpserver.url_for("/hook"), name="the hook")
    execution = loss_is_high(penguins, cast.sends(hook, PAYLOAD))
    cast.deliver()
    execution.refresh_from_db()
    return execution


def soft(execution: Execution) -> None:
    assert execution.run is not None
    delete_run(execution.run)
    assert Run.objects.filter(pk=execution.run.pk).exists(), "it can be restored"


def hard(_execution: Execution) -> None:
    Run.objects.all().delete()


def rule_deleted(execution: Execution) -> None:
    assert execution.automation is not None
    rules.delete_automation(execution.automation)


def rule_renamed(execution: Execution) -> None:
    automation = execution.automation
    assert automation is not None
    automation.name = "renamed"
    noop = [ActionDraft("noop")]
    rules.save_automation(automation, scope=automation.scope, actions=noop)


def event_pruned(_execution: Execution) -> None:
    Event.objects.all().delete()


def integration_deleted(execution: Execution) -> None:
    rule_deleted(execution)
    integration = execution.deliveries.get().integration
    assert integration is not None
    targets.delete_target(integration)


@pytest.mark.parametrize("gone", [soft, hard, rule_deleted, rule_renamed, event_pruned, integration_deleted])
def test_an_execution_is_told_as_it_was(
    penguins: Cast, told: Execution, gone: Callable[[Execution], None]
) -> None:
    api = Api(penguins.vera)
    before = api.get(f"executions/{told.pk}/").json
    gone(told)
    after = api.get(f"executions/{told.pk}/").json

    assert after["automation_name"] == "loss is stuck"
    assert after["event_type"] == "run_metric_threshold"
    assert after["state"] == "failed"
    assert after["explanation"]["text"] == before["explanation"]["text"]
    assert after["snapshot"]["actions"] == [
        {"type": "webhook", "integration": "the hook", "payload": PAYLOAD, "order": "any"}
    ]
    facts = {"run_name": "brisk-otter-1", "metric_name": "loss", "metric_value": 0.75, "step": 41}
    assert facts.items() <= after["snapshot"]["event"].items()
    assert "scopes" not in after["snapshot"]["event"]
    [delivery] = after["deliveries"]
    assert delivery["body"] == '{"text":"brisk-otter-1"}'
    assert delivery["attempts"] == before["deliveries"][0]["attempts"]
    [attempt] = delivery["attempts"]
    assert (attempt["status_code"], attempt["response"]) == (404, "no such thing")
    assert attempt["request"]["body"] == delivery["body"]
    assert attempt["duration"] > 0
    assert [row["id"] for row in api.listed("executions/")] == [told.pk]


def test_the_history_of_a_collection_outlives_it(penguins: Cast) -> None:
    execution = goes_to_production(penguins, [ActionDraft("noop")])
    fish = Collection.objects.get()
    delete_collection(fish)
    api = Api(penguins.vera)
    for _hard in range(2):
        shown = api.get(f"executions/{execution.pk}/").json
        assert shown["snapshot"]["event"]["artifact_version"] == "fish-classifier:v0"
        assert "production" in shown["explanation"]["text"]
        Event.objects.all().delete()
        ArtifactVersion.objects.all().delete()
        Collection.objects.all().delete()
    assert Collection.objects.count() == 0


def test_the_first_sixteen_kilobytes_of_an_answer_are_kept(penguins: Cast, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/hook").respond_with_data("x" * 100_000)
    hook = cast.webhook(penguins.team, httpserver.url_for("/hook"))
    loss_is_high(penguins, cast.sends(hook))
    cast.deliver()
    assert MAX_RESPONSE_BYTES == 16 * 1024
    response = Attempt.objects.get().response
    assert response.startswith("x" * MAX_RESPONSE_BYTES)
    assert len(response) < MAX_RESPONSE_BYTES + 10


def test_a_deleted_rule_leaves_what_waits_on_its_way(penguins: Cast, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/hook").respond_with_data("ok")
    hook = cast.webhook(penguins.team, httpserver.url_for("/hook"))
    execution = loss_is_high(penguins, cast.sends(hook, PAYLOAD))
    rule_deleted(execution)
    assert not Automation.objects.exists()
    cast.deliver()
    execution.refresh_from_db()
    assert execution.state == "finished"
    assert len(httpserver.log) == 1


def test_of_several_actions_each_is_told(penguins: Cast, httpserver: HTTPServer) -> None:
    """One that fails stops none of the others."""
    from django.core import mail

    from tests.automations.stories import integration

    httpserver.expect_request("/bad").respond_with_data("", status=400)
    httpserver.expect_request("/chat").respond_with_data("ok")
    bad = cast.webhook(penguins.team, httpserver.url_for("/bad"), name="bad")
    chat = integration(penguins.team, "slack", url=httpserver.url_for("/chat"))
    actions: list[Any] = [
        *cast.sends(bad),
        ActionDraft("slack", chat, {"severity": "error"}),
        ActionDraft("email", None, {"to": ["ada"]}),
        ActionDraft("noop"),
    ]
    execution = loss_is_high(penguins, actions)
    cast.deliver()
    states = list(execution.deliveries.order_by("pk").values_list("type", "state"))
    assert states == [
        ("webhook", "failed"),
        ("slack", "succeeded"),
        ("email", "succeeded"),
        ("noop", "succeeded"),
    ]
    assert len(mail.outbox) == 1
    assert [action["type"] for action in execution.snapshot["actions"]] == [kind for kind, _state in states]
