"""Strict serializers, and references to what a person sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import models
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.validators import UniqueValidator

from runs import access
from runs.access import Person
from runs.models import Team, User
from runs.rest.errors import FieldNotFound

# Longer texts are files.
TEXT_LENGTH = 100_000


class StringField(serializers.CharField):
    """A JSON string; DRF's own field takes numbers for strings too."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class WholeNumberField(serializers.IntegerField):
    """A JSON number without a fraction, not a string of digits."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return super().to_internal_value(data)


class NumberField(serializers.FloatField):
    """A JSON number, not a string of one."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        return super().to_internal_value(data)


class FlagField(serializers.BooleanField):
    """`true` or `false`, not "yes" or 1."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


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

    serializer_field_mapping = serializers.ModelSerializer.serializer_field_mapping | {
        models.CharField: StringField,
        models.TextField: StringField,
        models.BooleanField: FlagField,
    }

    def build_standard_field(self, field_name: str, model_field: Any) -> Any:
        field_class, options = super().build_standard_field(field_name, model_field)
        if isinstance(model_field, models.TextField):
            options["max_length"] = TEXT_LENGTH
        validators = options.get("validators", [])
        options["validators"] = [v for v in validators if not isinstance(v, UniqueValidator)]
        return field_class, options

    def get_unique_together_validators(self) -> list[Any]:
        return []


class TeamByName(serializers.SlugRelatedField):
    """A team by its name; one that the person is not in is not found."""

    def __init__(self, **options: Any) -> None:
        super().__init__(slug_field="name", queryset=Team.objects.all(), **options)

    def get_queryset(self) -> QuerySet[Any]:
        return access.teams(self.context["request"].user)

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            raise ValidationError(_("This must be the name of a team."))
        found = self.get_queryset().filter(name=data).first()
        if found is None:
            raise FieldNotFound(self.field_name or "team")
        return found


class PersonByName(serializers.SlugRelatedField):
    """A person who can sign in, by their username; service accounts stay in the team they belong to."""

    def __init__(self, **options: Any) -> None:
        super().__init__(slug_field="username", queryset=User.objects.all(), **options)

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            raise ValidationError(_("This must be a username."))
        found = User.objects.filter(username=data, is_active=True, is_service=False).first()
        if found is None:
            raise FieldNotFound(self.field_name or "user")
        return found
