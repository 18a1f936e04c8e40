"""Signatures of a webhook: Standard Webhooks, and the header that receivers written for W&B expect. Pure."""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence

_ENCODED_PREFIX = "whsec_"
_MAX_SIGNATURES = 20
_TIMESTAMP = re.compile(r"[0-9]{1,12}")


class Verdict(enum.StrEnum):
    """What a receiver can say about a request."""

    VALID = "valid"
    INVALID = "invalid"
    UNSIGNED = "unsigned"
    STALE = "stale"
    UNCHECKED = "unchecked"


def validate_secret(secret: str) -> None:
    """Raise ValueError, without repeating the secret, if nothing can be signed with it."""
    _key(secret)


def sign(webhook_id: str, timestamp: int, *, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The headers that identify one attempt and, with at least one secret, prove who sent it.

    `timestamp` is in seconds since the epoch. Every secret gives one signature, so that a receiver may know
    either key while they are rotated; `X-Wandb-Signature` has room for one and uses the first.
    """
    headers = {"webhook-id": webhook_id, "webhook-timestamp": str(timestamp)}
    keys = [_key(secret) for secret in secrets]
    if keys:
        content = _signed_content(webhook_id, str(timestamp), body)
        headers["webhook-signature"] = " ".join(f"v1,{_base64_hmac(key, content)}" for key in keys)
        headers["X-Wandb-Signature"] = _hex_hmac(keys[0], body)
    return headers


def verify(
    headers: Mapping[str, str], body: bytes, *, secrets: Sequence[str], tolerance_seconds: float, now: float
) -> Verdict:
    """Judge a received request; any of the secrets may have signed it. `now` is seconds since the epoch.

    The Standard Webhooks signature decides where there is one, because only it covers the time; a request
    that carries nothing but `X-Wandb-Signature` is judged by that.
    """
    if not secrets:
        return Verdict.UNCHECKED
    keys = [_key(secret) for secret in secrets]
    received = {name.lower(): value for name, value in headers.items()}
    if signatures := received.get("webhook-signature"):
        if not _standard_signature_matches(received, signatures, body=body, keys=keys):
            return Verdict.INVALID
        age = abs(now - int(received["webhook-timestamp"]))
        return Verdict.VALID if age <= tolerance_seconds else Verdict.STALE
    if signature := received.get("x-wandb-signature"):
        matches = any(_same(_hex_hmac(key, body), signature) for key in keys)
        return Verdict.VALID if matches else Verdict.INVALID
    return Verdict.UNSIGNED


def _standard_signature_matches(
    received: Mapping[str, str], signatures: str, *, body: bytes, keys: Sequence[bytes]
) -> bool:
    webhook_id, timestamp = received.get("webhook-id", ""), received.get("webhook-timestamp", "")
    if not webhook_id or not _TIMESTAMP.fullmatch(timestamp):
        return False
    content = _signed_content(webhook_id, timestamp, body)
    expected = [f"v1,{_base64_hmac(key, content)}" for key in keys]
    candidates = signatures.split(" ", _MAX_SIGNATURES)[:_MAX_SIGNATURES]
    return any(_same(ours, theirs) for ours in expected for theirs in candidates)


def _key(secret: str) -> bytes:
    try:
        encoded = secret.encode()
    except UnicodeEncodeError:
        raise ValueError("the signing secret contains characters that are not valid Unicode") from None
    key = _decoded(encoded) if secret.startswith(_ENCODED_PREFIX) else encoded
    if not key:
        raise ValueError("the signing secret is empty")
    return key


def _decoded(secret: bytes) -> bytes:
    text = secret.removeprefix(_ENCODED_PREFIX.encode())
    try:
        # Padding may be left off; foreign characters may not: a lenient decoder would drop them and sign
        # with a different key than the receiver.
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise ValueError(
            f"after {_ENCODED_PREFIX} a signing secret must go on in base64 (A-Z a-z 0-9 + /)"
        ) from None


def _signed_content(webhook_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{webhook_id}.{timestamp}.".encode(errors="replace") + body


def _base64_hmac(key: bytes, content: bytes) -> str:
    return base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()


def _hex_hmac(key: bytes, content: bytes) -> str:
    return hmac.digest(key, content, hashlib.sha256).hex()


def _same(ours: str, theirs: str) -> bool:
    return hmac.compare_digest(ours.encode(), theirs.encode(errors="replace"))
