from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from automations import template, vault
from automations.actions import outgoing, signing
from automations.actions.base import ACTIONS, ActionType, Occasion, Outcome
from automations.forms import ConfigForm, PayloadField
from automations.models.deliveries import Order

if TYPE_CHECKING:
    from automations.models import Action, Delivery, Integration


class WebhookForm(ConfigForm):
    payload = PayloadField(
        label=_("Payload"),
        required=False,
        help_text=_("A JSON object; ${variables} are filled in inside its strings."),
    )
    order = forms.ChoiceField(
        label=_("Order"),
        choices=Order.choices,
        initial=Order.ANY.value,
        help_text=_("Of messages about the same run, or the same alias, tag or version of a collection."),
    )


@ACTIONS.register
class Webhook(ActionType):
    """POSTs JSON, signed in both forms of the contract."""

    key = "webhook"
    label = _("Webhook")
    config_form = WebhookForm
    integration_form = outgoing.UrlForm
    takes_secrets = True
    templates = ("payload",)

    def check(self, config: dict[str, Any], variables: Sequence[str]) -> None:
        if problems := template.check(config["payload"] or {}, variables):
            raise ValidationError({"payload": problems})

    def render(self, action: Action, occasion: Occasion) -> str:
        integration = action.integration
        names = [secret.name for secret in outgoing.named_secrets(integration)] if integration else []
        return template.render(action.config["payload"] or {}, occasion.values, secrets=frozenset(names))

    def order(self, config: Mapping[str, Any]) -> str:
        return config.get("order") or Order.ANY

    def send(self, delivery: Delivery) -> Outcome:
        integration = delivery.integration
        if integration is None:
            return outgoing.deleted()
        try:
            body = outgoing.filled(delivery, integration)
            return outgoing.send(delivery, integration, _headers(delivery, integration, body), body)
        except vault.VaultError as error:
            # An operator can mend the keys: worth another try, and never sent as it is.
            return Outcome(ok=False, error=str(error))
        except template.TemplateError as error:
            return Outcome(ok=False, error=f"{error}.", permanent=True)


def _headers(delivery: Delivery, integration: Integration, body: bytes) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if integration.access_token:
        headers["Authorization"] = f"Bearer {vault.decrypt(integration.access_token.ciphertext)}"
    if delivery.execution.is_test:
        headers["Tripline-Test"] = "1"
    keys = outgoing.signing_keys(integration)
    return headers | signing.sign(
        delivery.webhook_id, int(timezone.now().timestamp()), body=body, secrets=keys
    )
