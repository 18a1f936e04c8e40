"""Payloads to start from, each in the form that its receiver's documentation shows.

A preset is a webhook's payload, fitted to an event type, because each has its own variables. `${…}` in
capitals are names of the integration's own secrets, to be replaced by the names that the team uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from automations.events.base import EventType

Payload = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Words:
    """What an event type can say: a line, where to look, and single values by name.

    `incident` is the same for a rule that raises and a rule that resolves.
    """

    summary: str
    link: str
    incident: str
    details: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Preset:
    """`url` shows where it goes; `hint` says what else the receiver wants."""

    key: str
    label: str | Promise
    url: str
    hint: str | Promise
    make: Callable[[Words], Payload]

    def payload(self, event_type: EventType[Any]) -> Payload:
        """A payload that can be saved with this event type as it is, once its secrets exist."""
        return self.make(words(event_type))


def words(event_type: EventType[Any]) -> Words:
    known = event_type.all_variables()
    if "run_id" not in known:
        return _OF_ARTIFACTS
    return _OF_METRICS if "metric_name" in known else _OF_RUNS


_RUN_INCIDENT = "tripline/${project_name}/${run_id}"
_OF_RUNS = Words(
    summary="${automation_name}: ${run_name} is ${run_status}",
    link="${run_url}",
    incident=_RUN_INCIDENT,
    details={"run": "${run_name}", "status": "${run_status}"},
)
_OF_METRICS = Words(
    summary="${automation_name}: ${run_name}, ${metric_filter}",
    link="${run_url}",
    incident=_RUN_INCIDENT,
    details={
        "run": "${run_name}",
        "metric": "${metric_name}",
        "value": "${metric_value}",
        "step": "${step}",
    },
)
_OF_ARTIFACTS = Words(
    summary="${automation_name}: ${artifact_collection_name} ${artifact_version_string} ${alias}${tag}",
    link="${artifact_url}",
    incident="tripline/${project_name}${registry_name}/${artifact_collection_name}",
    details={
        "collection": "${artifact_collection_name}",
        "version": "${artifact_version_string}",
        "alias": "${alias}",
        "tag": "${tag}",
    },
)


def _github(words: Words) -> Payload:
    # client_payload has ten properties at most.
    facts = {"automation": "${automation_name}", "event": "${event_type}", "project": "${project_name}"}
    return {"event_type": "tripline", "client_payload": {**facts, **words.details, "url": words.link}}


def _gitlab(words: Words) -> Payload:
    # Variables are texts: a number is refused.
    texts = {name: text for name, text in words.details.items() if name not in {"value", "step"}}
    facts = {"event": "${event_type}", **texts, "url": words.link}
    return {
        "token": "${GITLAB_TRIGGER_TOKEN}",
        "ref": "main",
        "variables": {f"TRIPLINE_{name.upper()}": text for name, text in facts.items()},
    }


def _slack_blocks(words: Words) -> Payload:
    # A button would be marked as broken once it is pressed: Slack asks its app about every press.
    link = f"<{words.link}|Open in Tripline>"
    return {
        # Read for marks such as <!channel>, unlike plain_text: no name that others choose. The link is
        # percent-encoded, and holds none.
        "text": "${automation_name}",
        "blocks": [
            {"type": "section", "text": {"type": "plain_text", "text": words.summary}},
            {"type": "section", "text": {"type": "mrkdwn", "text": link}},
        ],
    }


def _teams(words: Words) -> Payload:
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [_plain("${automation_name}", weight="Bolder"), _plain(words.summary)],
        "actions": [{"type": "Action.OpenUrl", "title": "Open in Tripline", "url": words.link}],
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "attachments": [attachment]}


def _plain(text: str, **style: str) -> Payload:
    """Text in which a name that looks like Markdown stays as it is; a TextBlock would make a link of it."""
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **style}]}


def _pagerduty_trigger(words: Words) -> Payload:
    return {
        "routing_key": "${PAGERDUTY_ROUTING_KEY}",
        "event_action": "trigger",
        "dedup_key": words.incident,
        "payload": {
            "summary": words.summary,
            "source": words.incident,
            "severity": "error",
            "component": "${project_name}${registry_name}",
            "class": "${event_type}",
            "custom_details": dict(words.details),
        },
        "links": [{"href": words.link, "text": "Open in Tripline"}],
    }


def _pagerduty_resolve(words: Words) -> Payload:
    return {
        "routing_key": "${PAGERDUTY_ROUTING_KEY}",
        "event_action": "resolve",
        "dedup_key": words.incident,
    }


def _discord(words: Words) -> Payload:
    return {"content": f"{words.summary}\n{words.link}", "allowed_mentions": {"parse": []}}


def _jenkins(words: Words) -> Payload:
    return {"event": "${event_type}", "project": "${project_name}", **words.details, "url": words.link}


PRESETS: tuple[Preset, ...] = (
    Preset(
        key="github",
        label=_("GitHub: repository_dispatch"),
        url="https://api.github.com/repos/OWNER/REPO/dispatches",
        hint=_("Access token: a token that may write the repository's contents."),
        make=_github,
    ),
    Preset(
        key="gitlab",
        label=_("GitLab: pipeline trigger"),
        url="https://gitlab.com/api/v4/projects/PROJECT_ID/trigger/pipeline",
        hint=_(
            "Signing secret: a secret named GITLAB_TRIGGER_TOKEN that holds the trigger's token. As the "
            "access token it would be sent as a login too, which GitLab refuses. The project must let "
            "pipelines take variables."
        ),
        make=_gitlab,
    ),
    Preset(
        key="slack_blocks",
        label=_("Slack: blocks of your own"),
        url="https://hooks.slack.com/services/…",
        hint=_("For a message without work use the Slack action."),
        make=_slack_blocks,
    ),
    Preset(
        key="teams",
        label=_("Microsoft Teams: adaptive card"),
        url="https://….environment.api.powerplatform.com/powerautomate/automations/direct/workflows/…",
        hint=_("The address of a workflow that posts to a channel when a webhook request is received."),
        make=_teams,
    ),
    Preset(
        key="pagerduty_trigger",
        label=_("PagerDuty: trigger an incident"),
        url="https://events.pagerduty.com/v2/enqueue",
        hint=_("Signing secret: a secret named PAGERDUTY_ROUTING_KEY that holds the integration key."),
        make=_pagerduty_trigger,
    ),
    Preset(
        key="pagerduty_resolve",
        label=_("PagerDuty: resolve the incident"),
        url="https://events.pagerduty.com/v2/enqueue",
        hint=_("Resolves what the trigger preset raised for the same run or collection."),
        make=_pagerduty_resolve,
    ),
    Preset(
        key="discord",
        label=_("Discord"),
        url="https://discord.com/api/webhooks/…",
        hint=_("Mentions in names call nobody."),
        make=_discord,
    ),
    Preset(
        key="jenkins",
        label=_("Jenkins: generic webhook trigger"),
        url="https://jenkins.example.com/generic-webhook-trigger/invoke",
        hint=_(
            "Access token: the token of the job's trigger. Map the fields by JSONPath in the job, for "
            "instance $.url."
        ),
        make=_jenkins,
    ),
)
