from __future__ import annotations

import json
import smtplib
import time
from collections.abc import Sequence
from email.utils import make_msgid
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.utils.translation import gettext as _, gettext_lazy

from automations import template
from automations.actions.base import ACTIONS, ActionType, Occasion, Outcome
from automations.forms import ConfigForm, StringsField
from runs.models import Team, User

if TYPE_CHECKING:
    from automations.models import Action, Delivery

_SUBJECT = 200


class EmailForm(ConfigForm):
    to = StringsField(
        label=gettext_lazy("To"), help_text=gettext_lazy("User names or e-mail addresses of members.")
    )
    subject = forms.CharField(
        label=gettext_lazy("Subject"), required=False, max_length=1000, initial="${automation_name}"
    )
    message = forms.CharField(
        label=gettext_lazy("Message"), required=False, max_length=10_000, widget=forms.Textarea
    )


class EmailIntegrationForm(ConfigForm):
    """Nothing to configure: it groups e-mails so that they can be held and counted together."""


@ACTIONS.register
class Email(ActionType):
    """An e-mail, text and HTML, to members of the team only; who left gets none, whatever the rule says."""

    key = "email"
    label = gettext_lazy("E-mail")
    config_form = EmailForm
    integration_form = EmailIntegrationForm
    needs_integration = False

    def check(self, config: dict[str, Any], variables: Sequence[str]) -> None:
        for field in ("subject", "message"):
            if problems := template.check(config[field] or "", variables):
                raise ValidationError({field: problems})

    def check_team(self, config: dict[str, Any], team: Team | None) -> None:
        known = _members(team, config["to"])
        if strangers := [address for address in config["to"] if address.casefold() not in known]:
            raise ValidationError(
                {
                    "to": [
                        _("“%(name)s” is no member of the team with an address.") % {"name": one}
                        for one in strangers
                    ]
                }
            )

    def render(self, action: Action, occasion: Occasion) -> str:
        config = action.config
        subject = occasion.mark + template.render_text(
            config["subject"] or "${automation_name}", occasion.values
        )
        message = template.render_text(config["message"] or "", occasion.values)
        context = {
            "subject": subject,
            "message": message,
            "why": occasion.why,
            "facts": occasion.facts,
            "link": occasion.link,
        }
        body = {
            "to": config["to"],
            "team": occasion.team_id,
            "subject": " ".join(subject.split())[:_SUBJECT],
            "text": render_to_string("automations/email.txt", context),
            "html": render_to_string("automations/email.html", context),
        }
        return json.dumps(body, ensure_ascii=False)

    def send(self, delivery: Delivery) -> Outcome:
        if not settings.EMAIL_HOST and settings.EMAIL_BACKEND.endswith("smtp.EmailBackend"):
            return Outcome(ok=False, error="No mail server is configured: set EMAIL_URL.")
        body = json.loads(delivery.body)
        team = Team.objects.filter(pk=body["team"]).first()
        addresses = sorted({user.email for user in _members(team, body["to"]).values()})
        if not addresses:
            return Outcome(ok=False, error="Nobody it was addressed to is a member any more.", permanent=True)
        return _mail(delivery, body, addresses)


def _mail(delivery: Delivery, body: dict[str, Any], addresses: list[str]) -> Outcome:
    domain = make_msgid().rpartition("@")[2].rstrip(">")
    message = EmailMultiAlternatives(
        body["subject"],
        body["text"],
        to=addresses,
        # The same on every attempt, so that a mail program shows a repetition once.
        headers={"Message-ID": f"<{delivery.webhook_id}@{domain}>"},
    )
    message.attach_alternative(body["html"], "text/html")
    record = {"to": addresses, "subject": body["subject"], "body": body["text"]}
    started = time.monotonic()
    try:
        message.send()
    except (smtplib.SMTPException, OSError) as error:
        permanent = isinstance(error, smtplib.SMTPRecipientsRefused)
        duration = time.monotonic() - started
        return Outcome(ok=False, error=str(error), permanent=permanent, duration=duration, request=record)
    return Outcome(ok=True, duration=time.monotonic() - started, request=record)


def _members(team: Team | None, names: Sequence[str]) -> dict[str, User]:
    """The active people among `names`, by lower-case name and address; in the team, or without one in any."""
    people = User.objects.filter(is_active=True, is_service=False).exclude(email="")
    if team is not None:
        people = people.filter(memberships__team=team)
    wanted = {name.casefold() for name in names}
    found = {}
    for person in people:
        for name in (person.username.casefold(), person.email.casefold()):
            if name in wanted:
                found[name] = person
    return found
