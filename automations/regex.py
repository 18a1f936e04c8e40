"""RE2 patterns: unanchored, case-sensitive search, in time linear to the text."""

from __future__ import annotations

from functools import lru_cache

import re2
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from runs.names import validate_text


def _options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    return options


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re2._Regexp:
    return re2.compile(pattern, _options())


def search(pattern: str | None, text: str) -> bool:
    """Whether the pattern occurs in the text; no pattern occurs in every text."""
    return not pattern or _compiled(pattern).search(text) is not None


def validate(pattern: str) -> None:
    """Raise `ValidationError` with RE2's own message; look-around and backreferences are refused."""
    validate_text(pattern)
    try:
        _compiled(pattern)
    except re2.error as error:
        reason = error.args[0]
        message = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise ValidationError(
            _("RE2 cannot read this pattern: %(message)s.") % {"message": message}, code="re2"
        ) from None
