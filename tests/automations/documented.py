"""The JSON that receivers document for what the presets send: an account of their pages, not of the presets.

GitHub: REST API, "Create a repository dispatch event". GitLab: "Trigger pipelines with the API". Slack:
"Incoming webhooks" and the section block. Microsoft: "Send Adaptive Cards using an Incoming Webhook", which
the Workflows trigger takes too, and the schema of TextRun. PagerDuty: Events API v2, "Send an Alert Event".
Discord: "Execute Webhook". Jenkins: the README of the Generic Webhook Trigger plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

TEXT, ANY = str, object


@dataclass(frozen=True)
class Shape:
    """A JSON object as documented: what it must have, what it may have, how long its texts may be."""

    required: Mapping[str, Any]
    optional: Mapping[str, Any] = field(default_factory=dict)
    # Where any key is allowed: what each holds, and how many.
    others: Any = None
    most: int = 1000


def one_of(*texts: str) -> Callable[[Any], bool]:
    return lambda value: value in texts


def up_to(length: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and 0 < len(value) <= length


def each(shape: Any, most: int) -> Callable[[Any], bool]:
    def fits_all(value: Any) -> bool:
        return isinstance(value, list) and 0 < len(value) <= most and all(fits(item, shape) for item in value)

    return fits_all


def fits(value: Any, shape: Any) -> bool:
    if isinstance(shape, type):
        return isinstance(value, shape)
    if not isinstance(shape, Shape):
        return bool(shape(value))
    if not isinstance(value, dict) or len(value) > shape.most or not set(shape.required) <= set(value):
        return False
    known = {**shape.optional, **shape.required}
    return all(fits(item, known.get(key, shape.others or one_of())) for key, item in value.items())


SLACK_TEXT = Shape({"type": one_of("mrkdwn", "plain_text"), "text": up_to(3000)})
SECTION = Shape({"type": one_of("section"), "text": SLACK_TEXT})
TEXT_RUN = Shape(
    {"type": one_of("TextRun"), "text": TEXT}, {"weight": one_of("Bolder", "Lighter", "Default")}
)
CARD = Shape(
    {
        "$schema": one_of("http://adaptivecards.io/schemas/adaptive-card.json"),
        "type": one_of("AdaptiveCard"),
        "version": one_of("1.2", "1.3", "1.4"),
        "body": each(Shape({"type": one_of("RichTextBlock"), "inlines": each(TEXT_RUN, 10)}), 10),
        "actions": each(Shape({"type": one_of("Action.OpenUrl"), "url": TEXT}, {"title": TEXT}), 6),
    }
)
ATTACHMENT = Shape(
    {
        "contentType": one_of("application/vnd.microsoft.card.adaptive"),
        "contentUrl": type(None),
        "content": CARD,
    }
)
PAGERDUTY = {"routing_key": up_to(32), "dedup_key": up_to(255)}
# The parameters that the receivers' pages list, as far as presets use them.
DOCUMENTED: dict[str, Shape] = {
    "github": Shape({"event_type": up_to(100)}, {"client_payload": Shape({}, others=ANY, most=10)}),
    # Every variable is a text: a number is a 400.
    "gitlab": Shape({"token": TEXT, "ref": up_to(255)}, {"variables": Shape({}, others=TEXT)}),
    "slack_blocks": Shape({"text": TEXT, "blocks": each(SECTION, 50)}),
    "teams": Shape({"type": one_of("message"), "attachments": each(ATTACHMENT, 1)}),
    "pagerduty_trigger": Shape(
        {
            **PAGERDUTY,
            "event_action": one_of("trigger"),
            "payload": Shape(
                {
                    "summary": up_to(1024),
                    "source": TEXT,
                    "severity": one_of("critical", "error", "warning", "info"),
                },
                {"component": TEXT, "group": TEXT, "class": TEXT, "custom_details": Shape({}, others=ANY)},
            ),
        },
        {"links": each(Shape({"href": TEXT}, {"text": TEXT}), 10)},
    ),
    "pagerduty_resolve": Shape({**PAGERDUTY, "event_action": one_of("resolve")}),
    "discord": Shape({"content": up_to(2000)}, {"allowed_mentions": Shape({"parse": list})}),
    "jenkins": Shape({}, others=ANY),
}
