"""Keys of the vault and keys of signatures are changed without a gap, and a wrong key gives nothing away."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from pytest_django import Settings
from pytest_httpserver import HTTPServer
from standardwebhooks import Webhook, WebhookVerificationError

from automations import vault
from automations.models import Delivery, Inbox, InboxRequest, Integration, Secret
from automations.services import targets
from automations.services.rules import ActionDraft
from tests import cast
from tests.api.house import Api
from tests.automations.stories import error_of, integration, loss_is_high
from tests.cast import Cast, Clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback")]

OLD = "whsec_b2xkb2xkb2xkb2xkb2xkb2xkb2xk"
NEW = "whsec_bmV3bmV3bmV3bmV3bmV3bmV3bmV3"


def new_key() -> str:
    return Fernet.generate_key().decode()


@pytest.fixture
def hook(penguins: Cast, httpserver: HTTPServer) -> Integration:
    httpserver.expect_request("/hook").respond_with_data("ok")
    return cast.webhook(
        penguins.team,
        httpserver.url_for("/hook"),
        access_token=cast.secret(penguins.team, "TOKEN", "t0ken"),
        signing_secret=cast.secret(penguins.team, "OLD", OLD),
    )


def ciphertexts() -> list[str]:
    found = list(Secret.objects.order_by("pk").values_list("ciphertext", flat=True))
    return found + list(Integration.objects.order_by("pk").values_list("url_ciphertext", flat=True))


# The keys of the vault


def test_the_command_encrypts_everything_with_the_first_key(
    penguins: Cast, httpserver: HTTPServer, hook: Integration, settings: Settings
) -> None:
    integration(penguins.team, "email")  # which has nothing to encrypt
    execution = loss_is_high(penguins, cast.sends(hook, {"key": "${TOKEN}"}))
    fresh = new_key()
    settings.TRIPLINE_SECRET_KEYS = [fresh, *settings.TRIPLINE_SECRET_KEYS]
    before = ciphertexts()
    said = StringIO()
    call_command("rotatesecrets", stdout=said)
    assert said.getvalue().split()[0] == "3"
    assert not set(before) & (set(ciphertexts()) - {""})

    settings.TRIPLINE_SECRET_KEYS = [fresh]
    assert [vault.decrypt(text) for text in ciphertexts() if text] == [
        "t0ken",
        OLD,
        httpserver.url_for("/hook"),
    ]
    cast.deliver()
    assert execution.deliveries.get().state == "succeeded"
    assert httpserver.log[0][0].get_data() == b'{"key":"t0ken"}'


def test_with_a_wrong_key_the_command_changes_nothing(
    penguins: Cast, hook: Integration, settings: Settings
) -> None:
    """Not even what it could have read."""
    good = settings.TRIPLINE_SECRET_KEYS
    foreign = new_key()
    settings.TRIPLINE_SECRET_KEYS = [foreign]
    cast.secret(penguins.team, "OF_ANOTHER_KEY", "unreadable")
    settings.TRIPLINE_SECRET_KEYS = [new_key(), *good]
    before = ciphertexts()
    with pytest.raises(CommandError) as refusal:
        call_command("rotatesecrets")
    assert "TRIPLINE_SECRET_KEYS" in str(refusal.value)
    assert "Nothing was changed" in str(refusal.value)
    assert ciphertexts() == before


@pytest.mark.parametrize("kind", ["webhook", "slack"])
def test_with_a_wrong_key_nothing_is_sent_and_it_is_tried_again(
    penguins: Cast, httpserver: HTTPServer, hook: Integration, settings: Settings, clock: Clock, kind: str
) -> None:
    if kind == "slack":
        hook = integration(penguins.team, "slack", url=httpserver.url_for("/hook"))
    good = settings.TRIPLINE_SECRET_KEYS
    content: dict[str, Any] = {"payload": {"key": "${TOKEN}"}} if kind == "webhook" else {}
    loss_is_high(penguins, [ActionDraft(kind, hook, content)])
    settings.TRIPLINE_SECRET_KEYS = [new_key()]
    cast.deliver()
    assert httpserver.log == []
    delivery = Delivery.objects.get()
    assert delivery.state == "pending"
    assert "TRIPLINE_SECRET_KEYS" in error_of(delivery)
    for text in ciphertexts():
        assert text not in error_of(delivery)

    settings.TRIPLINE_SECRET_KEYS = good
    clock.move(hours=1)
    cast.deliver()
    assert len(httpserver.log) == 1


def test_with_a_wrong_key_rest_and_inboxes_answer_and_name_the_variable(
    penguins: Cast, hook: Integration, settings: Settings
) -> None:
    inbox = targets.save_inbox(Inbox(team=penguins.team, name="in"))
    cast.webhook(penguins.team, inbox.url, name="to the inbox")
    ada = Api(penguins.ada)
    settings.TRIPLINE_SECRET_KEYS = [new_key()]

    assert ada.get(f"integrations/{hook.pk}/").status == 200
    refused = ada.patch(f"integrations/{hook.pk}/", {"timeout": 20})
    assert (refused.status, list(refused.json)) == (400, ["access_token"])
    assert "TRIPLINE_SECRET_KEYS" in refused.text
    tried = ada.post(f"integrations/{hook.pk}/test/").json
    assert tried["ok"] is False
    assert "TRIPLINE_SECRET_KEYS" in tried["error"]
    door = inbox.url.removeprefix(settings.TRIPLINE_BASE_URL)
    assert Api().ask("POST", door, {"a": 1}).status == 200
    assert InboxRequest.objects.get().verdict == "unchecked"
    # Storing it again mends it.
    token = Secret.objects.get(name="TOKEN")
    assert ada.patch(f"secrets/{token.pk}/", {"value": "again"}).status == 200
    assert ada.patch(f"integrations/{hook.pk}/", {"timeout": 20}).status == 200


# The keys of signatures


def test_a_signing_key_is_changed_over_rest_without_a_message_that_either_side_refuses(
    penguins: Cast, httpserver: HTTPServer, hook: Integration
) -> None:
    """Before, during and after: a receiver that knows the old key, then both, then the new one."""
    ada = Api(penguins.ada)
    cast.secret(penguins.team, "NEW", NEW)
    path = f"integrations/{hook.pk}/"
    steps: list[tuple[dict[str, Any], list[str]]] = [
        ({}, [OLD]),
        ({"signing_secret": "NEW", "signing_secret_previous": "OLD"}, [OLD, NEW]),
        ({"signing_secret_previous": None}, [NEW]),
    ]
    for number, (change, accepting) in enumerate(steps):
        assert ada.patch(path, change).status == 200
        loss_is_high(penguins, cast.sends(hook, {"text": "本番"}), name=f"rule {number}")
        cast.deliver()
        request = httpserver.log[-1][0]
        for key in (OLD, NEW):
            if key in accepting:
                assert Webhook(key).verify(request.get_data(), dict(request.headers)) == {"text": "本番"}
            else:
                with pytest.raises(WebhookVerificationError):
                    Webhook(key).verify(request.get_data(), dict(request.headers))
    assert len(httpserver.log) == 1 + 2 + 3, "each rule fires for each later run too"
