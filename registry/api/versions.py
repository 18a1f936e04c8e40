from __future__ import annotations

from typing import Any, BinaryIO, cast

from django.db.models import Prefetch, QuerySet
from django.http import FileResponse
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from registry import access
from registry.api.collections import LABEL, LabelsField
from registry.filtersets import VersionFilterSet
from registry.models import ArtifactFile, ArtifactVersion, Collection, Membership, Use, VersionState
from registry.services import files, uses, versions
from runs import access as runs_access
from runs.models import Role, Run
from runs.rest.fields import StrictModelSerializer, VisibleField
from runs.rest.views import ScopedViewSet, not_found_unless, visible_or_404


class FileSerializer(serializers.ModelSerializer):
    class Meta:
        model = ArtifactFile
        fields = ["path", "size", "digest"]
        read_only_fields = fields


class HomeAliasesField(LabelsField):
    """Its aliases where it was made: nobody's business where one sees it by a link only."""

    def get_attribute(self, version: ArtifactVersion) -> list[str]:
        if not version.home_is_seen:  # type: ignore[attr-defined]  # annotated by the view
            return []
        return [alias.name for alias in version.aliases.all() if alias.collection_id == version.home_id]


class VersionSerializer(StrictModelSerializer):
    collection = VisibleField(source="home", queryset=Collection.objects.all(), visible=access.collections)
    run = VisibleField(queryset=Run.objects.all(), visible=runs_access.runs, required=False, allow_null=True)
    metadata = serializers.DictField(required=False)
    aliases = HomeAliasesField(required=False)
    tags = LabelsField(required=False)
    state = serializers.ChoiceField(choices=VersionState.choices, required=False)
    version = serializers.SerializerMethodField(help_text='"v0"; null until the version is committed.')
    files = FileSerializer(many=True, read_only=True)

    class Meta:
        model = ArtifactVersion
        fields = [
            "id",
            "collection",
            "run",
            "digest",
            "metadata",
            "description",
            "aliases",
            "tags",
            "version",
            "size",
            "state",
            "files",
            "created_at",
        ]
        read_only_fields = ["size", "created_at"]

    @extend_schema_field({"type": ["string", "null"]})
    def get_version(self, version: ArtifactVersion) -> str | None:
        numbers = {m.collection_id: m.index for m in version.memberships.all()}
        index = numbers.get(version.home_id)
        return None if index is None else f"v{index}"

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        run, home = data.get("run"), data.get("home")
        if run and home and home.project and run.project.team_id != home.project.team_id:
            raise serializers.ValidationError({"run": [_("This run belongs to another team.")]})
        return data


class VersionChangeSerializer(StrictModelSerializer):
    """What of a version can be changed: its words, not its content."""

    metadata = serializers.DictField(required=False)

    class Meta:
        model = ArtifactVersion
        fields = ["description", "metadata"]


class UseSerializer(serializers.ModelSerializer):
    """A run that read a version."""

    class Meta:
        model = Use
        fields = ["run", "version", "created_at"]
        read_only_fields = fields


class StreamedBody(BaseParser):
    """Leaves the body unread: it is streamed to the storage."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        return {}


class VersionViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ScopedViewSet):
    queryset = ArtifactVersion.objects.all()
    serializer_class = VersionSerializer
    filterset_class = VersionFilterSet
    ordering_fields = ["id", "created_at", "size"]

    def visible(self) -> QuerySet[ArtifactVersion]:
        found = access.versions(self.person).select_related("home__project__team", "home__registry")
        numbers = Prefetch("memberships", queryset=Membership.objects.order_by("pk"))
        seen = found.annotate(home_is_seen=access.home_is_seen(self.person))
        return seen.prefetch_related("files", "aliases", "tags", numbers)

    def create(self, request: Request) -> Response:
        """A new version (201), or the one with the same digest (200)."""
        data = self.validated()
        home: Collection = data.pop("home")
        access.require_role(self.person, home, Role.MEMBER)
        version, created = versions.create_version(home, **data, actor=self.person)
        return self.answer(self._fresh(version), status=201 if created else 200)

    @extend_schema(request=VersionChangeSerializer, responses=VersionSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        version = self._writable()
        body = VersionChangeSerializer(version, data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        body.save()
        return self.answer(self._fresh(version))

    @extend_schema(request=None, responses=VersionSerializer)
    @action(detail=True, methods=["post"])
    def commit(self, request: Request, pk: str) -> Response:
        """Make a pending version real. The answer is the existing version where the content is known."""
        version = versions.commit_version(self._writable(), actor=self.person)
        return self.answer(self._fresh(version))

    @extend_schema(request=None, responses=VersionSerializer)
    @action(detail=True, methods=["put"], url_path=f"tags/{LABEL}")
    def tag(self, request: Request, pk: str, label: str) -> Response:
        version = self._writable()
        versions.tag_version(version, label, actor=self.person)
        return self.answer(self._fresh(version))

    @extend_schema(responses={204: None})
    @tag.mapping.delete
    def untag(self, request: Request, pk: str, label: str) -> Response:
        not_found_unless(versions.untag_version(self._writable(), label, actor=self.person))
        return Response(status=204)

    @extend_schema(responses=UseSerializer(many=True))
    @action(detail=True, methods=["get"], url_path="uses", filterset_class=None)
    def used_by(self, request: Request, pk: str) -> Response:
        """The runs that read this version, the newest first, as far as you see them."""
        mine = runs_access.runs(self.person).values("pk")
        rows = self.paginate_queryset(Use.objects.filter(version=self.get_object(), run__in=mine))
        return self.get_paginated_response(UseSerializer(rows, many=True).data)

    @extend_schema(request=None, responses={201: UseSerializer, 200: UseSerializer})
    @action(detail=True, methods=["put"], url_path="uses/(?P<run>[0-9]{1,18})")
    def use(self, request: Request, pk: str, run: str) -> Response:
        """Note that a run of yours read this version: 201, or 200 where that was noted already."""
        noted, created = uses.use_version(self._run(run), self.get_object())
        return Response(UseSerializer(noted).data, status=201 if created else 200)

    @extend_schema(responses={204: None})
    @use.mapping.delete
    def forget_use(self, request: Request, pk: str, run: str) -> Response:
        not_found_unless(uses.forget_use(self._run(run), self.get_object()))
        return Response(status=204)

    @extend_schema(request={"application/octet-stream": OpenApiTypes.BINARY}, responses=FileSerializer)
    @action(detail=True, methods=["put"], url_path="files/(?P<path>.+)", parser_classes=[StreamedBody])
    def file(self, request: Request, pk: str, path: str) -> Response:
        """Store one file of a pending version, streamed."""
        version = self._writable()
        stored = files.put_file(version, path.rstrip("/"), cast(BinaryIO, request._request))
        return Response(FileSerializer(stored).data)

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    @file.mapping.get
    def download(self, request: Request, pk: str, path: str) -> FileResponse:
        found = visible_or_404(ArtifactFile.objects.filter(version=self.get_object()), path=path.rstrip("/"))
        return attachment(found)

    def _run(self, pk: str) -> Run:
        """What is noted of a run, members of its team note."""
        run: Run = visible_or_404(runs_access.runs(self.person).select_related("project__team"), pk=pk)
        runs_access.require_role(self.person, run.project.team, Role.MEMBER)
        return run

    def _writable(self) -> ArtifactVersion:
        version: ArtifactVersion = self.get_object()
        access.require_version_member(self.person, version)
        return version

    def _fresh(self, version: ArtifactVersion) -> ArtifactVersion:
        found: ArtifactVersion = self.visible().get(pk=version.pk)
        return found


def attachment(file: ArtifactFile) -> FileResponse:
    """A download that no browser runs: attachment, nosniff, sandboxed."""
    name = file.path.rpartition("/")[2]
    response = FileResponse(
        file.content.open("rb"), as_attachment=True, filename=name, content_type="application/octet-stream"
    )
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["ETag"] = f'"{file.digest}"'
    return response
