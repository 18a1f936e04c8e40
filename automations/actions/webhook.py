from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from automations import backoff, template, vault
from automations.actions import http, signing
from automations.actions.base import ACTIONS, ActionType, Outcome
from automations.actions.targets import OutboundError, TargetPolicy, TargetRefused, check_target
from automations.forms import ConfigForm, PayloadField

if TYPE_CHECKING:
    from automations.models import Action, Delivery, Integration, Secret

REDACTED = "[redacted]"


def policy() -> TargetPolicy:
    """Which targets are allowed (`TRIPLINE_ALLOW_PRIVATE_TARGETS`); the own inboxes always are."""
    return TargetPolicy(
        allowed=settings.TRIPLINE_ALLOW_PRIVATE_TARGETS,
        exempt_prefixes=[f"{settings.TRIPLINE_BASE_URL}/inbox/"],
    )


def _check_url(url: str) -> None:
    try:
        check_target(url, policy())
    except TargetRefused as refusal:
        raise ValidationError(f"{refusal}.") from None


class WebhookIntegrationForm(ConfigForm):
    url = forms.CharField(label=_("URL"), max_length=4000, validators=[_check_url])


class WebhookForm(ConfigForm):
    payload = PayloadField(
        label=_("Payload"),
        required=False,
        help_text=_("A JSON object; ${variables} are filled in inside its strings."),
    )


def _secrets_of(integration: Integration) -> list[Secret]:
    """The two secrets that a payload may name (of the signing keys, the present one)."""
    return [secret for secret in (integration.access_token, integration.signing_secret) if secret]


@ACTIONS.register
class Webhook(ActionType):
    """POSTs JSON, signed in both forms of the contract."""

    key = "webhook"
    label = _("Webhook")
    config_form = WebhookForm
    integration_form = WebhookIntegrationForm

    def check(self, config: dict[str, Any], variables: Sequence[str]) -> None:
        if problems := template.check(config["payload"] or {}, variables):
            raise ValidationError({"payload": problems})

    def render(self, action: Action, values: Mapping[str, Any]) -> str:
        names = [secret.name for secret in _secrets_of(action.integration)] if action.integration else []
        return template.render(action.config["payload"] or {}, values, secrets=frozenset(names))

    def send(self, delivery: Delivery) -> Outcome:
        integration = delivery.integration
        if integration is None:
            return Outcome(ok=False, error="The integration was deleted.", permanent=True)
        try:
            return _post(delivery, integration)
        except vault.VaultError as error:
            # An operator can mend the keys: worth another try, and never sent as it is.
            return Outcome(ok=False, error=str(error))


def _post(delivery: Delivery, integration: Integration) -> Outcome:
    values = {secret.name: vault.decrypt(secret.ciphertext) for secret in _secrets_of(integration)}
    body = template.fill_secrets(delivery.body, values).encode()
    headers = _headers(delivery, integration, body)
    hidden = [*values.values(), *_signing_keys(integration)]
    record = {
        "method": "POST",
        "host": integration.host,
        "headers": {name: _redacted(name, value) for name, value in headers.items()},
        "body": delivery.body,
    }
    started = time.monotonic()
    request = http.OutboundRequest(url=vault.decrypt(integration.url_ciphertext), body=body, headers=headers)
    try:
        answer = http.post(request, policy(), deadline_seconds=integration.timeout)
    except OutboundError as error:
        duration = time.monotonic() - started
        text = _without(str(error), hidden)
        return Outcome(ok=False, error=text, permanent=error.permanent, duration=duration, request=record)
    ok = 200 <= answer.status < 300
    return Outcome(
        ok=ok,
        status=answer.status,
        response=_without(answer.body, hidden),
        permanent=not ok and not backoff.is_retryable(answer.status),
        retry_after=answer.retry_after,
        duration=answer.duration,
        request=record,
    )


def _signing_keys(integration: Integration) -> list[str]:
    rows = (integration.signing_secret, integration.signing_secret_previous)
    return [vault.decrypt(secret.ciphertext) for secret in rows if secret]


def _headers(delivery: Delivery, integration: Integration, body: bytes) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if integration.access_token:
        headers["Authorization"] = f"Bearer {vault.decrypt(integration.access_token.ciphertext)}"
    keys = _signing_keys(integration)
    return headers | signing.sign(delivery.webhook_id, int(time.time()), body=body, secrets=keys)


def _redacted(name: str, value: str) -> str:
    return f"Bearer {REDACTED}" if name == "Authorization" else value


def _without(text: str, secrets: Sequence[str]) -> str:
    """The text with every secret that the receiver echoed taken out."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, REDACTED)
    return text
