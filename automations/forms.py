"""Base of the forms by which event types and actions define what a valid configuration is.

One definition serves REST (`parse`), the admin and the pages (it is a Django form), and OpenAPI
(`json_schema`).
"""

from __future__ import annotations

import json
import math
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _, gettext_lazy

from automations import regex
from runs.names import validate_json


class PatternField(forms.CharField):
    """An RE2 pattern."""

    def __init__(self, *, label: Any, required: bool = False) -> None:
        super().__init__(
            label=label,
            required=required,
            strip=False,
            max_length=1000,
            help_text=gettext_lazy(
                "RE2, found anywhere in the name unless you write ^ and $; upper and lower case differ; "
                r"\d and \w are ASCII."
            ),
            validators=[regex.validate],
        )


class StringsField(forms.Field):
    """A list of texts; as text, one per line or separated by commas."""

    widget = forms.Textarea

    def to_python(self, value: Any) -> list[str]:
        lines = value if isinstance(value, list) else str(value or "").replace(",", "\n").split("\n")
        return [line.strip() for line in lines if line.strip()]

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value


class PayloadField(forms.JSONField):
    """A JSON object."""

    def clean(self, value: Any) -> dict[str, Any]:
        try:
            cleaned = super().clean(value) if isinstance(value, str) else value
        except (RecursionError, ValueError):  # the latter for a number of more than 4,300 digits
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None
        if cleaned is None:
            return {}
        if not isinstance(cleaned, dict):
            raise ValidationError(_("This must be a JSON object."))
        validate_json(cleaned)
        return cleaned

    def bound_data(self, data: Any, initial: Any) -> Any:
        """What was typed is shown again as it is."""
        return data

    def prepare_value(self, value: Any) -> str:
        if value is None or isinstance(value, str):
            return value or ""
        return json.dumps(value, ensure_ascii=False, indent=2)


# What JSON may bring for a field of this class, its name in an error, and its JSON schema.
_JSON_TYPES: list[tuple[type[forms.Field], tuple[type, ...], dict[str, Any]]] = [
    (PayloadField, (dict,), {"type": "object"}),
    (StringsField, (list,), {"type": "array", "items": {"type": "string"}}),
    (forms.MultipleChoiceField, (list,), {"type": "array", "items": {"type": "string"}}),
    (forms.BooleanField, (bool,), {"type": "boolean"}),
    (forms.FloatField, (int, float), {"type": "number"}),
    (forms.IntegerField, (int,), {"type": "integer"}),
    (forms.ChoiceField, (str,), {"type": "string"}),
    (forms.CharField, (str,), {"type": "string"}),
]


class ConfigForm(forms.Form):
    """A form whose input may also be JSON, taken strictly: no unknown fields, no wrong types."""

    @classmethod
    def parse(cls, config: dict[str, Any]) -> dict[str, Any]:
        """The complete configuration, defaults filled in, as it is stored.

        Empty optional values are null. Raises `ValidationError` by field.
        """
        form = cls()
        errors: dict[str, Any] = {name: [_("Unknown field.")] for name in config if name not in form.fields}
        data = {}
        for name, field in form.fields.items():
            given = config.get(name)
            if given is None:
                data[name] = field.initial
            elif problem := _type_problem(field, given):
                errors[name] = [problem]
            else:
                data[name] = given
        form = cls(data)
        errors = {**{name: list(found) for name, found in form.errors.items()}, **errors}
        if errors:
            raise ValidationError(errors)
        return {name: None if value == "" else value for name, value in form.cleaned_data.items()}

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """The JSON schema of a configuration, without the key `type` that selects it."""
        form = cls()
        required = [name for name, field in form.fields.items() if field.required and field.initial is None]
        properties = {name: _schema_of(field) for name, field in form.fields.items()}
        return {"type": "object", "properties": properties, "required": required}


def _entry(field: forms.Field) -> tuple[tuple[type, ...], dict[str, Any]]:
    for kind, types, schema in _JSON_TYPES:
        if isinstance(field, kind):
            return types, dict(schema)
    raise TypeError(f"No JSON type is known for {type(field).__name__}.")


def _type_problem(field: forms.Field, value: Any) -> str:
    types, schema = _entry(field)
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        return _("This must be of type %(type)s.") % {"type": schema["type"]}
    if schema["type"] == "number" and isinstance(value, int) and abs(value) > 2**1023:
        return _("This number is too large.")
    if isinstance(value, float) and not math.isfinite(value):
        return _("This must be a finite number.")
    if isinstance(value, list) and not all(isinstance(item, str) for item in value):
        return _("This must be a list of strings.")
    return ""


def _schema_of(field: forms.Field) -> dict[str, Any]:
    _types, schema = _entry(field)
    if isinstance(field, forms.ChoiceField):
        keys = [key for key, _label in field.choices]  # type: ignore[union-attr,misc]
        schema.get("items", schema)["enum"] = keys
    if isinstance(field, forms.FloatField | forms.IntegerField):
        schema.update({"minimum": field.min_value} if field.min_value is not None else {})
        schema.update({"maximum": field.max_value} if field.max_value is not None else {})
    if isinstance(field, forms.CharField) and field.max_length and schema["type"] == "string":
        schema["maxLength"] = field.max_length
    if field.initial is not None:
        schema["default"] = field.initial
    elif not field.required and schema["type"] not in {"object", "array"}:
        schema["type"] = [schema["type"], "null"]
    if field.help_text:
        schema["description"] = str(field.help_text)
    return schema
