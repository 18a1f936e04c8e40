"""Write verbs for secrets, integrations and inboxes."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import ProtectedError
from django.utils.translation import gettext as _

from automations import doorbell, outlets, vault
from automations.actions import outgoing, redaction, signing
from automations.actions.base import ACTIONS
from automations.models import (
    UNSETTLED,
    Delivery,
    DeliveryState,
    Inbox,
    InboxRequest,
    Integration,
    Secret,
)
from runs import clock
from runs.errors import Conflict
from runs.models import Team
from runs.names import validate_text
from runs.services.saving import save_named

# What people say about an integration; whether it is disabled changes by itself.
_CONFIGURED = (
    "type",
    "name",
    "url_ciphertext",
    "host",
    "access_token",
    "signing_secret",
    "signing_secret_previous",
    "timeout",
    "concurrency",
    "rate",
)
# So many requests an inbox keeps.
INBOX_KEEPS = 50


def save_secret(secret: Secret, *, value: str | None) -> Secret:
    """Store or replace a secret's value; without one, the value stays."""
    if value is not None:
        _check_secret_value(value)
        secret.ciphertext = vault.encrypt(value)
    if not secret.ciphertext:
        raise ValidationError({"value": _("A secret needs a value.")})
    return save_named(secret)


def _check_secret_value(value: str) -> None:
    if not value or len(value) > 10_000:
        raise ValidationError({"value": _("A secret has 1 to 10,000 characters.")})
    try:
        validate_text(value)
        signing.validate_secret(value)
    except ValidationError as error:
        raise ValidationError({"value": error.messages}) from error
    except ValueError as error:
        raise ValidationError({"value": f"{error}."}) from error


def save_integration(integration: Integration, *, url: str | None = None) -> Integration:
    """Store an integration; without `url` its address stays. Raises `ValidationError` by field."""
    form = _integration_form(integration)
    if "url" not in form.base_fields:
        if url is not None:
            raise ValidationError({"url": _("An integration of this type has no URL.")})
    elif url is not None:
        cleaned = form.parse({"url": url})
        integration.url_ciphertext = vault.encrypt(cleaned["url"])
        integration.host = urlsplit(cleaned["url"]).netloc.rpartition("@")[2][:250]
    elif not integration.url_ciphertext:
        raise ValidationError({"url": _("An integration of this type needs a URL.")})
    _check_secrets(integration)
    return save_named(integration, only=_CONFIGURED)


def _integration_form(integration: Integration) -> Any:
    try:
        form = ACTIONS.find(integration.type).integration_form
    except ValidationError as error:
        raise ValidationError({"type": error.messages}) from error
    if form is None:
        raise ValidationError({"type": _("This action needs no integration.")})
    return form


@transaction.atomic
def reencrypt() -> int:
    """Encrypt everything stored with the first key; returns how many. All or nothing."""
    count = 0
    for model, field in ((Secret, "ciphertext"), (Integration, "url_ciphertext")):
        for row in model.objects.select_for_update().exclude(**{field: ""}):
            fresh = vault.encrypt(vault.decrypt(getattr(row, field)))
            model.objects.filter(pk=row.pk).update(**{field: fresh})
            count += 1
    return count


def _check_secrets(integration: Integration) -> None:
    for field in ("access_token", "signing_secret", "signing_secret_previous"):
        secret: Secret | None = getattr(integration, field)
        if secret is not None and secret.team_id != integration.team_id:
            raise ValidationError({field: _("This secret belongs to another team.")})
    token = integration.access_token
    try:
        usable = token is None or _is_header_value(vault.decrypt(token.ciphertext))
    except vault.VaultError as error:
        raise ValidationError({"access_token": str(error)}) from error
    if not usable:
        raise ValidationError({"access_token": _("An access token is one line of ASCII.")})


def _is_header_value(value: str) -> bool:
    return value.isascii() and value.isprintable()


def set_integration_enabled(integration: Integration, *, enabled: bool, reason: str = "") -> Integration:
    """Disable (new deliveries are held) or enable again (what was held is sent)."""
    with transaction.atomic():
        outlet = outlets.lock(integration.pk)
        integration.disabled_at = None if enabled else clock.now()
        integration.disabled_reason = "" if enabled else reason[:250]
        integration.save(update_fields=["disabled_at", "disabled_reason"])
        if not enabled:
            outlets.hold(integration.pk)
        elif outlet is not None:
            outlets.start_afresh(outlet)
    if enabled:
        outlets.release(integration.pk)
    return integration


def delete_target(target: Secret | Integration | Inbox) -> None:
    """Delete a secret or an integration that nothing uses. Raises `Conflict` when something does.

    What waited or was held for an integration has nowhere to go any more, and fails.
    """
    try:
        with transaction.atomic():
            if isinstance(target, Integration):
                _send_off(target)
            target.delete()
    except ProtectedError as error:
        users = ", ".join(sorted(str(user) for user in error.protected_objects))
        raise Conflict({"id": _("It is in use by: %(users)s.") % {"users": users}}) from error


def _send_off(integration: Integration) -> None:
    """Its messages go the way of those without an integration, which tells each that it is gone."""
    outlets.lock(integration.pk)
    waiting = Delivery.objects.filter(integration=integration, state__in=UNSETTLED)
    waiting.filter(lease=None).update(state=DeliveryState.PENDING, next_at=clock.now())
    transaction.on_commit(partial(doorbell.ring_drain, None), robust=True)


def save_inbox(inbox: Inbox) -> Inbox:
    return save_named(inbox)


@transaction.atomic
def open_inbox(team: Team) -> Integration:
    """A webhook of the team that posts to an inbox of the team's own; both are made where there is none."""
    inbox = team.inboxes.order_by("pk").first() or save_inbox(Inbox(team=team, name=_free(team.inboxes)))
    mine = team.integrations.filter(type="webhook").exclude(url_ciphertext="").order_by("pk")
    known = next((integration for integration in mine if _points_at(integration, inbox.url)), None)
    if known is not None:
        return known
    webhook = Integration(team=team, type="webhook", name=_free(team.integrations))
    return save_integration(webhook, url=inbox.url)


def _free(named: Any) -> str:
    """A name that nothing of the team has yet: “inbox”, “inbox 2” …"""
    taken = set(named.filter(name__startswith="inbox").values_list("name", flat=True))
    names = (f"inbox {number}" if number > 1 else "inbox" for number in itertools.count(1))
    return next(name for name in names if name not in taken)


@transaction.atomic
def receive(inbox: Inbox, *, headers: dict[str, str], body: bytes) -> InboxRequest:
    """Keep a request that came in, with the verdict on its signature; the oldest make room.

    What our own integrations put into it of their secrets is not kept.
    """
    now = clock.now()
    senders = _senders(inbox)
    keys = [key for sender in senders for key in outgoing.signing_keys(sender)]
    verdict = signing.verify(headers, body, secrets=keys, tolerance_seconds=300, now=now.timestamp())
    hidden = [text for sender in senders for text in outgoing.hidden_texts(sender)]
    hidden.sort(key=len, reverse=True)
    text = body.decode(errors="replace").replace("\x00", "\ufffd")
    request = InboxRequest.objects.create(
        inbox=inbox,
        received_at=now,
        headers={name: redaction.redacted(value, hidden) for name, value in headers.items()},
        body=redaction.redacted(text, hidden),
        verdict=verdict,
    )
    kept = inbox.requests.order_by("-pk").values("pk")[:INBOX_KEEPS]
    inbox.requests.exclude(pk__in=[row["pk"] for row in kept]).delete()
    return request


def _senders(inbox: Inbox) -> list[Integration]:
    """The team's integrations that point at this inbox and whose secrets can be read."""
    mine = Integration.objects.filter(team=inbox.team_id).exclude(url_ciphertext="")
    mine = mine.select_related("access_token", "signing_secret", "signing_secret_previous")
    return [integration for integration in mine if _points_at(integration, inbox.url)]


def _points_at(integration: Integration, url: str) -> bool:
    try:
        outgoing.hidden_texts(integration)
        return vault.decrypt(integration.url_ciphertext) == url
    except vault.VaultError:
        # It cannot have sent anything: neither to this inbox nor elsewhere.
        return False
