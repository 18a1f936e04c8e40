from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from automations.events.base import EVENTS
from automations.presets import PRESETS, Preset
from runs.rest.negotiation import AlwaysTheSame
from runs.rest.schema import ErrorsToo

# What presets are fitted to when nothing else is asked for.
_DEFAULT = "run_metric_threshold"


class PresetSerializer(serializers.Serializer):
    """A payload to start from; `url` shows where it goes, and the names in it are to be replaced."""

    key = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # hides an attribute that nobody uses
    url = serializers.CharField()
    hint = serializers.CharField()
    payload = serializers.SerializerMethodField()

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_payload(self, preset: Preset) -> dict[str, Any]:
        return preset.payload(self.context["event_type"])


_PAGE = inline_serializer(
    "Presets",
    {
        "next": serializers.CharField(allow_null=True),
        "previous": serializers.CharField(allow_null=True),
        "results": PresetSerializer(many=True),
    },
)


class PresetsView(APIView):
    content_negotiation_class = AlwaysTheSame
    schema = ErrorsToo()

    @extend_schema(
        parameters=[
            OpenApiParameter("event", OpenApiTypes.STR, description="the event type that payloads are for")
        ],
        responses=_PAGE,
    )
    def get(self, request: Request) -> Response:
        """Webhook payloads in the form that well-known receivers take, all on one page."""
        try:
            event_type = EVENTS.find(request.query_params.get("event", _DEFAULT))
        except ValidationError as error:
            raise ValidationError({"event": error.messages}) from error
        found = PresetSerializer(PRESETS, many=True, context={"event_type": event_type}).data
        return Response({"next": None, "previous": None, "results": found})
