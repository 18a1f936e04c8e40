"""Signatures that other people's code accepts, and the verdicts of our own inbox."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import pytest
from hypothesis import given, strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from automations.actions.signing import Verdict, sign, validate_secret, verify

OTTER = "whsec_" + base64.b64encode(b"otters hold hands while they sleep").decode()
HERON = "whsec_" + base64.b64encode(b"herons stand very still, for hours").decode()
PLAIN = "ein Geheimnis aus 本番"
BODY = '{"text":"a \\"quote\\", 本番 and </script>"}'.encode()
NOW = 1_790_000_000


def _signed_now(secrets: list[str], body: bytes = BODY) -> dict[str, str]:
    return sign("msg_1", int(time.time()), body=body, secrets=secrets)


def _verdict(headers: dict[str, str], *, body: bytes = BODY, secrets: list[str], now: float = NOW) -> Verdict:
    return verify(headers, body, secrets=secrets, tolerance_seconds=300, now=now)


def test_standardwebhooks_accepts_a_signature() -> None:
    assert Webhook(OTTER).verify(BODY, _signed_now([OTTER]))["text"].startswith("a ")


def test_standardwebhooks_accepts_a_plain_secret_by_its_utf8_bytes() -> None:
    Webhook(PLAIN.encode()).verify(BODY, _signed_now([PLAIN]))


@pytest.mark.parametrize("known", [OTTER, HERON])
def test_during_rotation_a_receiver_may_know_either_key(known: str) -> None:
    headers = _signed_now([HERON, OTTER])
    assert headers["webhook-signature"].count("v1,") == 2
    Webhook(known).verify(BODY, headers)


def test_standardwebhooks_refuses_a_changed_body() -> None:
    headers = _signed_now([OTTER])
    with pytest.raises(WebhookVerificationError):
        Webhook(OTTER).verify(BODY + b" ", headers)


def test_standardwebhooks_refuses_another_key() -> None:
    headers = _signed_now([OTTER])
    with pytest.raises(WebhookVerificationError):
        Webhook(HERON).verify(BODY, headers)


@given(st.text().map(str.encode))
def test_any_body_passes_between_us_and_standardwebhooks(body: bytes) -> None:
    Webhook(OTTER).verify(body, _signed_now([OTTER], body), json_parse=False)


def test_our_verdict_on_a_request_signed_by_standardwebhooks_is_valid() -> None:
    moment = time.time()
    stamp = int(moment)
    signature = f"v1,{base64.b64encode(_standard_digest(stamp)).decode()}"
    headers = {"Webhook-Id": "msg_9", "Webhook-Timestamp": str(stamp), "Webhook-Signature": signature}
    Webhook(OTTER).verify(BODY, headers)
    assert _verdict(headers, secrets=[OTTER], now=moment) is Verdict.VALID


def _standard_digest(stamp: int) -> bytes:
    key = base64.b64decode(OTTER.removeprefix("whsec_"))
    return hmac.new(key, f"msg_9.{stamp}.".encode() + BODY, hashlib.sha256).digest()


def test_the_wandb_header_is_the_hex_hmac_of_the_body_with_the_first_key() -> None:
    headers = sign("msg_1", NOW, body=BODY, secrets=[PLAIN, OTTER])
    assert headers["X-Wandb-Signature"] == hmac.new(PLAIN.encode(), BODY, hashlib.sha256).hexdigest()


def test_without_a_secret_the_request_is_named_but_not_signed() -> None:
    headers = sign("msg_1", NOW, body=BODY, secrets=[])
    assert headers == {"webhook-id": "msg_1", "webhook-timestamp": str(NOW)}


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param("", id="empty"),
        pytest.param("whsec_", id="nothing after the prefix"),
        pytest.param("whsec_====", id="only padding"),
        pytest.param("whsec_not base64!", id="foreign characters"),
        pytest.param("whsec_abc-_def", id="the alphabet of URLs"),
        pytest.param("whsec_abcde", id="impossible length"),
        pytest.param("whsec_本番本", id="not ASCII"),
        pytest.param("whsec_YWJj\n", id="line end"),
        pytest.param("half a pair \ud83d", id="lone surrogate"),
    ],
)
def test_a_secret_that_cannot_sign_is_refused_without_repeating_it(secret: str) -> None:
    with pytest.raises(ValueError, match="signing secret") as refusal:
        validate_secret(secret)
    assert not isinstance(refusal.value, UnicodeError)
    assert (secret.removeprefix("whsec_") or "nothing to repeat") not in str(refusal.value)


@pytest.mark.parametrize("secret", [OTTER, OTTER.rstrip("="), PLAIN, "whsec", "x", "WHSEC_not base64"])
def test_a_secret_that_can_sign_is_accepted(secret: str) -> None:
    validate_secret(secret)
    assert "webhook-signature" in sign("msg_1", NOW, body=BODY, secrets=[secret])


def test_padding_may_be_left_off() -> None:
    padded = "whsec_" + base64.b64encode(b"1234567890").decode()
    assert padded.endswith("==")
    assert _signed_now([padded]) == _signed_now([padded.rstrip("=")])


def test_an_intact_request_is_valid_for_each_key_that_signed_it() -> None:
    headers = sign("msg_1", NOW, body=BODY, secrets=[HERON, OTTER])
    assert _verdict(headers, secrets=[OTTER]) is Verdict.VALID
    assert _verdict(headers, secrets=[HERON]) is Verdict.VALID
    assert _verdict(headers, secrets=[PLAIN, HERON]) is Verdict.VALID
    assert _verdict(headers, secrets=[PLAIN]) is Verdict.INVALID


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"webhook-id": "msg_2"}, id="other id"),
        pytest.param({"webhook-id": ""}, id="empty id"),
        pytest.param({"webhook-timestamp": str(NOW + 1)}, id="other time"),
        pytest.param({"webhook-timestamp": ""}, id="no time"),
        pytest.param({"webhook-timestamp": "soon"}, id="time in words"),
        pytest.param({"webhook-timestamp": "١٧٩٠٠٠٠٠٠٠"}, id="time in other digits"),
        pytest.param({"webhook-timestamp": "9" * 400}, id="time beyond all times"),
        pytest.param({"webhook-signature": "v1,AAAA"}, id="other signature"),
        pytest.param({"webhook-signature": "v1"}, id="no comma"),
        pytest.param({"webhook-signature": "v1,本番"}, id="signature outside ASCII"),
        pytest.param({"webhook-signature": " "}, id="blank signature"),
        pytest.param({"webhook-signature": "v1,x " * 10_000}, id="a flood of signatures"),
    ],
)
def test_a_changed_header_makes_a_request_invalid(change: dict[str, str]) -> None:
    headers = sign("msg_1", NOW, body=BODY, secrets=[OTTER])
    assert _verdict(headers, secrets=[OTTER]) is Verdict.VALID
    assert _verdict(headers | change, secrets=[OTTER]) is Verdict.INVALID


def test_a_signature_of_another_version_does_not_count() -> None:
    headers = sign("msg_1", NOW, body=BODY, secrets=[OTTER])
    headers["webhook-signature"] = headers["webhook-signature"].replace("v1,", "v1a,")
    assert _verdict(headers, secrets=[OTTER]) is Verdict.INVALID


def test_a_changed_body_is_invalid() -> None:
    headers = sign("msg_1", NOW, body=BODY, secrets=[OTTER])
    assert _verdict(headers, body=BODY + b"\n", secrets=[OTTER]) is Verdict.INVALID


@pytest.mark.parametrize(
    ("age", "verdict"),
    [
        (0, Verdict.VALID),
        (300, Verdict.VALID),
        (301, Verdict.STALE),
        (-300, Verdict.VALID),
        (-301, Verdict.STALE),
    ],
)
def test_a_request_is_stale_outside_the_tolerance(age: int, verdict: Verdict) -> None:
    headers = sign("msg_1", NOW, body=BODY, secrets=[OTTER])
    assert _verdict(headers, secrets=[OTTER], now=NOW + age) is verdict


def test_an_old_request_with_a_wrong_signature_is_invalid_rather_than_stale() -> None:
    headers = sign("msg_1", NOW, body=BODY, secrets=[HERON])
    assert _verdict(headers, secrets=[OTTER], now=NOW + 900) is Verdict.INVALID


def test_a_request_without_a_signature_is_unsigned() -> None:
    headers = sign("msg_1", NOW, body=BODY, secrets=[])
    assert _verdict(headers, secrets=[OTTER]) is Verdict.UNSIGNED


def test_a_request_is_unchecked_where_no_secret_is_known() -> None:
    headers = sign("msg_1", NOW, body=BODY, secrets=[OTTER])
    assert _verdict(headers, secrets=[]) is Verdict.UNCHECKED


def test_a_request_that_carries_the_wandb_signature_alone_is_judged_by_it() -> None:
    signature = sign("msg_1", NOW, body=BODY, secrets=[OTTER])["X-Wandb-Signature"]
    assert _verdict({"x-wandb-signature": signature}, secrets=[HERON, OTTER]) is Verdict.VALID
    assert _verdict({"x-wandb-signature": signature}, secrets=[HERON]) is Verdict.INVALID
    assert _verdict({"x-wandb-signature": "0" * 64}, secrets=[OTTER]) is Verdict.INVALID


def test_names_of_headers_are_read_in_any_case() -> None:
    headers = {name.upper(): value for name, value in sign("msg_1", NOW, body=BODY, secrets=[OTTER]).items()}
    assert _verdict(headers, secrets=[OTTER]) is Verdict.VALID
