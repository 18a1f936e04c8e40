"""What the schema says of every operation."""

from __future__ import annotations

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ComponentRegistry

REFUSAL: dict[str, Any] = {
    "description": "A refusal: sentences by field, or one `detail`.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "additionalProperties": {
                    "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
                },
            }
        }
    },
}


class ErrorsToo(AutoSchema):
    """DRF's answers, and that any of them may be a refusal."""

    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: ComponentRegistry
    ) -> dict[str, Any] | None:
        operation = super().get_operation(path, path_regex, path_prefix, method, registry)
        if operation is not None:
            operation["responses"]["4XX"] = REFUSAL
        return operation
