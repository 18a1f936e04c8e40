from __future__ import annotations

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from rest_framework import mixins
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from runs import access
from runs.filtersets import ProjectFilterSet
from runs.models import Project, Role
from runs.rest.fields import StrictModelSerializer, TeamByName
from runs.rest.views import ScopedViewSet
from runs.services import projects
from runs.services.saving import save_named


class ProjectSerializer(StrictModelSerializer):
    team = TeamByName()

    class Meta:
        model = Project
        fields = ["id", "team", "name", "description", "created_at"]
        read_only_fields = ["created_at"]


class ProjectViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ScopedViewSet):
    queryset = Project.objects.all()
    serializer_class = ProjectSerializer
    filterset_class = ProjectFilterSet
    ordering_fields = ["id", "name", "created_at"]

    def visible(self) -> QuerySet[Project]:
        return access.projects(self.person).select_related("team")

    def create(self, request: Request) -> Response:
        data = self.validated()
        access.require_role(self.person, data["team"], Role.MEMBER)
        return self.answer(projects.create_project(**data), status=201)

    def partial_update(self, request: Request, pk: str) -> Response:
        project = self.get_object()
        access.require_role(self.person, project.team, Role.MEMBER)
        data = self.validated(instance=project)
        if data.pop("team", project.team) != project.team:
            # Its rules send to integrations of its team, and its history is that team's.
            raise ValidationError({"team": [_("A project does not move to another team.")]})
        for field, value in data.items():
            setattr(project, field, value)
        return self.answer(save_named(project))
