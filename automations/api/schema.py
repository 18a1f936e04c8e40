"""OpenAPI of what the catalogues define, made when the schema is, from the types' own forms."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension, OpenApiSerializerFieldExtension

from automations.actions.base import ACTIONS, ActionType
from automations.events.base import EVENTS


def _variant(key: str, label: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "title": label,
        "required": ["type", *schema["required"]],
        "additionalProperties": False,
        # Not an enum of one: those would be gathered into one type that fits every variant.
        "properties": {"type": {"type": "string", "const": key}, **schema["properties"]},
    }


class EventFieldSchema(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    target_class = "automations.api.fields.EventField"

    def map_serializer_field(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        return {"oneOf": [_variant(one.key, str(one.label), one.config_form.json_schema()) for one in EVENTS]}


class ActionSchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    target_class = "automations.api.fields.ActionSerializer"

    def map_serializer(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        return {"oneOf": [_variant(one.key, str(one.label), _with_integration(one)) for one in ACTIONS]}


def _with_integration(action_type: ActionType) -> dict[str, Any]:
    schema = action_type.config_form.json_schema()
    if action_type.integration_form is None:
        return schema
    needed = action_type.needs_integration
    integration = {"type": "integer" if needed else ["integer", "null"], "format": "int64"}
    return {
        "properties": {"integration": integration, **schema["properties"]},
        "required": [*(["integration"] if needed else []), *schema["required"]],
    }
