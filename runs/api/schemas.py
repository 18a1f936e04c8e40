"""OpenAPI for the two endpoints that no serializer describes: metrics are decoded in one pass."""

from __future__ import annotations

from typing import Any

_NONFINITE = {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}
_VALUE = {"oneOf": [{"type": "number"}, _NONFINITE, {"type": "object"}]}
_INT64 = {"type": "integer", "format": "int64"}

METRICS_BODY: dict[str, Any] = {
    "application/json": {
        "type": "object",
        "required": ["points"],
        "additionalProperties": False,
        "properties": {
            "source": {"type": "string", "enum": ["history", "system"], "default": "history"},
            "points": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["values"],
                    "additionalProperties": False,
                    "properties": {
                        "step": {"type": ["integer", "null"], "format": "int64"},
                        "timestamp": {"type": ["number", "null"], "description": "seconds since 1970"},
                        "values": {"type": "object", "additionalProperties": _VALUE},
                    },
                },
            },
        },
    }
}

METRICS_ANSWER: dict[str, Any] = {
    "type": "object",
    "required": ["accepted", "duplicate"],
    "properties": {"accepted": _INT64, "duplicate": {"type": "boolean"}},
}

_OPTIONAL_NUMBER = {"oneOf": [{"type": ["number", "null"]}, _NONFINITE]}

SERIES: dict[str, Any] = {
    "oneOf": [
        {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "source": {"type": "string"},
                    "last": _OPTIONAL_NUMBER,
                    "min": {"type": ["number", "null"]},
                    "max": {"type": ["number", "null"]},
                    "count": _INT64,
                    "last_step": _INT64,
                },
            },
        },
        {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "source": {"type": "string"},
                "count": _INT64,
                "steps": {"type": "array", "items": _INT64},
                "timestamps": {"type": "array", "items": {"type": "number"}},
                "values": {"type": "array", "items": {"oneOf": [{"type": "number"}, _NONFINITE]}},
            },
        },
    ]
}
