from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from automations.presets import PRESETS, Preset


class PresetSerializer(serializers.Serializer):
    """A payload to start from; `url` shows where it goes, and the names in it are to be replaced."""

    key = serializers.CharField()
    label = serializers.CharField()
    url = serializers.CharField()
    hint = serializers.CharField()
    payload = serializers.SerializerMethodField()

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_payload(self, preset: Preset) -> dict[str, Any]:
        return preset.payload


_PAGE = inline_serializer(
    "Presets",
    {
        "next": serializers.CharField(allow_null=True),
        "previous": serializers.CharField(allow_null=True),
        "results": PresetSerializer(many=True),
    },
)


class PresetsView(APIView):
    @extend_schema(responses=_PAGE)
    def get(self, request: Request) -> Response:
        """Webhook payloads in the form that well-known receivers take, all on one page."""
        found = PresetSerializer(PRESETS, many=True).data
        return Response({"next": None, "previous": None, "results": found})
