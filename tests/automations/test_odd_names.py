"""A quote, a line break, 本番, markup and what looks like a variable: in every name, and everywhere data."""

from __future__ import annotations

import html
import json
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from pytest_httpserver import HTTPServer

from automations.actions.slack import escaped
from automations.services.rules import ActionDraft
from registry.services.collections import set_alias
from registry.services.versions import create_version, tag_version
from runs.models import Role
from runs.services import people
from runs.services.projects import create_project
from tests import cast
from tests.automations.stories import bodies, integration
from tests.cast import Cast

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback")]

# What every name may hold, and then what only some may.
ODD = "\"'a 本番 <b>&amp; ${alias} $${x} {{ y }} *_`"
SCRIPT = ODD + "</script> %s"
LINES = SCRIPT + "\n\r\t\u2028@all"


@pytest.fixture
def actions(penguins: Cast, httpserver: HTTPServer) -> list[ActionDraft]:
    for path in ("/hook", "/chat"):
        httpserver.expect_request(path).respond_with_data("ok")
    hook = cast.webhook(penguins.team, httpserver.url_for("/hook"), name=SCRIPT)
    chat = integration(penguins.team, "slack", url=httpserver.url_for("/chat"))
    return [
        ActionDraft("webhook", hook, {"payload": {}}),
        ActionDraft("slack", chat, {}),
        ActionDraft("email", None, {"to": ["ada"]}),
    ]


def with_text(actions: list[ActionDraft], variables: dict[str, str]) -> list[ActionDraft]:
    """Each action says every one of these, alone and in a text."""
    webhook, slack, _email = actions
    payload: dict[str, Any] = {name: f"${{{name}}}" for name in variables}
    payload |= {f"in {name}": f'<${{{name}}}> "' for name in variables}
    message = "\n".join(f"${{{name}}}" for name in variables)
    return [
        ActionDraft("webhook", webhook.integration, {"payload": payload}),
        ActionDraft("slack", slack.integration, {"title": message[:900], "message": message}),
        ActionDraft("email", None, {"to": ["ada"], "subject": message[:900], "message": message}),
    ]


def assert_all_arrived(server: HTTPServer, values: dict[str, str]) -> None:
    hook, chat = bodies(server)
    for name, value in values.items():
        assert hook[name] == value
        assert hook[f"in {name}"] == f'<{value}> "'
    [message] = mail.outbox
    assert isinstance(message, EmailMultiAlternatives)
    markup = str(message.alternatives[0][0])
    everything = json.dumps(chat, ensure_ascii=False)
    for value in values.values():
        assert value in message.body
        assert html.escape(value) in markup
        assert escaped(value).strip() in chat["text"]
        assert json.dumps(escaped(value).strip(), ensure_ascii=False)[1:-1] in everything
    for text in (markup, chat["text"]):
        assert "<b>" not in text
        assert "</script>" not in text
    assert "\n" not in message.subject
    assert "\r" not in message.subject


def test_names_of_a_run_and_its_metric(
    penguins: Cast, httpserver: HTTPServer, actions: list[ActionDraft]
) -> None:
    penguins.team.name = ODD
    penguins.team.save()
    project = create_project(penguins.team, ODD)
    ada = penguins.ada
    values = {
        "automation_name": SCRIPT,
        "team_name": ODD,
        "project_name": ODD,
        "run_name": SCRIPT,
        "metric_name": LINES,
        "metric_filter": f"{LINES} > 0.6",
    }
    rule = cast.rule(
        project,
        "run_metric_threshold",
        cast.threshold(LINES),
        name=SCRIPT,
        actions=with_text(actions, values),
    )
    cast.log(cast.new_run(project, user=ada, name=SCRIPT), LINES, [0.75])
    cast.decide()
    cast.deliver()
    assert rule.executions.get().state == "finished"
    assert_all_arrived(httpserver, values)


def test_names_of_an_artifact_its_alias_and_its_metadata(
    penguins: Cast, httpserver: HTTPServer, actions: list[ActionDraft]
) -> None:
    odd = ODD
    fish = cast.collection(penguins.project, odd)
    values = {
        "automation_name": SCRIPT,
        "artifact_collection_name": odd,
        "artifact_version": f"{odd}:v0",
        "alias": odd,
        "artifact_metadata.key": LINES,
        "event_author": "max",
    }
    rule = cast.rule(
        penguins.project,
        "alias_added",
        {"alias": "本番"},
        name=SCRIPT,
        actions=with_text(actions, values),
    )
    version, _new = create_version(fish, actor=penguins.max, metadata={"key": LINES})
    set_alias(fish, odd, version, actor=penguins.max)
    cast.decide()
    cast.deliver()
    assert rule.executions.get().state == "finished"
    assert_all_arrived(httpserver, values)


def test_a_tag_of_other_letters(penguins: Cast, httpserver: HTTPServer, actions: list[ActionDraft]) -> None:
    values = {"tag": "本番 環境"}
    cast.rule(penguins.project, "tag_added", {"tag": "環境"}, actions=with_text(actions, values))
    version, _new = create_version(cast.collection(penguins.project), actor=None)
    tag_version(version, "本番 環境", actor=None)
    cast.decide()
    cast.deliver()
    assert_all_arrived(httpserver, values)


def test_names_of_a_registry_and_a_person(
    penguins: Cast, httpserver: HTTPServer, actions: list[ActionDraft]
) -> None:
    odd = people.set_member(penguins.team, cast.person("o'<b>\"本番"), role=Role.MEMBER).user
    models = cast.registry(ODD, owner=penguins.ada)
    values = {"registry_name": ODD, "event_author": "o'<b>\"本番", "artifact_collection_name": ODD}
    cast.rule(models, "collection_created", {}, actions=with_text(actions, values))
    from registry.services.collections import create_collection

    create_collection(models, ODD, actor=odd)
    cast.decide()
    cast.deliver()
    assert_all_arrived(httpserver, values)
