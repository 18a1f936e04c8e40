"""Forms whose instances are saved by services."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from django import forms
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied, ValidationError
from django.db import models
from django.db.models import Model, ProtectedError
from django.http import HttpRequest
from django.utils.translation import gettext as _

from config.adminbase.theme import Textarea
from runs.names import normalized, validate_text

JSON_DEPTH = 64


@contextmanager
def refusals() -> Iterator[None]:
    """Turn every way in which a service or an access check says no into a `ValidationError`."""
    try:
        yield
    except PermissionDenied as error:
        raise ValidationError(str(error)) from error
    except ProtectedError as error:
        users = ", ".join(sorted(str(user) for user in error.protected_objects))
        raise ValidationError(_("It is in use by: %(users)s.") % {"users": users}) from error


class JSONField(forms.JSONField):
    """JSON that the database can store: finite numbers, no NUL, no lone surrogates, not too deep.

    `kind` is what it must be: a dictionary or a list.
    """

    def __init__(self, *, kind: type = dict, **options: Any) -> None:
        self.kind = kind
        super().__init__(initial=kind, widget=Textarea(attrs={"rows": 6}), **options)

    def to_python(self, value: Any) -> Any:
        try:
            found = super().to_python(value)
        except (RecursionError, ValueError):  # the latter for a number of more than 4,300 digits
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None
        if found is None:
            return self.kind()
        if not isinstance(found, self.kind):
            noun = _("a list, [...]") if self.kind is list else _("an object, {...}")
            raise ValidationError(_("This must be %(noun)s.") % {"noun": noun})
        _check_storable(found)
        return found

    def bound_data(self, data: Any, initial: Any) -> Any:
        """What was typed is shown again as it is."""
        return forms.fields.InvalidJSONInput(data or "")

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return super().has_changed(initial, data)
        except (RecursionError, ValidationError):
            return True

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, forms.fields.InvalidJSONInput):
            return value
        return json.dumps(value, ensure_ascii=False, indent=2)


def _check_storable(value: Any, depth: int = 0) -> None:
    if depth > JSON_DEPTH:
        raise ValidationError(_("This is nested deeper than %(depth)d levels.") % {"depth": JSON_DEPTH})
    if isinstance(value, str):
        validate_text(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValidationError(_("NaN and infinities are no JSON."))
    elif isinstance(value, dict):
        for item in (*value, *value.values()):
            _check_storable(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_storable(item, depth + 1)


class ServiceForm(forms.ModelForm):
    """A form whose instance a service saves. What the service refused is shown as the form's errors."""

    request: ClassVar[HttpRequest]
    refusal: ClassVar[ValidationError | None] = None
    # What a service calls a field, and what the form calls it.
    error_fields: ClassVar[Mapping[str, str]] = {}

    def clean_name(self) -> str:
        return normalized(self.cleaned_data["name"])

    def full_clean(self) -> None:
        super().full_clean()
        if self.refusal is not None and self.is_bound:
            self.add_errors(self.refusal)

    def add_errors(self, error: ValidationError) -> None:
        """Each error at its field; those of fields that the form has not, at the top, with the name."""
        found = error.message_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.messages}
        for name, texts in found.items():
            field = self.error_fields.get(name, name)
            if field in self.fields or name == NON_FIELD_ERRORS:
                self.add_error(None if name == NON_FIELD_ERRORS else field, texts)
            else:
                self.add_error(None, [f"{name}: {text}" for text in texts])


def adopt(obj: Model, created: Model) -> None:
    """Make the form's unsaved instance the row that a service created."""
    obj.__dict__.update(created.__dict__)


def is_id(text: str) -> bool:
    """Whether a query for a row of this id is one that every database understands."""
    return text.isascii() and text.isdecimal() and len(text) < 19


class Autocomplete(AutocompleteSelect):
    """Shows what was chosen; text that is no id chooses nothing (Django's own raises on it)."""

    def optgroups(self, name: str, value: Sequence[Any], attrs: Any = None) -> Any:
        return super().optgroups(name, [item for item in value if is_id(str(item))], attrs)


class ScopedFields:
    """Mixin: a foreign key offers and accepts only what the person sees."""

    admin_site: Any
    formfield_overrides = {models.TextField: {"widget": Textarea(attrs={"rows": 3})}}

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        related = self.admin_site.get_model_admin(db_field.remote_field.model)
        options["queryset"] = related.choices(request)
        if db_field.name in self.get_autocomplete_fields(request):  # type: ignore[attr-defined]
            options["widget"] = Autocomplete(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **options)  # type: ignore[misc]
