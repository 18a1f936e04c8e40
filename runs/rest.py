"""What all REST endpoints share: strict input, one form of errors, keyset pages, scoped references."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from django.core.exceptions import NON_FIELD_ERRORS
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import Model, QuerySet
from django.utils.translation import gettext as _
from rest_framework import filters, pagination, serializers, status, views, viewsets
from rest_framework.exceptions import APIException, NotFound, ParseError, ValidationError
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.validators import UniqueValidator

from runs import access
from runs.access import Person
from runs.errors import Conflict
from runs.names import NAME_LENGTH, validate_text

MAX_DEPTH = 64


class StrictJSONParser(JSONParser):
    """The one boundary where JSON comes in: refuses what the database cannot store.

    NUL, lone surrogates, numbers outside a double's range, and nesting deeper than 64.
    """

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: dict[str, Any] | None = None
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
            raise ValidationError({_key(field): [_("This is nested deeper than %d levels.") % MAX_DEPTH]})
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
            raise ValidationError({_key(field): [_("This number is out of range.")]})


def _key(field: str) -> str:
    return "non_field_errors" if field == NON_FIELD_ERRORS else field


def _printable(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()[:NAME_LENGTH] if "\x00" in text else text


def _refuse_text(text: str, field: str) -> None:
    try:
        validate_text(text)
    except DjangoValidationError as error:
        name = _key(field).encode("ascii", "backslashreplace").decode().replace("\x00", "\\x00")
        raise ValidationError({name: error.messages}) from None


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Django's own validation errors as the contract's JSON: 400 by field, 409 for a `Conflict`."""
    if isinstance(error, DjangoValidationError):
        code = status.HTTP_409_CONFLICT if isinstance(error, Conflict) else status.HTTP_400_BAD_REQUEST
        return Response(_by_field(error), status=code)
    return views.exception_handler(error, context)


def _by_field(error: DjangoValidationError) -> dict[str, list[str]]:
    found = error.message_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.messages}
    return {_key(field): messages for field, messages in found.items()}


class FieldNotFound(APIException):
    """A reference to what does not exist for this person: a 404 that names the field."""

    status_code = status.HTTP_404_NOT_FOUND

    def __init__(self, field: str) -> None:
        super().__init__({field: [_("Not found.")]}, code="not_found")


class VisibleField(serializers.PrimaryKeyRelatedField):
    """A reference by id to what the person sees; anything else is not found, whether it exists or not."""

    def __init__(
        self, *, visible: Callable[[Person], QuerySet[Any]] | None = None, **options: Any
    ) -> None:
        self.visible = visible
        super().__init__(**options)

    def get_queryset(self) -> QuerySet[Any] | None:
        request = self.context.get("request")
        if self.visible is None or request is None:
            return super().get_queryset()
        return self.visible(request.user)

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, bool) or not isinstance(data, int | str) or not str(data).isdecimal():
            raise ValidationError(_("This must be the id of an object, a whole number."))
        queryset = self.get_queryset()
        found = queryset.filter(pk=int(data) if len(str(data)) < 20 else -1).first() if queryset is not None else None
        if found is None:
            raise FieldNotFound(self.field_name or "id")
        return found


class StrictSerializer(serializers.Serializer):
    """Refuses fields that it does not know."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            writable = {name for name, field in self.fields.items() if not field.read_only}
            readable = set(self.fields) - writable
            unknown = {
                name: [_("This field is read-only.") if name in readable else _("Unknown field.")]
                for name in data
                if name not in writable
            }
            if unknown:
                raise ValidationError(unknown)
        return super().to_internal_value(data)


class StrictModelSerializer(StrictSerializer, serializers.ModelSerializer):
    """Uniqueness is the database's and the services' business: a taken name is a 409, not a 400."""

    def build_standard_field(self, field_name: str, model_field: Any) -> Any:
        field_class, options = super().build_standard_field(field_name, model_field)
        validators = options.get("validators", [])
        options["validators"] = [v for v in validators if not isinstance(v, UniqueValidator)]
        return field_class, options

    def get_unique_together_validators(self) -> list[Any]:
        return []


class StableOrderingFilter(filters.OrderingFilter):
    """`?ordering=`; the id decides between equals, so that pages neither repeat nor skip."""

    def get_ordering(self, request: Request, queryset: Any, view: Any) -> Sequence[str]:
        ordering = list(super().get_ordering(request, queryset, view) or ["id"])
        given = request.query_params.get(self.ordering_param)
        if given and not ordering[0].lstrip("-") == given.split(",")[0].strip().lstrip("-"):
            raise ValidationError({self.ordering_param: [_("One cannot order by “%s”.") % given[:80]]})
        if ordering[-1].lstrip("-") not in {"id", "pk"}:
            ordering.append("-id" if ordering[0].startswith("-") else "id")
        return ordering


class KeysetPagination(pagination.CursorPagination):
    """`next`, `previous`, `results`; each page costs the same, however far one reads."""

    page_size = 100
    max_page_size = 1000
    page_size_query_param = "page_size"
    ordering = "-id"

    def get_page_size(self, request: Request) -> int:
        given = request.query_params.get("page_size")
        if given is None:
            return self.page_size
        if not given.isascii() or not given.isdecimal() or not 0 < int(given[:9]) <= self.max_page_size:
            raise ValidationError({"page_size": [_("This must be 1 to %d.") % self.max_page_size]})
        return int(given)

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": link, "previous": link, "results": schema},
        }


class ScopedViewSet(viewsets.GenericViewSet):
    """Base of every resource: what one does not see is not found."""

    lookup_value_regex = "[0-9]{1,18}"
    ordering_fields: ClassVar[Sequence[str]] = ["id"]
    ordering: ClassVar[Sequence[str]] = ["-id"]

    @property
    def person(self) -> Any:
        """The authenticated user."""
        return self.request.user

    def visible(self) -> QuerySet[Any]:
        """What the person sees."""
        raise NotImplementedError

    def get_queryset(self) -> QuerySet[Any]:
        # drf-spectacular asks without a request.
        if getattr(self, "swagger_fake_view", False):
            return self.queryset.none() if self.queryset is not None else Model.objects.none()  # type: ignore[attr-defined]
        return self.visible()

    def validated(self, *, instance: Model | None = None) -> dict[str, Any]:
        """The request's body, validated by the serializer."""
        serializer = self.get_serializer(instance, data=self.request.data, partial=instance is not None)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def answer(self, instance: Any, *, status: int = 200) -> Response:
        return Response(self.get_serializer(instance).data, status=status)


def not_found_unless(condition: object) -> None:
    if not condition:
        raise NotFound


def visible_or_404(queryset: QuerySet[Any], **lookup: Any) -> Any:
    found = queryset.filter(**lookup).first()
    not_found_unless(found is not None)
    return found


class TeamByName(serializers.SlugRelatedField):
    """A team by its name; one that the person is not in is not found."""

    def get_queryset(self) -> QuerySet[Any]:
        return access.teams(self.context["request"].user)

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            raise ValidationError(_("This must be the name of a team."))
        found = self.get_queryset().filter(name=data).first()
        if found is None:
            raise FieldNotFound(self.field_name or "team")
        return found
