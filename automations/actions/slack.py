from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _, gettext_lazy

from automations import backoff, template, vault
from automations.actions import outgoing, slack_merging
from automations.actions.base import ACTIONS, ActionType, Occasion, Outcome
from automations.actions.slack_merging import cut
from automations.forms import ConfigForm
from automations.occasions import speaking_to

if TYPE_CHECKING:
    from automations.models import Action, Delivery

# Slack refuses longer ones: a header, a section's text, a field, and more than ten fields.
_HEADER, _SECTION, _FIELD, _FIELDS = 150, 3000, 2000, 10

_SIGNS = {"info": "ℹ️", "warn": "⚠️", "error": "🛑"}  # noqa: RUF001  (the sign for information)
SEVERITIES = [
    ("info", gettext_lazy("Information")),
    ("warn", gettext_lazy("Warning")),
    ("error", gettext_lazy("Error")),
]
# Mattermost and its like read these out of plain text, and wake everybody or somebody.
_CALLS = re.compile(r"@(?=(?:all|channel|everyone|here)\b)|(?<!\w)@(?=\w)", re.IGNORECASE)


class SlackForm(ConfigForm):
    title = forms.CharField(
        label=gettext_lazy("Title"), required=False, max_length=1000, initial="${automation_name}"
    )
    message = forms.CharField(
        label=gettext_lazy("Message"), required=False, max_length=10_000, widget=forms.Textarea
    )
    severity = forms.ChoiceField(
        label=gettext_lazy("Severity"),
        initial="info",
        choices=SEVERITIES,
    )


@ACTIONS.register
class Slack(ActionType):
    """A message to an incoming webhook of Slack, or of what is compatible with it (Mattermost).

    Block Kit for Slack; `text` says the same alone and without Slack's own marks, because others show
    nothing else. Nothing in it can call a channel or a person.
    """

    key = "slack"
    label = gettext_lazy("Slack")
    config_form = SlackForm
    integration_form = outgoing.UrlForm
    schedule = backoff.CHAT_SCHEDULE
    # What Slack takes per channel; more of them become one message.
    max_rate = 1.0
    merges = 100
    templates = ("title", "message")

    def check(self, config: dict[str, Any], variables: Sequence[str]) -> None:
        for field in self.templates:
            if problems := template.check(config[field] or "", variables):
                raise ValidationError({field: problems})

    def render(self, action: Action, occasion: Occasion) -> str:
        config = action.config
        severity = config["severity"]
        title = occasion.mark + template.render_text(config["title"] or "${automation_name}", occasion.values)
        message = template.render_text(config["message"] or "", occasion.values).strip()
        texts = [cut(escaped(text), _SECTION) for text in (message, occasion.why) if text]
        link = _link(occasion.link)
        blocks = [
            {"type": "header", "text": _plain(f"{_SIGNS[severity]} {title}", _HEADER)},
            *({"type": "section", "text": _marked(text)} for text in texts),
            *_facts(occasion),
            {"type": "context", "elements": [_marked(part) for part in (_severity(severity), link) if part]},
        ]
        lines = [f"{_SIGNS[severity]} {cut(escaped(title), _SECTION)}", *texts]
        lines += [f"{label}: {cut(escaped(value), _FIELD)}" for label, value in occasion.facts]
        text = "\n".join([*lines, link] if link else lines)
        return json.dumps({"text": text, "blocks": blocks}, ensure_ascii=False)

    def shown(self, body: str) -> str:
        return str(json.loads(body)["text"])

    def send(self, delivery: Delivery) -> Outcome:
        return _sent(delivery, delivery.body)

    def send_merged(self, deliveries: Sequence[Delivery]) -> Outcome:
        first = deliveries[0]
        team = first.integration.team if first.integration else None
        with speaking_to(team):
            body = slack_merging.merged([json.loads(delivery.body) for delivery in deliveries])
        return _sent(first, json.dumps(body, ensure_ascii=False))


def _sent(delivery: Delivery, body: str) -> Outcome:
    integration = delivery.integration
    if integration is None:
        return outgoing.deleted()
    headers = {"Content-Type": "application/json; charset=utf-8"}
    try:
        return outgoing.send(delivery, integration, headers, body.encode(), record=body)
    except vault.VaultError as error:
        return Outcome(ok=False, error=str(error))


def escaped(text: str) -> str:
    """Text that is only text: no `<!channel>`, no link, no `@all`."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _CALLS.sub("@\u200b", text)


def _plain(text: str, length: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": cut(_CALLS.sub("@\u200b", text), length), "emoji": True}


def _marked(text: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": text}


def _facts(occasion: Occasion) -> list[dict[str, Any]]:
    fields = [_marked(cut(f"*{label}*\n{escaped(value)}", _FIELD)) for label, value in occasion.facts]
    return [{"type": "section", "fields": fields[:_FIELDS]}] if fields else []


def _severity(key: str) -> str:
    return str(dict(SEVERITIES)[key])


def _link(address: str) -> str:
    """A link as Slack writes it, which Mattermost reads too; none that would be cut to a wrong one."""
    for sign in "<>| ":
        address = address.replace(sign, quote(sign))
    link = f"<{address}|{_('Open in Tripline')}>"
    return link if address and len(link) <= _SECTION else ""
