from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from registry import access
from registry.filtersets import CollectionFilterSet
from registry.models import Alias, ArtifactVersion, Collection, Membership, Registry
from registry.services import collections as services, versions as version_services
from runs import access as runs_access
from runs.models import Project, Role
from runs.names import SLUG_LENGTH, normalized
from runs.rest.fields import StrictModelSerializer, StrictSerializer, StringField, VisibleField
from runs.rest.views import ScopedViewSet, not_found_unless, visible_or_404
from runs.services.saving import save_named

# A tag or an alias in a path; what it may hold is the services' business.
LABEL = "(?P<label>[^/]+)"
# So many of them one call may bring: each is a change of its own.
LABELS_MAX = 100


class AliasSerializer(serializers.ModelSerializer):
    """An alias and the version it sits on."""

    alias = StringField(source="name", read_only=True)

    class Meta:
        model = Alias
        fields = ["alias", "version"]
        read_only_fields = fields


class LabelsField(serializers.ListField):
    """Aliases or tags, in the form in which they are stored and compared."""

    def __init__(self, **options: Any) -> None:
        super().__init__(child=StringField(max_length=SLUG_LENGTH), max_length=LABELS_MAX, **options)

    def to_internal_value(self, data: Any) -> list[str]:
        return list(dict.fromkeys(normalized(label) for label in super().to_internal_value(data)))

    def get_attribute(self, instance: Any) -> list[str]:
        return [label.name for label in getattr(instance, str(self.source)).all()]


class CollectionSerializer(StrictModelSerializer):
    project = VisibleField(
        queryset=Project.objects.all(), visible=runs_access.projects, required=False, allow_null=True
    )
    registry = VisibleField(
        queryset=Registry.objects.all(), visible=access.registries, required=False, allow_null=True
    )
    tags = LabelsField(read_only=True)
    aliases = AliasSerializer(many=True, read_only=True)

    class Meta:
        model = Collection
        fields = [
            "id",
            "project",
            "registry",
            "name",
            "type",
            "description",
            "tags",
            "aliases",
            "created_at",
        ]
        read_only_fields = ["created_at"]

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        if self.instance is None and bool(data.get("project")) == bool(data.get("registry")):
            raise ValidationError({"project": [_("Give a project or a registry, not both.")]})
        return data


class LinkSerializer(StrictSerializer):
    version = VisibleField(queryset=ArtifactVersion.objects.all(), visible=access.versions)
    aliases = LabelsField(default=list)


class MembershipSerializer(serializers.ModelSerializer):
    number = serializers.SerializerMethodField()

    class Meta:
        model = Membership
        fields = ["collection", "version", "number", "linked_at"]
        read_only_fields = fields

    def get_number(self, membership: Membership) -> str:
        return f"v{membership.index}"


class AliasTargetSerializer(StrictSerializer):
    version = VisibleField(queryset=ArtifactVersion.objects.all(), visible=access.versions)


class CollectionViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ScopedViewSet):
    queryset = Collection.objects.all()
    serializer_class = CollectionSerializer
    filterset_class = CollectionFilterSet
    ordering_fields = ["id", "name", "created_at"]

    def visible(self) -> QuerySet[Collection]:
        found = access.collections(self.person).select_related("project__team", "registry")
        return found.prefetch_related("tags", "aliases")

    def create(self, request: Request) -> Response:
        data = self.validated()
        project, registry = data.pop("project", None), data.pop("registry", None)
        if registry is not None:
            access.require_registry_role(self.person, registry, Role.MEMBER)
        else:
            runs_access.require_role(self.person, project.team, Role.MEMBER)
        created = services.create_collection(registry or project, **data, actor=self.person)
        return self.answer(created, status=201)

    def partial_update(self, request: Request, pk: str) -> Response:
        collection = self._writable()
        data = self.validated(instance=collection)
        if moved := [field for field in ("project", "registry") if field in data]:
            raise ValidationError({moved[0]: [_("A collection does not move.")]})
        for field, value in data.items():
            setattr(collection, field, value)
        return self.answer(save_named(collection))

    def destroy(self, request: Request, pk: str) -> Response:
        collection = self.get_object()
        access.require_delete_role(self.person, collection)
        services.delete_collection(collection)
        return Response(status=204)

    @extend_schema(request=None, responses=CollectionSerializer)
    @action(detail=True, methods=["post"])
    def restore(self, request: Request, pk: str) -> Response:
        found = visible_or_404(Collection.objects.select_related("project__team", "registry"), pk=pk)
        # Visibility ends with the deletion: ask about where it lived.
        not_found_unless(_parent_is_visible(found, self.person))
        access.require_role(self.person, found, Role.MEMBER)
        services.restore_collection(found)
        return self.answer(self.get_object())

    @extend_schema(request=None, responses=CollectionSerializer)
    @action(detail=True, methods=["put"], url_path=f"tags/{LABEL}")
    def tag(self, request: Request, pk: str, label: str) -> Response:
        services.tag_collection(self._writable(), label, actor=self.person)
        return self.answer(self.get_object())

    @extend_schema(responses={204: None})
    @tag.mapping.delete
    def untag(self, request: Request, pk: str, label: str) -> Response:
        not_found_unless(services.untag_collection(self._writable(), label, actor=self.person))
        return Response(status=204)

    @extend_schema(responses=AliasSerializer)
    @action(detail=True, methods=["get"], url_path=f"aliases/{LABEL}")
    def alias(self, request: Request, pk: str, label: str) -> Response:
        """Which version has this alias."""
        here = Alias.objects.filter(collection=self.get_object())
        found = visible_or_404(here, name=normalized(label))
        return Response(AliasSerializer(found).data)

    @extend_schema(request=AliasTargetSerializer, responses=AliasSerializer)
    @alias.mapping.put
    def set_alias(self, request: Request, pk: str, label: str) -> Response:
        label = normalized(label)
        collection = self._alias_writable(label)
        body = AliasTargetSerializer(data=request.data, context=self.get_serializer_context())
        body.is_valid(raise_exception=True)
        services.set_alias(collection, label, body.validated_data["version"], actor=self.person)
        return Response({"alias": label, "version": body.validated_data["version"].pk})

    @extend_schema(responses={204: None})
    @alias.mapping.delete
    def remove_alias(self, request: Request, pk: str, label: str) -> Response:
        label = normalized(label)
        not_found_unless(services.remove_alias(self._alias_writable(label), label, actor=self.person))
        return Response(status=204)

    @extend_schema(request=LinkSerializer, responses={201: MembershipSerializer, 200: MembershipSerializer})
    @action(detail=True, methods=["post"], url_path="links")
    def link(self, request: Request, pk: str) -> Response:
        """Link a version to this registry collection: 201, or 200 when it was a member already."""
        collection = self._writable()
        body = LinkSerializer(data=request.data, context=self.get_serializer_context())
        body.is_valid(raise_exception=True)
        access.require_link_role(self.person, collection, **body.validated_data)
        membership, created = version_services.link_version(
            collection, **body.validated_data, actor=self.person
        )
        return Response(MembershipSerializer(membership).data, status=201 if created else 200)

    @extend_schema(responses={204: None})
    @action(detail=True, methods=["delete"], url_path="links/(?P<version>[0-9]{1,18})")
    def unlink(self, request: Request, pk: str, version: str) -> Response:
        collection = self._writable()
        found = visible_or_404(access.versions(self.person), pk=version)
        access.require_unlink_role(self.person, collection, found)
        not_found_unless(version_services.unlink_version(collection, found, actor=self.person))
        return Response(status=204)

    def _writable(self) -> Collection:
        collection: Collection = self.get_object()
        access.require_role(self.person, collection, Role.MEMBER)
        return collection

    def _alias_writable(self, alias: str) -> Collection:
        collection: Collection = self.get_object()
        access.require_alias_role(self.person, collection, alias)
        return collection


def _parent_is_visible(collection: Collection, user: Any) -> bool:
    try:
        access.require_role(user, collection, Role.VIEWER)
    except PermissionDenied:
        return False
    return True
