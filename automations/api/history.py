from __future__ import annotations

from typing import Any

from django.db.models import Prefetch, QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field, inline_serializer
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from automations import access, delivery
from automations.events.base import EVENTS, explained
from automations.filtersets import ExecutionFilterSet
from automations.models import Attempt, Delivery, Event, Execution, Integration
from runs import access as runs_access
from runs.models import Role
from runs.rest.fields import StrictSerializer, VisibleField
from runs.rest.views import ScopedViewSet


class AttemptSerializer(serializers.ModelSerializer):
    class Meta:
        model = Attempt
        fields = ["number", "started_at", "duration", "request", "status_code", "response", "error"]
        read_only_fields = fields


class DeliverySerializer(serializers.ModelSerializer):
    attempts = AttemptSerializer(many=True, read_only=True)

    class Meta:
        model = Delivery
        fields = [
            "id",
            "type",
            "integration",
            "webhook_id",
            "state",
            "order",
            "body",
            "attempt_count",
            "next_at",
            "created_at",
            "finished_at",
            "attempts",
        ]
        read_only_fields = fields


class EventSerializer(serializers.ModelSerializer):
    data = serializers.SerializerMethodField()  # type: ignore[assignment]
    cause = serializers.SerializerMethodField()

    class Meta:
        model = Event
        fields = [
            "id",
            "sequence",
            "type",
            "team",
            "project",
            "registry",
            "collection",
            "run",
            "version",
            "data",
            "cause",
            "received_at",
        ]
        read_only_fields = fields

    @extend_schema_field(
        {
            "type": ["object", "null"],
            "properties": {"execution": {"type": "integer"}, "depth": {"type": "integer"}},
        }
    )
    def get_cause(self, event: Event) -> dict[str, int] | None:
        """The execution whose message led to it, and how many of them did one after the other."""
        execution, _slash, depth = event.cause.partition("/")
        return {"execution": int(execution), "depth": int(depth)} if event.cause else None

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_data(self, event: Event) -> dict[str, Any]:
        return {name: value for name, value in event.data.items() if name != "scopes"}


class ExecutionSerializer(serializers.ModelSerializer):
    event = EventSerializer(read_only=True, allow_null=True)
    explanation = serializers.SerializerMethodField()
    deliveries = DeliverySerializer(many=True, read_only=True)

    class Meta:
        model = Execution
        fields = [
            "id",
            "automation",
            "automation_name",
            "event_type",
            "state",
            "is_test",
            "explanation",
            "count",
            "run",
            "version",
            "event",
            "snapshot",
            "deliveries",
            "created_at",
            "finished_at",
        ]
        read_only_fields = fields

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_explanation(self, execution: Execution) -> dict[str, Any]:
        """The reason's data, its code, and a sentence in the reader's language."""
        reason = execution.explanation
        return {**reason.get("data", {}), "code": reason.get("code", ""), "text": sentence(execution)}


def sentence(execution: Execution) -> str:
    """Why, in the active language; what tried an integration has no event type."""
    if execution.event_type not in EVENTS:
        return explained(execution.explanation)
    return EVENTS[execution.event_type].explain(execution.explanation)


class ExecutionViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ScopedViewSet):
    queryset = Execution.objects.all()
    serializer_class = ExecutionSerializer
    filterset_class = ExecutionFilterSet
    ordering_fields = ["id", "created_at"]

    def visible(self) -> QuerySet[Execution]:
        attempts = Prefetch("attempts", queryset=Attempt.objects.order_by("number"))
        deliveries = Delivery.objects.order_by("pk").prefetch_related(attempts)
        found = access.executions(self.person).select_related("event", "team", "registry")
        return found.prefetch_related(Prefetch("deliveries", queryset=deliveries))

    @extend_schema(
        request=None,
        responses=inline_serializer("Redelivered", {"requeued": serializers.IntegerField()}),
    )
    @action(detail=True, methods=["post"])
    def redeliver(self, request: Request, pk: str) -> Response:
        """Send what finally failed again, under the same webhook ids."""
        execution: Execution = self.get_object()
        access.require_history_role(self.person, execution, Role.MEMBER)
        return Response({"requeued": delivery.requeue(execution.deliveries.all())})


class RecoverSerializer(StrictSerializer):
    integration = VisibleField(queryset=Integration.objects.all(), visible=access.integrations)
    since = serializers.DateTimeField()


class DeliveryViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ScopedViewSet):
    queryset = Delivery.objects.all()
    serializer_class = DeliverySerializer
    filterset_fields = ["state"]
    ordering_fields = ["id", "created_at"]

    def visible(self) -> QuerySet[Delivery]:
        return access.deliveries(self.person).prefetch_related("attempts")

    @extend_schema(
        request=RecoverSerializer,
        responses=inline_serializer("Recovered", {"requeued": serializers.IntegerField()}),
    )
    @action(detail=False, methods=["post"])
    def recover(self, request: Request) -> Response:
        """Requeue all failed deliveries of an integration that were decided since a time; tests stay."""
        body = RecoverSerializer(data=request.data, context=self.get_serializer_context())
        body.is_valid(raise_exception=True)
        integration: Integration = body.validated_data["integration"]
        runs_access.require_role(self.person, integration.team, Role.MEMBER)
        failed = Delivery.objects.filter(
            integration=integration,
            created_at__gte=body.validated_data["since"],
            execution__is_test=False,
        )
        return Response({"requeued": delivery.requeue(failed)})
