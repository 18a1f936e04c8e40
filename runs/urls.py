from __future__ import annotations

from django.urls import path

from runs import paths  # noqa: F401  (makes <team:…> known)
from runs.views import client, home, language, run, search, table

urlpatterns = [
    path("", home.home, name="home"),
    path("search/", search.search, name="search"),
    path("profile/language/", language.choose, name="language"),
    path("tripline.py", client.client, name="client"),
    path("<team:team_name>/", home.team, name="team"),
    path("<team:team_name>/<str:project_name>/", table.runs, name="project"),
    path("<team:team_name>/<str:project_name>/runs/<str:run_id>/", run.page, name="run"),
]
