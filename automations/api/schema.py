"""OpenAPI of what the catalogues define, made when the schema is, from the types' own forms."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension, OpenApiSerializerFieldExtension

from automations.actions.base import ACTIONS
from automations.events.base import EVENTS


def _variant(key: str, label: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "title": label,
        "required": ["type", *more, *schema["required"]],
        "additionalProperties": False,
        "properties": {"type": {"type": "string", "enum": [key]}, **more, **schema["properties"]},
    }


class EventFieldSchema(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    target_class = "automations.api.fields.EventField"

    def map_serializer_field(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        return {"oneOf": [_variant(one.key, str(one.label), one.config_form.json_schema()) for one in EVENTS]}


class ActionSchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    target_class = "automations.api.fields.ActionSerializer"

    def map_serializer(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        integration = {"integration": {"type": "integer", "format": "int64"}}
        return {
            "oneOf": [
                _variant(
                    one.key,
                    str(one.label),
                    one.config_form.json_schema(),
                    **(integration if one.integration_form else {}),
                )
                for one in ACTIONS
            ]
        }
