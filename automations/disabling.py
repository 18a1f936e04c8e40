"""Why an integration was disabled: stored as a code, said in the language of whoever reads it."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

GONE = "gone"
SILENT = "silent"
BY = "by"

_SENTENCES = {
    GONE: _("It answered 410 Gone."),
    SILENT: _("Nothing arrived for %(detail)s days."),
    BY: _("Disabled by %(detail)s."),
}


def by(user: object) -> str:
    return f"{BY}:{user}"


def said(reason: str) -> str:
    """`gone`, `silent:5` or `by:ada` as a sentence in the active language."""
    code, _colon, detail = reason.partition(":")
    return str(_SENTENCES[code]) % {"detail": detail} if code in _SENTENCES else reason
