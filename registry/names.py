"""The grammar of aliases and tags (semantics, section 2)."""

from __future__ import annotations

import re

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from runs.names import SLUG_LENGTH, validate_path_name

# Python's Unicode `\w`, after NFC, so that 本番 is a tag; RE2's `\w` is ASCII.
_TAG = re.compile(r"[-\w]+( +[-\w]+)*")
_VERSION_NUMBER = re.compile(r"v\d+")

# The alias that moves by itself to the newest version (R10).
LATEST = "latest"


def validate_tag(value: str) -> None:
    if len(value) > SLUG_LENGTH or not _TAG.fullmatch(value):
        raise ValidationError(
            _("A tag holds letters, digits, _ and -, with single words separated by spaces."), code="tag"
        )


def validate_alias(value: str) -> None:
    validate_path_name(value)
    if len(value) > SLUG_LENGTH:
        raise ValidationError(
            _("An alias has at most %(most)d characters."), params={"most": SLUG_LENGTH}, code="length"
        )
    if _VERSION_NUMBER.fullmatch(value):
        raise ValidationError(_("%(name)s is a version number, not an alias."), params={"name": value})
