"""Trying a rule on stored runs before it is saved."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from automations import access
from automations.api.rules import AutomationSerializer
from automations.backtests import drafts, jobs
from automations.backtests.drafts import Draft
from automations.models import Automation, Backtest, BacktestState
from automations.services import backtests, rules
from runs import clock
from runs.models import Role
from runs.rest.fields import WholeNumberField
from runs.rest.views import ScopedViewSet


class BacktestRequestSerializer(AutomationSerializer):
    """What makes an automation, and on which runs to try it: those created since a time, the newest ones."""

    since = serializers.DateTimeField(required=False)
    days = WholeNumberField(required=False, min_value=1, max_value=drafts.DAYS_MAX)
    limit = WholeNumberField(default=drafts.RUNS, min_value=1, max_value=drafts.RUNS_MAX)

    class Meta(AutomationSerializer.Meta):
        fields = [
            *("name", "description", "mode", "muted_until", "scope", "event", "actions"),
            *("period", "per_status", "since", "days", "limit"),
        ]
        read_only_fields: list[str] = []
        extra_kwargs = {"name": {"required": False}}

    created_by = None  # type: ignore[assignment]

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        if "since" in data and "days" in data:
            raise ValidationError({"days": [_("Give a number of days or a time, not both.")]})
        return data


class FiringSerializer(serializers.Serializer):
    step = serializers.IntegerField(allow_null=True)
    value = serializers.JSONField(allow_null=True)
    received_at = serializers.DateTimeField()
    text = serializers.CharField()


class ReasonSerializer(serializers.Serializer):
    code = serializers.CharField()
    text = serializers.CharField()


class ReplaySerializer(serializers.Serializer):
    """One run: how often it would have fired, the first firings, and how long before the run's end the
    first one came; without any, why not."""

    run = serializers.IntegerField()
    run_id = serializers.CharField()
    name = serializers.CharField()
    project = serializers.IntegerField()
    status = serializers.CharField()
    count = serializers.IntegerField()
    held_back = serializers.IntegerField()
    firings = FiringSerializer(many=True)
    reason = ReasonSerializer(allow_null=True)
    steps_before = serializers.IntegerField(allow_null=True)
    seconds_before = serializers.FloatField(allow_null=True)


class BacktestSerializer(serializers.Serializer):
    """How far it is, and what is known so far. `id` is null where it was done at once."""

    id = serializers.IntegerField(allow_null=True)
    state = serializers.ChoiceField(choices=BacktestState.choices)
    done = serializers.IntegerField()
    total = serializers.IntegerField()
    problem = serializers.CharField()
    summary = serializers.SerializerMethodField()
    warnings = ReasonSerializer(many=True)
    runs = ReplaySerializer(many=True)
    truncated = serializers.BooleanField()

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_summary(self, told: dict[str, Any]) -> dict[str, Any]:
        return dict(told["summary"])


class BacktestViewSet(mixins.RetrieveModelMixin, ScopedViewSet):
    """Rules that are being tried, by who tries them."""

    queryset = Backtest.objects.all()
    serializer_class = BacktestSerializer
    filter_backends = ()
    pagination_class = None

    def visible(self) -> QuerySet[Backtest]:
        return access.backtests(self.person)

    def get_object(self) -> Any:
        """Not found either for who may see the runs no longer."""
        job: Backtest = super().get_object()
        if not access.sees_what_it_tries(self.person, job):
            raise NotFound
        return job

    @extend_schema(
        request=BacktestRequestSerializer, responses={200: BacktestSerializer, 202: BacktestSerializer}
    )
    def try_out(self, request: Request) -> Response:
        """Try a rule on stored runs: on which would it have fired, where, and is it to be trusted.

        200 has all of it. 202 has the beginning, and the id of a job that works on the rest; a new one
        ends the person's former one.
        """
        body = BacktestRequestSerializer(data=request.data, context=self.get_serializer_context())
        body.is_valid(raise_exception=True)
        draft = self._draft(dict(body.validated_data))
        job = jobs.try_out(draft, person=self.person)
        return self.answer(jobs.told(job), status=202 if job.pk else 200)

    def retrieve(self, request: Request, pk: str) -> Response:
        """How far it is; what was found so far."""
        return self.answer(jobs.told(self.get_object()))

    @extend_schema(request=None, responses=BacktestSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """End it. What was found so far stays to be read."""
        return self.answer(jobs.told(backtests.cancel(self.get_object())))

    def _draft(self, data: dict[str, Any]) -> Draft:
        scope, event = data["scope"], dict(data["event"])
        access.require_scope_role(self.person, scope, Role.MEMBER)
        period = data.get("period", Automation._meta.get_field("period").default)
        automation = Automation(
            event_type=event.pop("type"),
            config=event,
            period=None if period == "run" else period,
            per_status=data.get("per_status", False),
        )
        rules.check_automation(automation, scope=scope)
        rules.check_actions(data.get("actions", []), scope)
        since = data.get("since") or clock.now() - timedelta(days=data.get("days", drafts.DAYS))
        return Draft(automation, since, data["limit"])
