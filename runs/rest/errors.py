"""One form of errors: JSON by field."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError as DjangoValidationError
from django.utils.translation import gettext as _
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.response import Response

from runs.errors import Conflict


def field_key(field: str) -> str:
    return "non_field_errors" if field == NON_FIELD_ERRORS else field


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Django's own validation errors as the contract's JSON: 400 by field, 409 for a `Conflict`."""
    if isinstance(error, DjangoValidationError):
        code = status.HTTP_409_CONFLICT if isinstance(error, Conflict) else status.HTTP_400_BAD_REQUEST
        return Response(_by_field(error), status=code)
    from rest_framework.views import exception_handler as drf_handler

    return drf_handler(error, context)


def _by_field(error: DjangoValidationError) -> dict[str, list[str]]:
    found = error.message_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.messages}
    return {field_key(field): messages for field, messages in found.items()}


class FieldNotFound(APIException):
    """A reference to what does not exist for this person: a 404 that names the field."""

    status_code = status.HTTP_404_NOT_FOUND

    def __init__(self, field: str) -> None:
        super().__init__({field: [_("Not found.")]}, code="not_found")
