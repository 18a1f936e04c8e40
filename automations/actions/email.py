from __future__ import annotations

import json
import smtplib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives
from django.db.models import QuerySet
from django.template.loader import render_to_string
from django.utils.translation import gettext as _, gettext_lazy

from automations import access, template
from automations.actions.base import ACTIONS, ActionType, Occasion, Outcome
from automations.forms import ConfigForm, StringsField
from registry.models import Registry
from runs.models import Team, User

if TYPE_CHECKING:
    from automations.models import Action, Delivery

_SUBJECT = 200
_RECIPIENTS = 100
# From here on a mail server says: not now, not later either.
_FINAL = 500
# The mail server is not there, or went away.
_SILENCES = (smtplib.SMTPServerDisconnected, smtplib.SMTPConnectError)


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

    def clean_to(self) -> list[str]:
        to: list[str] = self.cleaned_data["to"]
        if len(to) > _RECIPIENTS:
            raise ValidationError(_("An e-mail goes to %(most)d people at most.") % {"most": _RECIPIENTS})
        return to


class EmailIntegrationForm(ConfigForm):
    """Nothing to configure: it groups e-mails so that they can be held and counted together."""


@ACTIONS.register
class Email(ActionType):
    """An e-mail, text and HTML, to members of the team only; who left gets none, whatever the rule says.

    What happened in a registry goes to whom the registry is open to.
    """

    key = "email"
    label = gettext_lazy("E-mail")
    config_form = EmailForm
    integration_form = EmailIntegrationForm
    needs_integration = False
    # A mail server may take its time for every one of a hundred recipients.
    longest = 300.0
    templates = ("subject", "message")

    def check(self, config: dict[str, Any], variables: Sequence[str]) -> None:
        for field in self.templates:
            if problems := template.check(config[field] or "", variables):
                raise ValidationError({field: problems})

    def check_audience(self, config: dict[str, Any], people: QuerySet[User]) -> None:
        known = {name for person in _addressed(people, config["to"]) for name in _names(person)}
        if strangers := [name for name in config["to"] if name.casefold() not in known]:
            sentence = _("“%(name)s” is no member of the team with an address.")
            raise ValidationError({"to": [sentence % {"name": name[:80]} for name in strangers]})

    def sentence(self, config: Mapping[str, Any], target: str) -> str:
        if not config.get("to"):
            return super().sentence(config, target)
        return _("e-mail to %(people)s") % {"people": ", ".join(config["to"])}

    def render(self, action: Action, occasion: Occasion) -> str:
        config = action.config
        subject = occasion.mark + template.render_text(
            config["subject"] or "${automation_name}", occasion.values
        )
        context = {
            "subject": subject,
            "message": template.render_text(config["message"] or "", occasion.values),
            "why": occasion.why,
            "facts": occasion.facts,
            "link": occasion.link,
        }
        body = {
            "to": config["to"],
            "audience": occasion.audience,
            "subject": _one_line(subject),
            "text": render_to_string("automations/email.txt", context),
            "html": render_to_string("automations/email.html", context),
        }
        return json.dumps(body, ensure_ascii=False)

    def shown(self, body: str) -> str:
        mail = json.loads(body)
        return f"{mail['subject']}\n\n{mail['text'].strip()}"

    def send(self, delivery: Delivery) -> Outcome:
        if not settings.EMAIL_HOST and settings.EMAIL_BACKEND.endswith("smtp.EmailBackend"):
            return Outcome(ok=False, error="No mail server is configured: set EMAIL_URL.")
        body = json.loads(delivery.body)
        members = _addressed(_audience(body["audience"]), body["to"])
        addresses = sorted({person.email for person in members})
        if not addresses:
            return Outcome(
                ok=False, error="Nobody it is addressed to is a member of the team now.", permanent=True
            )
        return _mail(delivery, body, addresses)


def _one_line(subject: str) -> str:
    """A header is one line of printable characters, whatever names are in it."""
    return "".join(sign for sign in " ".join(subject.split()) if sign.isprintable())[:_SUBJECT]


def _mail(delivery: Delivery, body: dict[str, Any], addresses: list[str]) -> Outcome:
    message = EmailMultiAlternatives(
        body["subject"],
        body["text"],
        to=addresses,
        headers={"Message-ID": _message_id(delivery), "Auto-Submitted": "auto-generated"},
    )
    message.attach_alternative(body["html"], "text/html")
    record = {"to": addresses, "subject": body["subject"], "body": body["text"]}
    started = time.monotonic()
    error, permanent, silent = "", False, False
    try:
        message.send()
    except (smtplib.SMTPException, OSError) as problem:
        error, permanent = _said(problem), _is_final(problem)
        silent = not isinstance(problem, smtplib.SMTPException) or isinstance(problem, _SILENCES)
    except ValueError as problem:
        # An address that no mail can go to.
        error, permanent = _said(problem), True
    duration = time.monotonic() - started
    return Outcome(
        ok=not error, error=error, permanent=permanent, silent=silent, duration=duration, request=record
    )


def _message_id(delivery: Delivery) -> str:
    """The same on every attempt, from whatever machine: a mail program shows a repetition once."""
    host = urlsplit(settings.TRIPLINE_BASE_URL).hostname or "tripline"
    return f"<{delivery.webhook_id}@{f'[{host}]' if ':' in host else host}>"


def _said(problem: Exception) -> str:
    text = str(problem) or type(problem).__name__
    password = settings.EMAIL_HOST_PASSWORD
    return text.replace(password, "[redacted]") if password else text


def _is_final(problem: Exception) -> bool:
    """Whether the server refused this mail for good; a refused password is the operator's to mend."""
    if isinstance(problem, smtplib.SMTPRecipientsRefused):
        return all(code >= _FINAL for code, _reason in problem.recipients.values())
    refused = isinstance(problem, smtplib.SMTPSenderRefused | smtplib.SMTPDataError)
    return refused and problem.smtp_code >= _FINAL  # type: ignore[attr-defined]


def _audience(text: str) -> QuerySet[User]:
    """Who belongs now to the team or the registry that the message was rendered for."""
    kind, _colon, pk = text.partition(":")
    place: Team | Registry | None = None
    if kind == "team":
        place = Team.objects.filter(pk=pk).first()
    elif kind == "registry":
        place = Registry.objects.filter(pk=pk).first()
    return access.people(place) if place else User.objects.none()


def _addressed(people: QuerySet[User], names: Iterable[str]) -> list[User]:
    """Those who are named, by user name or address in whatever case, and have an address."""
    wanted = {name.casefold() for name in names}
    return [person for person in people.exclude(email="") if wanted & _names(person)]


def _names(person: User) -> set[str]:
    return {person.username.casefold(), person.email.casefold()}
