from __future__ import annotations

from typing import cast

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from runs import access
from runs.filtersets import KeyFilterSet
from runs.models import ApiKey, Member, Organization, Role, Team, User
from runs.rest.fields import PersonByName, StrictModelSerializer, StringField, VisibleField
from runs.rest.negotiation import AlwaysTheSame
from runs.rest.schema import ErrorsToo
from runs.rest.views import ScopedViewSet, visible_or_404
from runs.services import people
from runs.services.saving import save_named


class TeamRoleSerializer(StrictModelSerializer):
    team_name = StringField(source="team.name", read_only=True)

    class Meta:
        model = Member
        fields = ["team", "team_name", "role"]
        read_only_fields = fields


class MeSerializer(StrictModelSerializer):
    email = StringField(read_only=True)
    teams = TeamRoleSerializer(source="memberships", many=True, read_only=True)

    class Meta:
        model = User
        fields = ["id", "username", "email", "is_staff", "is_superuser", "teams"]
        read_only_fields = fields


class MeView(APIView):
    """Who I am, my teams and my roles in them."""

    content_negotiation_class = AlwaysTheSame
    schema = ErrorsToo()

    @extend_schema(responses=MeSerializer)
    def get(self, request: Request) -> Response:
        user = User.objects.prefetch_related("memberships__team").get(pk=cast(int, request.user.pk))
        return Response(MeSerializer(user).data)


class UserSerializer(StrictModelSerializer):
    # May be empty, which the schema's format “email” does not know; the model checks the rest.
    email = StringField(required=False, allow_blank=True, max_length=254)
    password = StringField(write_only=True, max_length=1000, trim_whitespace=False)

    class Meta:
        model = User
        fields = ["id", "username", "email", "password", "is_active", "is_service"]
        read_only_fields = ["is_active", "is_service"]


class UserViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ScopedViewSet):
    """People, for staff only."""

    queryset = User.objects.all()
    serializer_class = UserSerializer
    filterset_fields = ["username"]
    ordering_fields = ["id", "username"]

    def visible(self) -> QuerySet[User]:
        access.require_staff(self.person)
        return User.objects.all()

    def create(self, request: Request) -> Response:
        access.require_staff(self.person)
        data = self.validated()
        password = data.pop("password")
        user = User(**data)
        user.set_unusable_password()
        _check_password(password, user)
        user.set_password(password)
        return self.answer(save_named(user, field="username"), status=201)


def _check_password(password: str, user: User) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise ValidationError({"password": error.messages}) from error


class KeySerializer(StrictModelSerializer):
    team = VisibleField(
        queryset=Team.objects.all(), visible=access.teams, allow_null=True, required=False, default=None
    )
    key = serializers.SerializerMethodField(help_text="The key itself, in the answer to POST only.")

    class Meta:
        model = ApiKey
        fields = ["id", "name", "team", "prefix", "key", "created_at", "last_used_at"]
        read_only_fields = ["prefix", "created_at", "last_used_at"]

    def get_key(self, key: ApiKey) -> str | None:
        return getattr(key, "shown_once", None)


class KeyViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ScopedViewSet):
    """My keys, and the service keys of teams that I am an admin of."""

    queryset = ApiKey.objects.all()
    serializer_class = KeySerializer
    filterset_class = KeyFilterSet
    ordering_fields = ["id", "created_at"]

    def visible(self) -> QuerySet[ApiKey]:
        mine = ApiKey.objects.filter(user=self.person, team=None)
        return mine | ApiKey.objects.filter(
            team__in=access.teams(self.person, at_least=Role.ADMIN).values("pk")
        )

    def create(self, request: Request) -> Response:
        data = self.validated()
        team: Team | None = data["team"]
        if team is None:
            key, text = people.create_key(self.person, data["name"])
        else:
            access.require_role(self.person, team, Role.ADMIN)
            key, text = people.create_service_key(team, data["name"])
        key.shown_once = text  # type: ignore[attr-defined]
        return self.answer(key, status=201)

    def destroy(self, request: Request, pk: str) -> Response:
        people.revoke_key(self.get_object())
        return Response(status=204)


class OrganizationSerializer(StrictModelSerializer):
    class Meta:
        model = Organization
        fields = ["id", "name", "created_at"]
        read_only_fields = ["created_at"]


class OrganizationViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ScopedViewSet):
    """One exists from the start and is the default everywhere; staff make more."""

    queryset = Organization.objects.all()
    serializer_class = OrganizationSerializer
    filterset_fields = ["name"]
    ordering_fields = ["id", "name"]

    def visible(self) -> QuerySet[Organization]:
        Organization.default()
        return access.organizations(self.person)

    def create(self, request: Request) -> Response:
        access.require_staff(self.person)
        return self.answer(save_named(Organization(**self.validated())), status=201)

    def partial_update(self, request: Request, pk: str) -> Response:
        access.require_staff(self.person)
        organization = self.get_object()
        organization.name = self.validated(instance=organization).get("name", organization.name)
        return self.answer(save_named(organization))


class TeamSerializer(StrictModelSerializer):
    organization = VisibleField(
        queryset=Organization.objects.all(), visible=access.organizations, required=False
    )

    class Meta:
        model = Team
        fields = ["id", "name", "organization", "language", "time_zone", "created_at"]
        read_only_fields = ["created_at"]


class TeamViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ScopedViewSet):
    """Staff make teams; admins of a team rename it."""

    queryset = Team.objects.all()
    serializer_class = TeamSerializer
    filterset_fields = ["name"]
    ordering_fields = ["id", "name", "created_at"]

    def visible(self) -> QuerySet[Team]:
        return access.teams(self.person)

    def create(self, request: Request) -> Response:
        access.require_staff(self.person)
        data = self.validated()
        team = people.create_team(data["name"], organization=data.get("organization"), owner=self.person)
        return self.answer(team, status=201)

    def partial_update(self, request: Request, pk: str) -> Response:
        team = self.get_object()
        access.require_role(self.person, team, Role.ADMIN)
        data = self.validated(instance=team)
        if "organization" in data and data["organization"] != team.organization:
            access.require_staff(self.person)
        for field, value in data.items():
            setattr(team, field, value)
        return self.answer(save_named(team))


class MemberSerializer(StrictModelSerializer):
    user = PersonByName()

    class Meta:
        model = Member
        fields = ["id", "user", "role"]


class MemberViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ScopedViewSet):
    """The people of one team; its admins change them."""

    queryset = Member.objects.all()
    serializer_class = MemberSerializer
    filterset_fields = ["role"]

    @property
    def team(self) -> Team:
        found: Team = visible_or_404(access.teams(self.person), pk=self.kwargs["team_pk"])
        return found

    def visible(self) -> QuerySet[Member]:
        return Member.objects.filter(team=self.team).select_related("user")

    def create(self, request: Request, team_pk: str) -> Response:
        team = self.team
        access.require_role(self.person, team, Role.ADMIN)
        data = self.validated()
        role = data.get("role", Role.MEMBER)
        return self.answer(people.set_member(team, data["user"], role=role), status=201)

    def partial_update(self, request: Request, team_pk: str, pk: str) -> Response:
        member = self.get_object()
        access.require_role(self.person, member.team, Role.ADMIN)
        role = self.validated(instance=member).get("role", member.role)
        return self.answer(people.set_member(member.team, member.user, role=role))

    def destroy(self, request: Request, team_pk: str, pk: str) -> Response:
        member = self.get_object()
        access.require_role(self.person, member.team, Role.ADMIN)
        people.remove_member(member)
        return Response(status=204)
