"""Every preset renders to what its receiver's documentation shows, compared as JSON."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from pytest_httpserver import HTTPServer

from automations.actions.targets import TargetPolicy, check_target
from automations.events.base import EVENTS
from automations.models import Integration, Secret
from automations.presets import PRESETS
from automations.services import targets
from automations.services.rules import ActionDraft, check_action
from automations.template import JsonValue, fill_secrets, render
from tests import cast
from tests.api.house import Api
from tests.automations.documented import DOCUMENTED, fits
from tests.automations.sending import resolving_to
from tests.automations.stories import bodies, goes_to_production, loss_is_high
from tests.cast import Cast

pytestmark = pytest.mark.django_db

BY_KEY = {preset.key: preset for preset in PRESETS}
KEY = "0123456789abcdef0123456789abcdef"
RUN = re.compile(r"http://127\.0\.0\.1:8000/penguins/waddle/runs/([a-z0-9]{8})")
SUMMARY = "loss is stuck: brisk-otter-1, loss > 0.6"

# What each receiver documents, filled in for a run whose loss is 0.75. RUN_URL and RUN_ID differ each time.
FOR_A_RUN: dict[str, Any] = {
    # REST API, "Create a repository dispatch event": event_type, and client_payload with 10 keys at most.
    "github": {
        "event_type": "tripline",
        "client_payload": {
            "automation": "loss is stuck",
            "event": "run_metric_threshold",
            "project": "waddle",
            "run": "brisk-otter-1",
            "metric": "loss",
            "value": 0.75,
            "step": 41,
            "url": "RUN_URL",
        },
    },
    # Pipeline triggers API, "Trigger a pipeline with a token": token, ref, variables (name to text).
    "gitlab": {
        "token": KEY,
        "ref": "main",
        "variables": {
            "TRIPLINE_EVENT": "run_metric_threshold",
            "TRIPLINE_RUN": "brisk-otter-1",
            "TRIPLINE_METRIC": "loss",
            "TRIPLINE_URL": "RUN_URL",
        },
    },
    # Incoming webhooks with Block Kit: sections of plain text and of mrkdwn, where <address|words> is a link.
    "slack_blocks": {
        "text": "loss is stuck",
        "blocks": [
            {"type": "section", "text": {"type": "plain_text", "text": SUMMARY}},
            {"type": "section", "text": {"type": "mrkdwn", "text": "<RUN_URL|Open in Tripline>"}},
        ],
    },
    # Workflows, "When a Teams webhook request is received": a message with one adaptive card. A TextRun is
    # the text that knows no Markdown.
    "teams": {
        "type": "message",
        "attachments": [
            {
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": None,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "body": [
                        {
                            "type": "RichTextBlock",
                            "inlines": [{"type": "TextRun", "text": "loss is stuck", "weight": "Bolder"}],
                        },
                        {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": SUMMARY}]},
                    ],
                    "actions": [{"type": "Action.OpenUrl", "title": "Open in Tripline", "url": "RUN_URL"}],
                },
            }
        ],
    },
    # Events API v2, trigger: routing_key, event_action, dedup_key, links, and a payload with summary, source
    # and severity.
    "pagerduty_trigger": {
        "routing_key": KEY,
        "event_action": "trigger",
        "dedup_key": "tripline/waddle/RUN_ID",
        "payload": {
            "summary": SUMMARY,
            "source": "tripline/waddle/RUN_ID",
            "severity": "error",
            "component": "waddle",
            "class": "run_metric_threshold",
            "custom_details": {"run": "brisk-otter-1", "metric": "loss", "value": 0.75, "step": 41},
        },
        "links": [{"href": "RUN_URL", "text": "Open in Tripline"}],
    },
    # Events API v2, resolve: the same dedup_key, and no payload.
    "pagerduty_resolve": {
        "routing_key": KEY,
        "event_action": "resolve",
        "dedup_key": "tripline/waddle/RUN_ID",
    },
    # Execute webhook: content of at most 2,000 characters; allowed_mentions that allow none.
    "discord": {"content": f"{SUMMARY}\nRUN_URL", "allowed_mentions": {"parse": []}},
    # Generic Webhook Trigger: any JSON; the job picks values out of it by JSONPath.
    "jenkins": {
        "event": "run_metric_threshold",
        "project": "waddle",
        "run": "brisk-otter-1",
        "metric": "loss",
        "value": 0.75,
        "step": 41,
        "url": "RUN_URL",
    },
}


def payload(key: str, event_type: str = "run_metric_threshold") -> Any:
    return BY_KEY[key].payload(EVENTS[event_type])


def hook(who: Cast, key: str, url: str) -> Integration:
    """An integration that has the secret which the preset names."""
    found = cast.webhook(who.team, url, name=key)
    names = re.findall(r"\$\{([A-Z_]+)\}", str(payload(key)))
    for name in names:
        found.signing_secret = cast.secret(who.team, name, KEY)
    return targets.save_integration(found)


def sent(who: Cast, server: HTTPServer, key: str) -> tuple[Any, Any]:
    """The body that the preset sends for a run, its address and id replaced; and the request."""
    server.expect_request(f"/{key}").respond_with_data("", status=204)
    target = hook(who, key, server.url_for(f"/{key}"))
    loss_is_high(who, [ActionDraft("webhook", target, {"payload": payload(key)})])
    cast.deliver()
    [body] = bodies(server)
    return _placeheld(body), server.log[0][0]


def _placeheld(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: _placeheld(item) for name, item in node.items()}
    if isinstance(node, list):
        return [_placeheld(item) for item in node]
    if isinstance(node, str):
        return re.sub(r"/[a-z0-9]{8}$", "/RUN_ID", RUN.sub("RUN_URL", node))
    return node


@pytest.mark.usefixtures("loopback")
@pytest.mark.parametrize("key", BY_KEY)
def test_a_preset_sends_what_its_receiver_documents(penguins: Cast, httpserver: HTTPServer, key: str) -> None:
    body, request = sent(penguins, httpserver, key)
    assert body == FOR_A_RUN[key]
    assert request.headers["Content-Type"] == "application/json"
    if key in {"gitlab", "pagerduty_trigger", "pagerduty_resolve"}:
        assert "Authorization" not in request.headers, "their key is in the body; a login would be refused"


@pytest.mark.usefixtures("loopback")
def test_a_resolve_names_the_incident_that_the_trigger_raised(penguins: Cast, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/pd").respond_with_data("", status=202)
    target = hook(penguins, "pagerduty_trigger", httpserver.url_for("/pd"))
    for key, statuses in (("pagerduty_trigger", ["failed"]), ("pagerduty_resolve", ["running"])):
        action = ActionDraft("webhook", target, {"payload": payload(key, "run_status")})
        cast.rule(penguins.project, "run_status", {"statuses": statuses}, name=key, actions=[action])
    from runs.models import RunStatus
    from runs.services.runs import set_status

    run = cast.new_run(penguins.project, status=RunStatus.PENDING)
    for status in (RunStatus.FAILED, RunStatus.RUNNING):
        set_status(run, status, actor=None)
    cast.decide()
    cast.deliver()
    actions = [(body["event_action"], body["dedup_key"]) for body in bodies(httpserver)]
    assert actions == [(verb, f"tripline/waddle/{run.run_id}") for verb in ("trigger", "resolve")]


@pytest.mark.usefixtures("loopback")
def test_an_artifact_fills_the_same_presets(penguins: Cast, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/github").respond_with_data("", status=204)
    target = cast.webhook(penguins.team, httpserver.url_for("/github"))
    goes_to_production(
        penguins, [ActionDraft("webhook", target, {"payload": payload("github", "alias_added")})]
    )
    cast.deliver()
    [body] = bodies(httpserver)
    assert body["client_payload"] | {"url": ""} == {
        "automation": "to production",
        "event": "alias_added",
        "project": "waddle",
        "collection": "fish-classifier",
        "version": "v0",
        "alias": "production",
        "tag": "",
        "url": "",
    }
    assert body["client_payload"]["url"].endswith("/v0")


@pytest.mark.parametrize("event_type", [event_type.key for event_type in EVENTS])
def test_every_preset_can_be_saved_for_every_event(penguins: Cast, event_type: str) -> None:
    for key in BY_KEY:
        wanted = payload(key, event_type)
        target = cast.webhook(penguins.team, "https://hooks.example.com/", name=key)
        draft = ActionDraft("webhook", target, {"payload": wanted})
        if secret := re.search(r"\$\{([A-Z_]+)\}", str(wanted)):
            with pytest.raises(ValidationError, match=secret[1]):
                check_action(draft, scope=penguins.team)
            found = Secret.objects.filter(name=secret[1]).first()
            target.signing_secret = found or cast.secret(penguins.team, secret[1], KEY)
        assert check_action(draft, scope=penguins.team).config["payload"] == wanted


# Numbers keep their type; all else is a text, of the length that long names have. What happens in a project
# happens in no registry.
SAMPLES: dict[str, JsonValue] = {
    "metric_value": 0.75,
    "step": 41,
    "sequence": 7,
    "event_id": 7,
    "artifact_version_index": 3,
    "registry_name": "",
}


@pytest.mark.parametrize("length", [1, 100])
@pytest.mark.parametrize("key", BY_KEY)
def test_whatever_happens_a_preset_has_the_documented_shape(key: str, length: int) -> None:
    for event_type in EVENTS:
        names = [name for name in event_type.all_variables() if not name.endswith(".*")]
        values = {name: SAMPLES.get(name, "本" * length) for name in names}
        wanted = payload(key, event_type.key)
        secrets = dict.fromkeys(re.findall(r"\$\{([A-Z_]+)\}", str(wanted)), KEY)
        body = fill_secrets(render(wanted, values, secrets=frozenset(secrets)), secrets)
        assert "${" not in body
        assert fits(json.loads(body), DOCUMENTED[key]), body


def test_the_shapes_tell_what_a_receiver_would_refuse() -> None:
    for key, wrong in {
        "github": {"event_type": "e", "client_payload": {str(number): "" for number in range(11)}},
        "gitlab": {"token": "t", "ref": "main", "variables": {"STEP": 41}},
        "slack_blocks": {"text": "t", "blocks": [{"type": "section", "text": "t"}]},
        "teams": {"type": "message", "attachments": []},
        "pagerduty_trigger": {"routing_key": "k", "event_action": "trigger", "dedup_key": "d"},
        "pagerduty_resolve": {"routing_key": "k", "event_action": "resolve", "dedup_key": "d" * 256},
        "discord": {"content": "c" * 2001},
    }.items():
        assert not fits(wrong, DOCUMENTED[key]), key


@pytest.mark.parametrize("event_type", [event_type.key for event_type in EVENTS])
def test_a_trigger_and_its_resolve_share_their_key(event_type: str) -> None:
    trigger, resolve = payload("pagerduty_trigger", event_type), payload("pagerduty_resolve", event_type)
    assert trigger["dedup_key"] == resolve["dedup_key"]
    assert trigger["routing_key"] == resolve["routing_key"]


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.key)
def test_the_address_of_a_preset_is_one_that_could_be_saved(preset: Any) -> None:
    address = preset.url.replace("…", "x")
    check_target(address, TargetPolicy(resolver=resolving_to("93.184.216.34")))
    assert preset.url.startswith("https://")


def test_a_name_that_looks_like_markup_is_text_in_slack_and_teams() -> None:
    odd = "[click](https://evil.example) <!channel> *_"
    values = {"run_name": odd, "automation_name": "rule", "run_url": "https://here.example/x"}
    slack, teams = (
        json.loads(render(payload(key, "run_status"), values)) for key in ("slack_blocks", "teams")
    )
    [said, link] = [block["text"] for block in slack["blocks"]]
    assert (said["type"], odd in said["text"]) == ("plain_text", True)
    assert link == {"type": "mrkdwn", "text": "<https://here.example/x|Open in Tripline>"}
    runs = [run for block in teams["attachments"][0]["content"]["body"] for run in block["inlines"]]
    assert {run["type"] for run in runs} == {"TextRun"}
    assert any(odd in run["text"] for run in runs)


def test_presets_are_read_by_whoever_is_signed_in(penguins: Cast) -> None:
    listed = Api(penguins.vera).get("presets/")
    assert listed.status == 200
    assert set(listed.json) == {"next", "previous", "results"}
    assert [row["key"] for row in listed.json["results"]] == list(BY_KEY)
    for row in listed.json["results"]:
        assert set(row) == {"key", "label", "url", "hint", "payload"}
        assert row["payload"] == payload(row["key"])
    [row, *_rest] = Api(penguins.vera).get("presets/?event=alias_added").json["results"]
    assert row["payload"] == payload("github", "alias_added")
    refused = Api(penguins.vera).get("presets/?event=alias_aded")
    assert (refused.status, list(refused.json)) == (400, ["event"])
    assert "alias_added" in refused.text
    assert Api().get("presets/").status == 401
    assert Api(penguins.vera).post("presets/", {}).status == 405
    assert "/api/v1/presets" in Api(penguins.vera).get("schema/").text
