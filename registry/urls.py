from __future__ import annotations

from django.urls import path

from registry.views import collections, edits, registries, versions
from runs import paths  # noqa: F401  (makes <team:…> known)

urlpatterns = [
    path("registries/", registries.registries, name="registries"),
    path("registries/<str:registry>/", registries.registry, name="registry"),
    path("registries/<str:registry>/<str:collection>/", collections.in_registry, name="registry-collection"),
    path(
        "registries/<str:registry>/<str:collection>/<str:label>/",
        versions.in_registry,
        name="registry-version",
    ),
    # What messages link to: it does not change with any name.
    path("artifacts/<int:pk>/", collections.by_number, name="artifact"),
    path("artifacts/<int:pk>/<str:label>/", versions.by_number, name="artifact-version"),
    path("artifacts/<int:pk>/edit/<str:deed>/", edits.collection, name="edit-collection"),
    path("artifacts/<int:pk>/v<int:index>/edit/<str:deed>/", edits.version, name="edit-version"),
    path("<team:team_name>/<str:project_name>/collections/", collections.of_project, name="collections"),
    path(
        "<team:team_name>/<str:project_name>/collections/<str:collection>/",
        collections.in_project,
        name="collection",
    ),
    path(
        "<team:team_name>/<str:project_name>/collections/<str:collection>/<str:label>/",
        versions.in_project,
        name="version",
    ),
]
