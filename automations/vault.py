"""Encryption of secrets at rest, with the keys of `TRIPLINE_SECRET_KEYS` (Fernet, the first encrypts)."""

from __future__ import annotations

from functools import cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class VaultError(Exception):
    """A stored secret cannot be read with the keys of this installation."""


@cache
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def encrypt(value: str) -> str:
    return _fernet(tuple(settings.TRIPLINE_SECRET_KEYS)).encrypt(value.encode()).decode()


def decrypt(ciphertext: str) -> str:
    """Raises `VaultError` rather than ever give out what is not the secret."""
    try:
        return _fernet(tuple(settings.TRIPLINE_SECRET_KEYS)).decrypt(ciphertext.encode()).decode()
    except InvalidToken:
        raise VaultError(
            "A stored secret cannot be decrypted: none of TRIPLINE_SECRET_KEYS made it. "
            "Add the key that did, or store the secret again."
        ) from None
