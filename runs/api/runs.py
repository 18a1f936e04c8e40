from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from runs import access, ingest, metrics
from runs.api.schemas import METRICS_ANSWER, METRICS_BODY, SERIES
from runs.filtersets import RunFilterSet
from runs.models import MetricSummary, Project, Role, Run, RunStatus, Source, User
from runs.models.metrics import spelled
from runs.names import normalized
from runs.rest.errors import FieldNotFound
from runs.rest.fields import StrictModelSerializer, StrictSerializer, StringField
from runs.rest.views import ScopedViewSet, visible_or_404
from runs.services import metrics as metric_services, projects, runs as services


@extend_schema_field({"oneOf": [{"type": "integer"}, {"type": "string", "example": "team/name"}]})
class ProjectField(serializers.Field):
    """A project by id, or by `"team/name"`, made when it is missing."""

    def to_representation(self, project: Project) -> int:
        return project.pk

    def to_internal_value(self, data: Any) -> Project:
        if isinstance(data, str) and not data.isdecimal():
            return self._by_path(normalized(data))
        if isinstance(data, bool) or not isinstance(data, int | str):
            raise serializers.ValidationError(_("This must be a project's id or its path, team/name."))
        pk = int(data) if len(str(data)) < 20 else -1
        visible = access.projects(self.context["request"].user)
        found = visible.select_related("team__organization").filter(pk=pk).first()
        if found is None:
            raise FieldNotFound("project")
        return found

    def _by_path(self, path: str) -> Project:
        user = self.context["request"].user
        try:
            return projects.project_by_path(path, user)
        except ValidationError as error:
            team = path.rpartition("/")[0]
            if team and not access.teams(user).filter(name=team).exists():
                raise FieldNotFound("project", error.messages[0]) from error
            raise serializers.ValidationError(error.messages) from error


class RunSerializer(StrictModelSerializer):
    project = ProjectField()
    run_id = StringField(required=False, max_length=128)
    name = StringField(required=False, max_length=250, trim_whitespace=False)
    status = serializers.ChoiceField(choices=RunStatus.choices, default=RunStatus.RUNNING)
    config = serializers.DictField(required=False)
    user = StringField(source="user.username", read_only=True, allow_null=True, default=None)
    path = StringField(read_only=True)
    url = StringField(read_only=True)
    summary = serializers.SerializerMethodField()

    class Meta:
        model = Run
        fields = [
            "id",
            "project",
            "run_id",
            "name",
            "status",
            "config",
            "user",
            "created_at",
            "started_at",
            "finished_at",
            "heartbeat_at",
            "path",
            "url",
            "summary",
        ]
        read_only_fields = ["created_at", "started_at", "finished_at", "heartbeat_at"]

    @extend_schema_field({"type": "object", "additionalProperties": {"type": ["number", "string", "null"]}})
    def get_summary(self, run: Run) -> dict[str, float | str | None]:
        """The latest value of every history metric."""
        return {row.name: row.last for row in run.summaries.all() if row.source == Source.HISTORY}


class RunChangeSerializer(StrictModelSerializer):
    """What of a run can be changed."""

    name = StringField(required=False, max_length=250, trim_whitespace=False)
    status = serializers.ChoiceField(choices=RunStatus.choices, required=False)
    config = serializers.DictField(required=False)

    class Meta:
        model = Run
        fields = ["name", "status", "config"]


class EmptySerializer(StrictSerializer):
    """No body is needed."""


class RawBody(BaseParser):
    """Leaves the body to the ingest, which decodes it in one pass."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        return stream.read()


# Bodies larger than this are taken in one at a time: decoded, they are several times as large.
LARGE_BODY = 4 * 1024 * 1024
_one_large_body = threading.Lock()


def is_large(request: HttpRequest | Request) -> bool:
    return int(request.META.get("CONTENT_LENGTH") or 0) > LARGE_BODY


def _room_for(request: Request) -> AbstractContextManager[object]:
    return _one_large_body if is_large(request) else nullcontext()


def log(person: User, pk: int, *, body: bytes, key: str | None) -> dict[str, Any]:
    """Take in a metrics call; what it is answered.

    Raises `NotFound`, `PermissionDenied` and `ValidationError`.
    """
    call = ingest.parse(body)
    run = access.run_to_log(person, pk)
    if run is None:
        raise NotFound
    accepted = metric_services.log_metrics(run, call, key=key)
    return {"accepted": accepted.count, "duplicate": accepted.duplicate}


class RunViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ScopedViewSet):
    queryset = Run.objects.all()
    serializer_class = RunSerializer
    filterset_class = RunFilterSet
    ordering_fields = ["id", "created_at", "name", "status"]

    def visible(self) -> QuerySet[Run]:
        found = access.runs(self.person).select_related("project__team", "user")
        if self.action in {"metrics", "heartbeat"}:
            return found  # called often, and answered without the summary of what may be thousands of metrics
        summaries = MetricSummary.objects.filter(source=Source.HISTORY).order_by("name")
        return found.prefetch_related(Prefetch("summaries", queryset=summaries))

    # A project that is made for a run that is then refused must not stay.
    @transaction.atomic
    def create(self, request: Request) -> Response:
        """A new run (201), or the one with this `run_id`, resumed (200)."""
        data = self.validated()
        project: Project = data.pop("project")
        access.require_role(self.person, project.team, Role.MEMBER)
        data["status"] = RunStatus(data["status"])
        run, created = services.start_run(project, self.person, **data)
        return self.answer(run, status=201 if created else 200)

    @extend_schema(request=RunChangeSerializer, responses=RunSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        run = self._writable()
        serializer = RunChangeSerializer(run, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        if "name" in data or "config" in data:
            services.update_run(run, name=data.get("name"), config=data.get("config"))
        if "status" in data:
            services.set_status(run, RunStatus(data["status"]), actor=self.person)
        return self.answer(run)

    def destroy(self, request: Request, pk: str) -> Response:
        services.delete_run(self._writable())
        return Response(status=204)

    @extend_schema(request=EmptySerializer, responses=RunSerializer)
    @action(detail=True, methods=["post"])
    def restore(self, request: Request, pk: str) -> Response:
        run = visible_or_404(Run.objects.filter(project__in=access.projects(self.person)), pk=pk)
        access.require_role(self.person, run.project.team, Role.MEMBER)
        services.restore_run(run)
        return self.answer(self.get_object())

    @extend_schema(request=EmptySerializer, responses={204: None})
    @action(detail=True, methods=["post"])
    def heartbeat(self, request: Request, pk: str) -> Response:
        services.heartbeat(self._writable(), actor=self.person)
        return Response(status=204)

    @extend_schema(methods=["POST"], request=METRICS_BODY, responses={202: METRICS_ANSWER})
    @extend_schema(
        methods=["GET"],
        parameters=[
            OpenApiParameter("name", OpenApiTypes.STR),
            OpenApiParameter("source", OpenApiTypes.STR, enum=Source.values),
            OpenApiParameter("max_points", OpenApiTypes.INT64),
            OpenApiParameter("step_min", OpenApiTypes.INT64),
            OpenApiParameter("step_max", OpenApiTypes.INT64),
        ],
        responses={200: SERIES},
    )
    @action(
        detail=True,
        methods=["get", "post"],
        parser_classes=[RawBody],
        pagination_class=None,
        filter_backends=[],
    )
    def metrics(self, request: Request, pk: str) -> Response:
        if request.method == "POST":
            with _room_for(request):
                return self._log(request, int(pk))
        query = SeriesQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        run = self.get_object()
        wanted = query.validated_data
        return Response(_series(run, **wanted) if "name" in wanted else _names(run, wanted.get("source")))

    def _log(self, request: Request, pk: int) -> Response:
        # Without any body DRF does not ask the parser, and the data is an empty dict.
        body, key = cast(bytes, request.data or b""), request.headers.get("Idempotency-Key")
        return Response(log(self.person, pk, body=body, key=key), status=202)

    def _writable(self) -> Run:
        run: Run = self.get_object()
        access.require_role(self.person, run.project.team, Role.MEMBER)
        return run


class SeriesQuery(StrictSerializer):
    name = serializers.CharField(required=False, max_length=250, trim_whitespace=False)
    source = serializers.ChoiceField(choices=Source.choices, required=False)  # type: ignore[assignment]
    max_points = serializers.IntegerField(required=False, min_value=1, max_value=1_000_000)
    step_min = serializers.IntegerField(required=False, min_value=-(2**63), max_value=2**63 - 1)
    step_max = serializers.IntegerField(required=False, min_value=-(2**63), max_value=2**63 - 1)


def _names(run: Run, source: str | None) -> list[dict[str, Any]]:
    rows = MetricSummary.objects.filter(run=run).order_by("source", "name")
    return [
        {
            "name": row.name,
            "source": row.source,
            "last": row.last,
            "min": row.minimum,
            "max": row.maximum,
            "count": row.count,
            "last_step": row.last_step,
        }
        for row in (rows.filter(source=source) if source else rows)
    ]


def _series(run: Run, *, name: str, source: str = Source.HISTORY, **bounds: int) -> dict[str, Any]:
    found = metrics.series(run, source, name, **bounds)
    if found is None:
        raise FieldNotFound("name")
    summary = MetricSummary.objects.get(run=run, source=source, name=name)
    return {
        "name": name,
        "source": source,
        "count": summary.count,
        "steps": list(found.steps),
        "timestamps": list(found.timestamps),
        "values": [spelled(value) for value in found.values],
    }
