from __future__ import annotations

from datetime import timedelta

from django.http import HttpRequest
from django.utils.translation import gettext as _
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from runs import clock, statements
from runs.language import speak_to
from runs.models import ApiKey, User
from runs.services.people import digest_of

# `last_used_at` is a hint for people: written at most so often, so that a busy key costs no writes.
_NOTE_EVERY = timedelta(minutes=1)


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer tl-…`."""

    def authenticate(self, request: Request | HttpRequest) -> tuple[User, ApiKey] | None:
        scheme, _space, text = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        key = _key_of(digest_of(text.strip()))
        if key is None:
            raise AuthenticationFailed(
                _("This API key is not known. Make one with: python3 manage.py createapikey USERNAME")
            )
        _note_use(key)
        speak_to(key.user, asked=request.headers.get("Accept-Language", ""))
        return key.user, key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="Tripline"'


def _key_of(digest: str) -> ApiKey | None:
    """Asked for every request: of both no more is read than requests need, all else when it is asked for."""
    found = statements.rows(_KEY_AND_USER, [digest, True])
    if not found:
        return None
    key_id, last_used_at, *user = found[0]
    known = (key_id, statements.moment(last_used_at))
    return statements.partly(ApiKey, ("id", "last_used_at"), known, user=statements.partly(User, _USER, user))


_USER = ("id", "username", "is_active", "is_superuser", "is_staff", "is_service", "language")
_KEY_AND_USER = (
    "SELECT k.id, k.last_used_at, u.id, u.username, u.is_active, u.is_superuser, u.is_staff, u.is_service,"
    " u.language"
    " FROM runs_apikey k JOIN runs_user u ON u.id = k.user_id WHERE k.digest = %s AND u.is_active = %s"
)


def _note_use(key: ApiKey) -> None:
    now = clock.now()
    if key.last_used_at is None or now - key.last_used_at > _NOTE_EVERY:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
