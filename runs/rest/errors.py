"""One form of errors: JSON by field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError as DjangoValidationError
from django.http import Http404
from django.utils.translation import gettext as _
from rest_framework import status
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.response import Response

from runs.errors import Conflict


def field_key(field: str) -> str:
    return "non_field_errors" if field == NON_FIELD_ERRORS else field


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Every refusal as the contract's JSON: lists of sentences by field, or one `detail`.

    Django's own validation errors are a 400 like DRF's, and a `Conflict` is a 409.
    """
    if isinstance(error, DjangoValidationError):
        code = status.HTTP_409_CONFLICT if isinstance(error, Conflict) else status.HTTP_400_BAD_REQUEST
        return Response(_by_field(error), status=code)
    from rest_framework.views import exception_handler as drf_handler

    # Django's own says which model has no such row, in English.
    answer = drf_handler(NotFound() if isinstance(error, Http404) else error, context)
    if answer is not None and isinstance(error, ValidationError):
        answer.data = _flat(answer.data)
    return answer


def _by_field(error: DjangoValidationError) -> dict[str, list[str]]:
    found = error.message_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.messages}
    return {field_key(field): messages for field, messages in found.items()}


def _flat(detail: Any) -> dict[str, list[str]]:
    """DRF nests errors as it nests serializers; here the path stands before the sentence."""
    fields = detail if isinstance(detail, dict) else {NON_FIELD_ERRORS: detail}
    return {field_key(str(name)): list(_sentences(found)) for name, found in fields.items()}


def _sentences(found: Any, path: str = "") -> Iterator[str]:
    if isinstance(found, dict):
        for name, inner in found.items():
            yield from _sentences(inner, f"{path}.{name}".lstrip("."))
    elif isinstance(found, list) and any(isinstance(item, dict) for item in found):
        # One for each item of a list in the body; those without an error are empty.
        yield from _sentences({number: item for number, item in enumerate(found) if item}, path)
    elif isinstance(found, list):
        for item in found:
            yield from _sentences(item, path)
    else:
        yield f"{path}: {found}" if path else str(found)


class FieldNotFound(APIException):
    """A reference to what does not exist for this person: a 404 that names the field."""

    status_code = status.HTTP_404_NOT_FOUND

    def __init__(self, field: str, message: str = "") -> None:
        super().__init__({field: [message or _("Not found.")]}, code="not_found")
