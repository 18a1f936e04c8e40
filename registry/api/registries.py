from __future__ import annotations

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from rest_framework import mixins, serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from registry import access
from registry.filtersets import RegistryFilterSet
from registry.models import Registry, RegistryMember
from registry.names import validate_alias
from registry.services import collections
from runs import access as runs_access
from runs.models import Organization, Role
from runs.names import SLUG_LENGTH, normalized
from runs.rest.fields import PersonByName, StrictModelSerializer, StringField, VisibleField
from runs.rest.views import ScopedViewSet, visible_or_404
from runs.services.saving import save_named


class RegistryMemberSerializer(StrictModelSerializer):
    user = PersonByName()

    class Meta:
        model = RegistryMember
        fields = ["id", "user", "role"]


class RegistrySerializer(StrictModelSerializer):
    organization = VisibleField(
        queryset=Organization.objects.all(), visible=runs_access.organizations, required=False
    )
    protected_aliases = serializers.ListField(
        child=StringField(max_length=SLUG_LENGTH, validators=[validate_alias]), required=False, max_length=100
    )
    members = RegistryMemberSerializer(many=True, read_only=True)

    class Meta:
        model = Registry
        fields = [
            "id",
            "organization",
            "name",
            "description",
            "visibility",
            "protected_aliases",
            "members",
            "created_at",
        ]
        read_only_fields = ["created_at"]

    def validate_protected_aliases(self, aliases: list[str]) -> list[str]:
        """In the form in which aliases are stored and compared."""
        return list(dict.fromkeys(normalized(alias) for alias in aliases))


class RegistryViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ScopedViewSet):
    """Open to the organization or to members only; who makes one is its first admin."""

    queryset = Registry.objects.all()
    serializer_class = RegistrySerializer
    filterset_class = RegistryFilterSet
    ordering_fields = ["id", "name", "created_at"]

    def visible(self) -> QuerySet[Registry]:
        return access.registries(self.person).prefetch_related("members__user")

    def create(self, request: Request) -> Response:
        data = self.validated()
        organization = data.get("organization") or Organization.default()
        runs_access.require_some_team(self.person, organization)
        return self.answer(collections.create_registry(**data, owner=self.person), status=201)

    def partial_update(self, request: Request, pk: str) -> Response:
        registry = self.get_object()
        access.require_registry_role(self.person, registry, Role.ADMIN)
        data = self.validated(instance=registry)
        if data.pop("organization", registry.organization) != registry.organization:
            raise ValidationError({"organization": [_("A registry does not move to another organization.")]})
        for field, value in data.items():
            setattr(registry, field, value)
        save_named(registry)
        return self.answer(self.get_object())


class RegistryMemberViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ScopedViewSet):
    """The members of one registry; its admins change them."""

    queryset = RegistryMember.objects.all()
    serializer_class = RegistryMemberSerializer
    filterset_fields = ["role"]

    @property
    def registry(self) -> Registry:
        found: Registry = visible_or_404(access.registries(self.person), pk=self.kwargs["registry_pk"])
        return found

    def visible(self) -> QuerySet[RegistryMember]:
        return RegistryMember.objects.filter(registry=self.registry).select_related("user")

    def create(self, request: Request, registry_pk: str) -> Response:
        registry = self.registry
        access.require_registry_role(self.person, registry, Role.ADMIN)
        data = self.validated()
        role = data.get("role", Role.MEMBER)
        return self.answer(collections.set_registry_member(registry, data["user"], role=role), status=201)

    def partial_update(self, request: Request, registry_pk: str, pk: str) -> Response:
        member = self.get_object()
        access.require_registry_role(self.person, member.registry, Role.ADMIN)
        role = self.validated(instance=member).get("role", member.role)
        return self.answer(collections.set_registry_member(member.registry, member.user, role=role))

    def destroy(self, request: Request, registry_pk: str, pk: str) -> Response:
        member = self.get_object()
        access.require_registry_role(self.person, member.registry, Role.ADMIN)
        member.delete()
        return Response(status=204)
