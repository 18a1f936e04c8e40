"""Sending JSON to an integration: one request, redacted in the record, judged for retries."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from automations import backoff, template, vault
from automations.actions import http, redaction
from automations.actions.base import Outcome
from automations.actions.targets import OutboundError, TargetPolicy, TargetRefused, check_target
from automations.forms import ConfigForm
from runs import cause

if TYPE_CHECKING:
    from automations.models import Delivery, Integration, Secret


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


class UrlForm(ConfigForm):
    """What an integration that is reached by URL needs."""

    url = forms.CharField(label=_("URL"), max_length=4000, validators=[_check_url])


def named_secrets(integration: Integration) -> list[Secret]:
    """The two secrets that a payload may name (of the signing keys, the present one)."""
    return [secret for secret in (integration.access_token, integration.signing_secret) if secret]


def signing_keys(integration: Integration) -> list[str]:
    """The keys that sign: during a rotation both."""
    rows = (integration.signing_secret, integration.signing_secret_previous)
    return [vault.decrypt(secret.ciphertext) for secret in rows if secret]


def send(
    delivery: Delivery, integration: Integration, headers: Mapping[str, str], body: bytes, *, record: str = ""
) -> Outcome:
    """POST once. Whatever the receiver echoes of our secrets is taken out of the record.

    `record` is the body as the record shows it, without secrets; by default that of the delivery.
    """
    hidden = hidden_texts(integration)
    headers = {**headers, cause.HEADER: cause.signed(delivery.cause)} if delivery.cause else headers
    sent = {
        "method": "POST",
        "host": integration.host,
        "headers": {name: _redacted(name, value) for name, value in headers.items()},
        "body": record or delivery.body,
    }
    request = http.OutboundRequest(url=vault.decrypt(integration.url_ciphertext), body=body, headers=headers)
    started = time.monotonic()
    try:
        answer = http.post(request, policy(), deadline_seconds=integration.timeout)
    except OutboundError as error:
        return Outcome(
            ok=False,
            error=redaction.redacted(str(error), hidden),
            permanent=error.permanent,
            silent=not error.permanent,
            duration=time.monotonic() - started,
            request=sent,
        )
    ok = 200 <= answer.status < 300
    return Outcome(
        ok=ok,
        status=answer.status,
        response=redaction.redacted(answer.body, hidden, broken_off=answer.truncated),
        permanent=not ok and not backoff.is_retryable(answer.status),
        retry_after=answer.retry_after,
        duration=answer.duration,
        request=sent,
    )


def filled(delivery: Delivery, integration: Integration) -> bytes:
    """The body with its secrets in place."""
    values = {secret.name: vault.decrypt(secret.ciphertext) for secret in named_secrets(integration)}
    return template.fill_secrets(delivery.body, values).encode()


def hidden_texts(integration: Integration) -> list[str]:
    """Everything that must not be seen in a record: secrets, and the address, which often is one."""
    token = integration.access_token
    secrets = [vault.decrypt(token.ciphertext)] if token else []
    url = vault.decrypt(integration.url_ciphertext)
    return redaction.spellings([*secrets, *signing_keys(integration), *redaction.secret_parts(url)])


def _redacted(name: str, value: str) -> str:
    return f"Bearer {redaction.REDACTED}" if name == "Authorization" else value


def deleted() -> Outcome:
    return Outcome(ok=False, error="The integration was deleted.", permanent=True)
