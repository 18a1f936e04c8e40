from __future__ import annotations

from typing import Any

from django.db.models import Prefetch, QuerySet
from rest_framework import mixins, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from automations import access
from automations.api.fields import ActionSerializer, EventField, PeriodField, ScopeField
from automations.filtersets import AutomationFilterSet
from automations.models import Action, Automation, Mode
from automations.services import rules
from runs.models import Role
from runs.rest.fields import StrictModelSerializer
from runs.rest.views import ScopedViewSet


class AutomationSerializer(StrictModelSerializer):
    mode = serializers.ChoiceField(choices=Mode.choices, required=False)
    scope = ScopeField()
    event = EventField()
    actions = ActionSerializer(many=True, required=False)
    period = PeriodField(required=False)
    created_by = serializers.CharField(source="created_by.username", read_only=True, default=None)

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
