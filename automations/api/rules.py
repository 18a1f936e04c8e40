from __future__ import annotations

from typing import Any

from django.db.models import Prefetch, QuerySet
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from automations import access, explain, testfire
from automations.api.fields import ActionSerializer, EventField, PeriodField, ScopeField
from automations.api.history import ExecutionSerializer
from automations.events.base import EVENTS
from automations.filtersets import AutomationFilterSet
from automations.models import Action, Automation, Event, Mode
from automations.services import rules
from registry import access as registry_access
from registry.models import ArtifactVersion
from runs import access as runs_access
from runs.models import Role, Run
from runs.rest.fields import StrictModelSerializer, StrictSerializer, StringField, VisibleField
from runs.rest.views import ScopedViewSet

ACTIONS_MAX = 20


class AutomationSerializer(StrictModelSerializer):
    mode = serializers.ChoiceField(choices=Mode.choices, required=False)
    scope = ScopeField()
    event = EventField()
    actions = ActionSerializer(many=True, required=False, max_length=ACTIONS_MAX)  # type: ignore[call-arg]
    period = PeriodField(required=False)
    created_by = StringField(source="created_by.username", read_only=True, allow_null=True, default=None)

    class Meta:
        model = Automation
        fields = [
            "id",
            "name",
            "description",
            "mode",
            "muted_until",
            "scope",
            "event",
            "actions",
            "period",
            "per_status",
            "armed_at",
            "created_by",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["armed_at", "created_at", "updated_at"]


class TestSerializer(StrictSerializer):
    event = VisibleField(queryset=Event.objects.all(), visible=access.events, required=False)


class ExplainQuery(StrictSerializer):
    run = VisibleField(queryset=Run.objects.all(), visible=runs_access.runs, required=False)
    version = VisibleField(
        queryset=ArtifactVersion.objects.all(), visible=registry_access.versions, required=False
    )


class AutomationViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ScopedViewSet):
    queryset = Automation.objects.all()
    serializer_class = AutomationSerializer
    filterset_class = AutomationFilterSet
    ordering_fields = ["id", "name", "created_at", "updated_at"]

    def visible(self) -> QuerySet[Automation]:
        actions = Prefetch("actions", queryset=Action.objects.order_by("position"))
        return access.automations(self.person).select_related("created_by").prefetch_related(actions)

    def create(self, request: Request) -> Response:
        saved = self._save(Automation(created_by=self.person), self.validated())
        return self.answer(self.visible().get(pk=saved.pk), status=201)

    def partial_update(self, request: Request, pk: str) -> Response:
        automation = self.get_object()
        access.require_scope_role(self.person, automation.scope, Role.MEMBER)
        saved = self._save(automation, self.validated(instance=automation))
        return self.answer(self.visible().get(pk=saved.pk))

    def destroy(self, request: Request, pk: str) -> Response:
        automation = self.get_object()
        access.require_scope_role(self.person, automation.scope, Role.MEMBER)
        rules.delete_automation(automation)
        return Response(status=204)

    @extend_schema(request=TestSerializer, responses={202: ExecutionSerializer})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Send the actions now, marked as a test: with an example, or with a past event."""
        automation: Automation = self.get_object()
        access.require_scope_role(self.person, automation.scope, Role.MEMBER)
        body = TestSerializer(data=request.data, context=self.get_serializer_context())
        body.is_valid(raise_exception=True)
        event = body.validated_data.get("event")
        execution = testfire.fire_by_hand(automation, actor=self.person, event=event)
        return Response(ExecutionSerializer(execution).data, status=202)

    @extend_schema(
        parameters=[
            OpenApiParameter("run", OpenApiTypes.INT64),
            OpenApiParameter("version", OpenApiTypes.INT64),
        ],
        responses=OpenApiTypes.OBJECT,
    )
    @action(detail=True, methods=["get"], filter_backends=[], pagination_class=None)
    def explain(self, request: Request, pk: str) -> Response:
        """Why it fired, or did not, for a run or a version: the first stop in the chain."""
        automation: Automation = self.get_object()
        query = ExplainQuery(data=request.query_params, context=self.get_serializer_context())
        query.is_valid(raise_exception=True)
        run, version = query.validated_data.get("run"), query.validated_data.get("version")
        if (run is None) == (version is None):
            raise ValidationError({"run": [_("Give a run or a version.")]})
        answer = explain.why_run(automation, run) if run else explain.why_version(automation, version)
        return Response(answer.as_json(EVENTS[automation.event_type]))

    def _save(self, automation: Automation, data: dict[str, Any]) -> Automation:
        scope = data.pop("scope", None) or automation.scope
        access.require_scope_role(self.person, scope, Role.MEMBER)
        if event := data.pop("event", None):
            automation.event_type = event.pop("type")
            automation.config = event
        if "period" in data:
            period = data.pop("period")
            automation.period = None if period == "run" else period
        actions = data.pop("actions", None)
        for field, value in data.items():
            setattr(automation, field, value)
        return rules.save_automation(automation, scope=scope, actions=actions)
