from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import django_filters
from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django_filters.fields import IsoDateTimeField
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.exceptions import ValidationError

from runs import access
from runs.models import ApiKey, Project, Run, RunStatus, User
from runs.rest.errors import FieldNotFound


class VisibleFilter(django_filters.NumberFilter):
    """Filters by the id of something the person sees; anything else is a 404, whether it exists or not."""

    def __init__(self, *, visible: Any, **options: Any) -> None:
        self.visible = visible
        super().__init__(decimal_places=0, **options)

    def filter(self, queryset: QuerySet[Any], value: Any) -> QuerySet[Any]:
        if value is None:
            return queryset
        if not self.visible(self.parent.request.user).filter(pk=int(value)).exists():
            raise FieldNotFound(self.parent_name)
        found: QuerySet[Any] = super().filter(queryset, int(value))
        return found

    @property
    def parent_name(self) -> str:
        return next((name for name, one in self.parent.filters.items() if one is self), "id")


class MomentField(IsoDateTimeField):
    """A time that can be compared: near both ends of the calendar, some have no equal in UTC."""

    def to_python(self, value: Any) -> datetime | None:
        moment: datetime | None = super().to_python(value)
        try:
            return moment and moment.astimezone(UTC)
        except OverflowError:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid") from None


class MomentFilter(django_filters.IsoDateTimeFilter):
    field_class = MomentField


class StrictFilterSet(django_filters.FilterSet):
    """Refuses query parameters that it does not know: a typo must not show everything."""

    KNOWN = frozenset({"page_size", "cursor", "ordering"})

    @property
    def qs(self) -> QuerySet[Any]:
        unknown = set(self.data or {}) - set(self.filters) - self.KNOWN
        if unknown:
            raise ValidationError({name: [_("Unknown filter.")] for name in sorted(unknown)})
        found: QuerySet[Any] = super().qs
        return found


class StrictFilterBackend(DjangoFilterBackend):
    """Strict too where a view only lists its filters."""

    filterset_base = StrictFilterSet


class KeyFilterSet(StrictFilterSet):
    team = VisibleFilter(visible=access.teams)
    name = django_filters.CharFilter()

    class Meta:
        model = ApiKey
        fields = ["name", "team"]


class ProjectFilterSet(StrictFilterSet):
    team = django_filters.CharFilter(method="by_team", label="name of the team")
    name = django_filters.CharFilter()

    class Meta:
        model = Project
        fields = ["team", "name"]

    def by_team(self, queryset: QuerySet[Project], name: str, value: str) -> QuerySet[Project]:
        if not access.teams(self.request.user).filter(name=value).exists():
            raise FieldNotFound(name)
        return queryset.filter(team__name=value)


class RunFilterSet(StrictFilterSet):
    project = VisibleFilter(visible=access.projects)
    status = django_filters.ChoiceFilter(choices=RunStatus.choices)
    user = django_filters.CharFilter(method="by_user", label="username")
    name = django_filters.CharFilter(lookup_expr="icontains")
    created_after = MomentFilter(field_name="created_at", lookup_expr="gte")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = Run
        fields = ["project", "status", "user", "name", "created_after", "created_before"]

    def by_user(self, queryset: QuerySet[Run], name: str, value: str) -> QuerySet[Run]:
        # By id: a database knows how many runs one person has only of whom it is told.
        person = User.objects.filter(username=value).values_list("pk", flat=True).first()
        return queryset.none() if person is None else queryset.filter(user=person)
