"""Strict serializers, and references to what a person sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.validators import UniqueValidator

from runs import access
from runs.access import Person
from runs.rest.errors import FieldNotFound


class VisibleField(serializers.PrimaryKeyRelatedField):
    """A reference by id to what the person sees; anything else is not found, whether it exists or not."""

    def __init__(self, *, visible: Callable[[Person], QuerySet[Any]] | None = None, **options: Any) -> None:
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
        found = (
            queryset.filter(pk=int(data) if len(str(data)) < 20 else -1).first()
            if queryset is not None
            else None
        )
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
