"""Payloads to start from, each in the form that its receiver's documentation shows.

A preset is a webhook's payload; `${…}` in capitals are names of the integration's own secrets, to be
replaced by the names that the team uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True, slots=True)
class Preset:
    """`url` shows where it goes; `hint` says what else the receiver wants."""

    key: str
    label: str | Promise
    url: str
    hint: str | Promise
    payload: dict[str, Any]


_SUMMARY = "${automation_name}: ${run_name}${artifact_version} ${metric_filter}${alias}"
_LINK = "${run_url}${artifact_url}"
# The same for the rule that raises and the rule that resolves.
_INCIDENT = "tripline/${project_name}${registry_name}/${run_id}${artifact_collection_name}"

PRESETS: tuple[Preset, ...] = (
    Preset(
        key="github",
        label=_("GitHub: repository_dispatch"),
        url="https://api.github.com/repos/OWNER/REPO/dispatches",
        hint=_("Access token: a token that may write the repository's contents."),
        payload={
            "event_type": "tripline",
            "client_payload": {
                "automation": "${automation_name}",
                "event": "${event_type}",
                "project": "${project_name}",
                "run": "${run_name}",
                "version": "${artifact_version}",
                "alias": "${alias}",
                "metric": "${metric_name}",
                "value": "${metric_value}",
                "url": _LINK,
            },
        },
    ),
    Preset(
        key="gitlab",
        label=_("GitLab: pipeline trigger"),
        url="https://gitlab.com/api/v4/projects/PROJECT_ID/trigger/pipeline",
        hint=_(
            "Signing secret: a secret named GITLAB_TRIGGER_TOKEN that holds the trigger's token. As the "
            "access token it would be sent as a login too, which GitLab refuses."
        ),
        payload={
            "token": "${GITLAB_TRIGGER_TOKEN}",
            "ref": "main",
            "variables": {
                "TRIPLINE_EVENT": "${event_type}",
                "TRIPLINE_RUN": "${run_name}",
                "TRIPLINE_VERSION": "${artifact_version}",
                "TRIPLINE_URL": _LINK,
            },
        },
    ),
    Preset(
        key="slack_blocks",
        label=_("Slack: blocks of your own"),
        url="https://hooks.slack.com/services/…",
        hint=_("For a message without work use the Slack action."),
        payload={
            # Read for marks such as <!channel>, unlike plain_text: no name that others choose.
            "text": "${automation_name}",
            "blocks": [
                {"type": "section", "text": {"type": "plain_text", "text": _SUMMARY}},
                {
                    "type": "actions",
                    "elements": [
                        {"type": "button", "text": {"type": "plain_text", "text": "Open"}, "url": _LINK}
                    ],
                },
            ],
        },
    ),
    Preset(
        key="teams",
        label=_("Microsoft Teams: adaptive card"),
        url="https://….logic.azure.com/workflows/…",
        hint=_("The address of a workflow that posts to a channel when a webhook request is received."),
        payload={
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
                                "type": "TextBlock",
                                "text": "${automation_name}",
                                "weight": "Bolder",
                                "wrap": True,
                            },
                            {"type": "TextBlock", "text": _SUMMARY, "wrap": True},
                        ],
                        "actions": [{"type": "Action.OpenUrl", "title": "Open in Tripline", "url": _LINK}],
                    },
                }
            ],
        },
    ),
    Preset(
        key="pagerduty_trigger",
        label=_("PagerDuty: trigger an incident"),
        url="https://events.pagerduty.com/v2/enqueue",
        hint=_("Signing secret: a secret named PAGERDUTY_ROUTING_KEY that holds the integration key."),
        payload={
            "routing_key": "${PAGERDUTY_ROUTING_KEY}",
            "event_action": "trigger",
            "dedup_key": _INCIDENT,
            "payload": {
                "summary": _SUMMARY,
                "source": "tripline",
                "severity": "error",
                "component": "${project_name}",
                "custom_details": {
                    "metric": "${metric_name}",
                    "value": "${metric_value}",
                    "step": "${step}",
                },
            },
            "links": [{"href": _LINK, "text": "Open in Tripline"}],
        },
    ),
    Preset(
        key="pagerduty_resolve",
        label=_("PagerDuty: resolve the incident"),
        url="https://events.pagerduty.com/v2/enqueue",
        hint=_("Resolves what the trigger preset raised for the same run or collection."),
        payload={
            "routing_key": "${PAGERDUTY_ROUTING_KEY}",
            "event_action": "resolve",
            "dedup_key": _INCIDENT,
        },
    ),
    Preset(
        key="discord",
        label=_("Discord"),
        url="https://discord.com/api/webhooks/…",
        hint=_("Mentions in names call nobody."),
        payload={"content": f"{_SUMMARY}\n{_LINK}", "allowed_mentions": {"parse": []}},
    ),
    Preset(
        key="jenkins",
        label=_("Jenkins: generic webhook trigger"),
        url="https://jenkins.example.com/generic-webhook-trigger/invoke?token=TOKEN",
        hint=_("Map the fields by JSONPath in the job, for instance $.version."),
        payload={
            "event": "${event_type}",
            "run": "${run_name}",
            "version": "${artifact_version}",
            "alias": "${alias}",
            "url": _LINK,
        },
    ),
)
