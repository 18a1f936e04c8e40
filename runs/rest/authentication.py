from __future__ import annotations

from datetime import timedelta

from django.utils.translation import gettext as _
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from runs import clock
from runs.models import ApiKey, User
from runs.services.people import digest_of

# `last_used_at` is a hint for people: written at most so often, so that a busy key costs no writes.
_NOTE_EVERY = timedelta(minutes=1)


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer tl-…`."""

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        scheme, _space, text = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        digest = digest_of(text.strip().decode("latin-1"))
        key = ApiKey.objects.select_related("user").filter(digest=digest, user__is_active=True).first()
        if key is None:
            raise AuthenticationFailed(
                _("This API key is not known. Make one with: python3 manage.py createapikey USERNAME")
            )
        _note_use(key)
        return key.user, key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="Tripline"'


def _note_use(key: ApiKey) -> None:
    now = clock.now()
    if key.last_used_at is None or now - key.last_used_at > _NOTE_EVERY:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
