"""Base of every resource."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.db.models import Model, QuerySet
from rest_framework import viewsets
from rest_framework.exceptions import NotFound
from rest_framework.filters import BaseFilterBackend
from rest_framework.response import Response

from runs.filtersets import StrictFilterBackend
from runs.rest.negotiation import AlwaysTheSame
from runs.rest.paging import StableOrderingFilter
from runs.rest.schema import ErrorsToo


class ScopedViewSet(viewsets.GenericViewSet):
    """Base of every resource: what one does not see is not found."""

    lookup_value_regex = "[0-9]{1,18}"
    filter_backends: Sequence[type[BaseFilterBackend]] = (StrictFilterBackend, StableOrderingFilter)
    content_negotiation_class = AlwaysTheSame
    schema = ErrorsToo()
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
        # drf-spectacular asks for the model, without a person.
        return super().get_queryset() if hasattr(self, "swagger_fake_view") else self.visible()

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filters are for lists: they neither hide one object nor refuse what was done to it already."""
        return queryset if self.detail else super().filter_queryset(queryset)

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
