from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from automations import access, disabling, trial
from automations.models import Inbox, InboxRequest, Integration, Secret
from automations.services import targets
from runs import access as runs_access
from runs.models import Role, Team
from runs.rest.errors import FieldNotFound
from runs.rest.fields import NumberField, StrictModelSerializer, StringField, TeamByName, WholeNumberField
from runs.rest.views import ScopedViewSet


class SecretSerializer(StrictModelSerializer):
    team = TeamByName()
    value = StringField(write_only=True, trim_whitespace=False, max_length=10_000)

    class Meta:
        model = Secret
        fields = ["id", "team", "name", "value", "created_at", "updated_at"]
        read_only_fields = ["created_at", "updated_at"]


class TeamOwnedViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ScopedViewSet):
    """Base of what a team owns: its admins write."""

    filterset_fields = ["name"]
    ordering_fields = ["id", "name", "created_at"]
    needed_role = Role.ADMIN
    model: ClassVar[type[Secret] | type[Integration] | type[Inbox]]

    def save(self, instance: Any, data: dict[str, Any]) -> Any:
        raise NotImplementedError

    def create(self, request: Request) -> Response:
        data = self.validated()
        runs_access.require_role(self.person, data["team"], self.needed_role)
        return self.answer(self.save(self.model(team=data.pop("team")), data), status=201)

    def partial_update(self, request: Request, pk: str) -> Response:
        instance = self._writable()
        data = self.validated(instance=instance)
        if data.get("team", instance.team) != instance.team:
            raise serializers.ValidationError({"team": [_("It does not move to another team.")]})
        data.pop("team", None)
        return self.answer(self.save(instance, data))

    def destroy(self, request: Request, pk: str) -> Response:
        targets.delete_target(self._writable())
        return Response(status=204)

    def _writable(self) -> Any:
        instance = self.get_object()
        runs_access.require_role(self.person, instance.team, self.needed_role)
        return instance


class SecretViewSet(TeamOwnedViewSet):
    """Values are written, never read."""

    model = Secret
    queryset = Secret.objects.all()
    serializer_class = SecretSerializer

    def visible(self) -> QuerySet[Secret]:
        return access.secrets(self.person).select_related("team")

    def save(self, instance: Secret, data: dict[str, Any]) -> Secret:
        instance.name = data.get("name", instance.name)
        return targets.save_secret(instance, value=data.get("value"))


class SecretByName(serializers.SlugRelatedField):
    """A secret of the integration's team, by its name."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            slug_field="name", queryset=Secret.objects.all(), required=False, allow_null=True, **options
        )

    def to_internal_value(self, data: Any) -> Secret:
        if not isinstance(data, str):
            raise serializers.ValidationError(_("This must be the name of a secret."))
        secrets = access.secrets(self.context["request"].user)
        team = self._team()
        found = secrets.filter(name=data, team=team).first() if team else None
        if found is None:
            message = _("The team has no secret named “%(name)s”.") % {"name": data[:80]}
            raise FieldNotFound(self.field_name or "", message)
        return found

    def _team(self) -> Team | None:
        serializer = self.parent
        if isinstance(serializer.instance, Integration):
            return serializer.instance.team
        name = serializer.initial_data.get("team")
        user = self.context["request"].user
        return runs_access.teams(user).filter(name=name).first() if isinstance(name, str) else None


class IntegrationSerializer(StrictModelSerializer):
    team = TeamByName()
    url = StringField(write_only=True, required=False, trim_whitespace=False, max_length=4000)
    access_token = SecretByName()
    signing_secret = SecretByName()
    signing_secret_previous = SecretByName()
    timeout = WholeNumberField(min_value=5, max_value=30, required=False)
    concurrency = WholeNumberField(min_value=1, max_value=8, required=False)
    rate = NumberField(min_value=0.01, max_value=1000, required=False, allow_null=True)
    healthy = serializers.BooleanField(read_only=True)
    disabled_reason = StringField(source="why_disabled", read_only=True)
    failing_since = serializers.DateTimeField(
        source="outlet.failing_since", read_only=True, allow_null=True, default=None
    )

    class Meta:
        model = Integration
        fields = [
            "id",
            "team",
            "type",
            "name",
            "url",
            "host",
            "access_token",
            "signing_secret",
            "signing_secret_previous",
            "timeout",
            "concurrency",
            "rate",
            "healthy",
            "disabled_at",
            "disabled_reason",
            "failing_since",
            "created_at",
        ]
        read_only_fields = ["host", "disabled_at", "created_at"]


class OutcomeSerializer(serializers.Serializer):
    """How one attempt ended; without a status there is an error. Latency in seconds."""

    ok = serializers.BooleanField()
    status = serializers.IntegerField(allow_null=True)
    body = serializers.CharField(source="response")
    latency = serializers.FloatField(source="duration")
    error = serializers.CharField()


class IntegrationViewSet(TeamOwnedViewSet):
    model = Integration
    queryset = Integration.objects.all()
    serializer_class = IntegrationSerializer

    def visible(self) -> QuerySet[Integration]:
        return access.integrations(self.person).select_related(
            "team", "outlet", "access_token", "signing_secret", "signing_secret_previous"
        )

    def save(self, instance: Integration, data: dict[str, Any]) -> Integration:
        url = data.pop("url", None)
        for field, value in data.items():
            setattr(instance, field, value)
        return targets.save_integration(instance, url=url)

    @extend_schema(request=None, responses=IntegrationSerializer)
    @action(detail=True, methods=["post"])
    def enable(self, request: Request, pk: str) -> Response:
        """Enable it again; what was held is sent."""
        return self.answer(targets.set_integration_enabled(self._writable(), enabled=True))

    @extend_schema(request=None, responses=IntegrationSerializer)
    @action(detail=True, methods=["post"])
    def disable(self, request: Request, pk: str) -> Response:
        """Hold what is sent to it until it is enabled again."""
        reason = disabling.by(request.user)
        return self.answer(targets.set_integration_enabled(self._writable(), enabled=False, reason=reason))

    @extend_schema(request=None, responses=OutcomeSerializer)
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Send a marked example now, once, and say what came back; the history keeps it as a test."""
        return Response(OutcomeSerializer(trial.try_integration(self._writable(), actor=self.person)).data)


class InboxSerializer(StrictModelSerializer):
    team = TeamByName()
    url = StringField(read_only=True)

    class Meta:
        model = Inbox
        fields = ["id", "team", "name", "url", "created_at"]
        read_only_fields = ["created_at"]


class ReceivedSerializer(serializers.ModelSerializer):
    class Meta:
        model = InboxRequest
        fields = ["id", "received_at", "headers", "body", "verdict"]
        read_only_fields = fields


class InboxViewSet(TeamOwnedViewSet):
    """A receiver inside Tripline: point a webhook at its `url` and look at what came."""

    model = Inbox
    queryset = Inbox.objects.all()
    serializer_class = InboxSerializer
    needed_role = Role.MEMBER

    def visible(self) -> QuerySet[Inbox]:
        return access.inboxes(self.person).select_related("team")

    def save(self, instance: Inbox, data: dict[str, Any]) -> Inbox:
        instance.name = data.get("name", instance.name)
        return targets.save_inbox(instance)

    @extend_schema(responses=ReceivedSerializer(many=True))
    @action(detail=True, methods=["get"], filter_backends=[])
    def requests(self, request: Request, pk: str) -> Response:
        """The last 50, newest first."""
        inbox: Inbox = self.get_object()
        page = self.paginate_queryset(inbox.requests.all())
        return self.get_paginated_response(ReceivedSerializer(page, many=True).data)
