"""A Slack message: the facts, a link, the severity, within Slack's limits, and nobody is called by a name."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from pytest_httpserver import HTTPServer

from automations.actions.slack import escaped
from automations.models import Delivery, Integration
from automations.services.rules import ActionDraft
from runs.services.projects import create_project
from tests import cast
from tests.automations.stories import bodies, goes_to_production, integration, loss_is_high
from tests.cast import Cast

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback")]

CALLS = [
    "<!channel>",
    "<!here>",
    "<!everyone>",
    "<@U1>",
    "<!subteam^S1>",
    "@channel",
    "@all",
    "@here",
    "@ada",
]
# What Slack or a receiver like it makes a call of; an escaped < is none, nor an @ before a space of no width.
CALL = re.compile(r"<[!@#]|(?<!\w)@\w|@(all|channel|everyone|here)\b")


@pytest.fixture
def channel(penguins: Cast, httpserver: HTTPServer) -> Integration:
    httpserver.expect_request("/services/T1", method="POST").respond_with_data("ok")
    return integration(penguins.team, "slack", url=httpserver.url_for("/services/T1"))


def says(channel: Integration, **content: Any) -> list[ActionDraft]:
    return [ActionDraft("slack", channel, content)]


def texts(node: Any) -> list[str]:
    """Every string of a message that is shown."""
    if isinstance(node, dict):
        return [text for item in node.values() for text in texts(item)]
    if isinstance(node, list):
        return [text for item in node for text in texts(item)]
    return [node] if isinstance(node, str) else []


def assert_slack_takes_it(message: dict[str, Any]) -> None:
    """The limits that Slack documents for what we use of Block Kit."""
    assert set(message) == {"text", "blocks"}
    assert 0 < len(message["text"]) <= 40_000
    assert 0 < len(message["blocks"]) <= 50
    for block in message["blocks"]:
        if block["type"] == "header":
            assert set(block) == {"type", "text"}
            assert block["text"]["type"] == "plain_text"
            assert 0 < len(block["text"]["text"]) <= 150
        elif "fields" in block:
            assert block["type"] == "section"
            assert 0 < len(block["fields"]) <= 10
            assert all(0 < len(field["text"]) <= 2000 for field in block["fields"])
        elif block["type"] == "section":
            assert 0 < len(block["text"]["text"]) <= 3000
        else:
            assert block["type"] == "context"
            assert 0 < len(block["elements"]) <= 10
            assert all(0 < len(element["text"]) <= 3000 for element in block["elements"])


def test_a_message_says_what_happened_where_why_and_how_bad(
    penguins: Cast, httpserver: HTTPServer, channel: Integration
) -> None:
    execution = loss_is_high(
        penguins,
        says(channel, title="${run_name} diverges", message="Look at *${metric_name}*.", severity="warn"),
    )
    cast.deliver()

    [message] = bodies(httpserver)
    assert_slack_takes_it(message)
    header, words, why, facts, foot = message["blocks"]
    assert header["text"]["text"] == "⚠️ brisk-otter-1 diverges"
    assert words["text"] == {"type": "mrkdwn", "text": "Look at *loss*."}
    assert "loss = 0.75 &gt; 0.6 at step 41" in why["text"]["text"]
    shown = dict(field["text"].split("\n") for field in facts["fields"])
    assert shown["*Project*"] == "penguins/waddle"
    assert shown["*Run*"] == "brisk-otter-1"
    assert shown["*Metric*"] == "loss = 0.75"
    assert shown["*By*"] == "ada"
    assert set(shown) == {"*Project*", "*Run*", "*Status*", "*Metric*", "*By*", "*Time*"}
    event = execution.event
    assert event is not None
    assert [element["text"] for element in foot["elements"]] == [
        "Warning",
        f"<{event.data['run_url']}|Open in Tripline>",
    ]
    assert execution.deliveries.get().state == "succeeded"
    assert httpserver.log[0][0].headers["Content-Type"].startswith("application/json")


def test_the_text_alone_says_everything_to_receivers_that_show_no_blocks(
    penguins: Cast, httpserver: HTTPServer, channel: Integration
) -> None:
    """Mattermost reads `<address|words>` as a link, but *bold* differently: there is none in the text."""
    loss_is_high(penguins, says(channel, message="Look.", severity="error"))
    cast.deliver()
    [message] = bodies(httpserver)
    lines = message["text"].split("\n")
    assert lines[:2] == ["🛑 loss is stuck", "Look."]
    assert "Run: brisk-otter-1" in lines
    assert "Metric: loss = 0.75" in lines
    assert re.fullmatch(r"<http://\S+/penguins/waddle/runs/\w+\|Open in Tripline>", lines[-1])
    assert "*" not in message["text"]


def test_what_happened_to_an_artifact_is_told_by_its_own_facts(
    penguins: Cast, httpserver: HTTPServer, channel: Integration
) -> None:
    goes_to_production(penguins, says(channel))
    cast.deliver()
    [message] = bodies(httpserver)
    assert_slack_takes_it(message)
    [facts] = [block for block in message["blocks"] if "fields" in block]
    shown = dict(field["text"].split("\n") for field in facts["fields"])
    assert shown["*Version*"] == "fish-classifier:v0"
    assert shown["*Alias*"] == "production"
    assert shown["*By*"] == "max"
    assert "*Run*" not in shown


@pytest.mark.parametrize("call", CALLS)
def test_a_name_calls_nobody(penguins: Cast, httpserver: HTTPServer, channel: Integration, call: str) -> None:
    assert CALL.search(call), "it would call somebody as it is"
    loss_is_high(
        penguins,
        says(channel, title=f"{call} ${{run_name}}", message=f"${{run_name}} {call}"),
        run_name=f"x {call} y",
        name=f"{call} rule",
    )
    cast.deliver()
    [message] = bodies(httpserver)
    shown = texts(message)
    assert any("x " in text and " y" in text for text in shown)
    for text in shown:
        plain = re.sub(r"<http://[^<>|]+\|Open in Tripline>", "", text)
        # A header is plain text: there < is only a sign, and no call.
        assert not re.search(r"(?<!\w)@\w", plain), text
    [header] = [block for block in message["blocks"] if block["type"] == "header"]
    for text in shown:
        if text != header["text"]["text"]:
            assert not CALL.search(re.sub(r"<http://[^<>|]+\|Open in Tripline>", "", text)), text


def test_text_is_escaped_once_and_reads_as_it_was() -> None:
    assert escaped("a & b < c > d &amp;") == "a &amp; b &lt; c &gt; d &amp;amp;"
    assert escaped("ada@example.com and @ 5 pm") == "ada@example.com and @ 5 pm"


def test_a_link_is_one_link_whatever_the_project_is_called(
    penguins: Cast, httpserver: HTTPServer, channel: Integration
) -> None:
    odd = create_project(penguins.team, "a> <!channel|b> 本番")
    rule = cast.rule(odd, "run_status", {"statuses": ["running"]}, actions=says(channel))
    cast.new_run(odd)
    cast.decide()
    cast.deliver()
    assert rule.executions.get().state == "finished"
    [message] = bodies(httpserver)
    link = message["text"].split("\n")[-1]
    assert re.fullmatch(r"<http://[!-;=?-{}~]+\|Open in Tripline>", link)
    assert not CALL.search(message["text"].replace(link, ""))


def test_very_long_names_are_cut_to_what_slack_takes(
    penguins: Cast, httpserver: HTTPServer, channel: Integration
) -> None:
    project = create_project(penguins.team, "本" * 128)
    long = "&" * 250
    message = "${run_name}" * 100
    rule = cast.rule(
        project,
        "run_metric_threshold",
        cast.threshold("&" * 250, "above", 0.6),
        name=long,
        actions=says(channel, title="${automation_name}" * 10, message=message),
    )
    cast.log(cast.new_run(project, name=long), "&" * 250, [0.75])
    cast.decide()
    cast.deliver()
    assert rule.executions.get().state == "finished"
    [sent] = bodies(httpserver)
    assert_slack_takes_it(sent)
    assert any("…" in text for text in texts(sent))
    for text in texts(sent):
        assert not re.search(r"&(?!amp;|lt;|gt;|quot;)", text) or "header" in text or "&&" in text
    [_header, words, *_rest] = sent["blocks"]
    assert re.fullmatch(r"(&amp;)+…", words["text"]["text"]), "cut between two escapes"


def test_a_message_that_says_nothing_is_left_out(
    penguins: Cast, httpserver: HTTPServer, channel: Integration
) -> None:
    loss_is_high(penguins, says(channel, title="${registry_name}", message=" ${registry_name}\n"))
    cast.deliver()
    [message] = bodies(httpserver)
    assert_slack_takes_it(message)
    assert len(message["blocks"]) == 4


def test_unknown_variables_and_secrets_are_refused_with_the_nearest_name(
    penguins: Cast, httpserver: HTTPServer, channel: Integration
) -> None:
    channel.access_token = cast.secret(penguins.team, "TOKEN", "s3cret")
    channel.save()
    for field, wrong, near in [
        ("title", "${run_nam}", "${run_name}"),
        ("message", "${metric_valu}", "${metric_value}"),
        ("message", "${TOKEN}", "did you mean"),
    ]:
        with pytest.raises(ValidationError) as refusal:
            loss_is_high(penguins, says(channel, **{field: wrong}))
        assert near in str(refusal.value)
        assert field in str(refusal.value)
    assert Delivery.objects.count() == 0


def test_what_slack_refuses_is_told_and_what_it_cannot_take_now_is_tried_again(
    penguins: Cast, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/gone").respond_with_data("no_service", status=404)
    httpserver.expect_request("/busy").respond_with_data("rate_limited", status=429)
    for path in ("/gone", "/busy"):
        target = integration(penguins.team, "slack", url=httpserver.url_for(path), name=path[1:])
        loss_is_high(penguins, says(target), name=path[1:])
    cast.deliver()
    states = dict(Delivery.objects.values_list("integration__name", "state"))
    assert states == {"gone": "failed", "busy": "pending"}
