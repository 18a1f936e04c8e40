"""The one boundary where JSON comes in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError as DjangoValidationError
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.parsers import JSONParser

from runs.names import NAME_LENGTH, validate_text
from runs.rest.errors import field_key

MAX_DEPTH = 64


class StrictJSONParser(JSONParser):
    """Refuses what the database cannot store.

    NUL, lone surrogates, numbers outside a double's range, and nesting deeper than 64.
    """

    # Python's reader lets NaN and Infinity through, so that they are refused below, with the field's name.
    strict = False

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            data = super().parse(stream, media_type, parser_context)
        except RecursionError:
            raise ParseError(_("The JSON is nested too deeply.")) from None
        _refuse_unstorable(data)
        return data


def _refuse_unstorable(data: Any) -> None:
    """Walk without recursion; `field` is the top-level key, so that the error names it."""
    waiting: list[tuple[Any, str, int]] = [(data, NON_FIELD_ERRORS, 0)]
    while waiting:
        value, field, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise ValidationError(
                {field_key(field): [_("This is nested deeper than %d levels.") % MAX_DEPTH]}
            )
        if isinstance(value, dict):
            for key, item in value.items():
                name = _printable(key) if depth == 0 else field
                _refuse_text(key, name)
                waiting.append((item, name, depth + 1))
        elif isinstance(value, list):
            waiting.extend((item, field, depth + 1) for item in value)
        elif isinstance(value, str):
            _refuse_text(value, field)
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValidationError({field_key(field): [_("This must be a finite number.")]})


def _printable(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()[:NAME_LENGTH] if "\x00" in text else text


def _refuse_text(text: str, field: str) -> None:
    try:
        validate_text(text)
    except DjangoValidationError as error:
        name = field_key(field).encode("ascii", "backslashreplace").decode().replace("\x00", "\\x00")
        raise ValidationError({name: error.messages}) from None
