from __future__ import annotations

import django_filters

from registry import access
from registry.models import ArtifactVersion, Collection, Registry, VersionState, Visibility
from runs import access as runs_access
from runs.filtersets import StrictFilterSet, VisibleFilter


class RegistryFilterSet(StrictFilterSet):
    name = django_filters.CharFilter()
    visibility = django_filters.ChoiceFilter(choices=Visibility.choices)

    class Meta:
        model = Registry
        fields = ["name", "visibility"]


class CollectionFilterSet(StrictFilterSet):
    project = VisibleFilter(visible=runs_access.projects)
    registry = VisibleFilter(visible=access.registries)
    name = django_filters.CharFilter()
    type = django_filters.CharFilter()
    tag = django_filters.CharFilter(field_name="tags__name")

    class Meta:
        model = Collection
        fields = ["project", "registry", "name", "type", "tag"]


class VersionFilterSet(StrictFilterSet):
    # Linked versions too: a collection holds its members.
    collection = VisibleFilter(visible=access.collections, field_name="memberships__collection")
    run = VisibleFilter(visible=runs_access.runs)
    used_by = VisibleFilter(visible=runs_access.runs, field_name="uses__run")
    digest = django_filters.CharFilter()
    state = django_filters.ChoiceFilter(choices=VersionState.choices)
    tag = django_filters.CharFilter(field_name="tags__name")

    class Meta:
        model = ArtifactVersion
        fields = ["collection", "run", "used_by", "digest", "state", "tag"]
