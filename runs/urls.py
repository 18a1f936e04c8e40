from __future__ import annotations

from django.urls import path

from runs import paths  # noqa: F401  (makes <team:…> known)
from runs.views import client, compare, home, language, people, run, search, table

urlpatterns = [
    path("", home.home, name="home"),
    path("search/", search.search, name="search"),
    path("tripline.py", client.client, name="client"),
    path("profile/", people.profile, name="profile"),
    path("profile/language/", language.choose, name="language"),
    path("profile/keys/<int:pk>/revoke/", people.revoke_key, name="key-revoke"),
    path("teams/<str:team_name>/", people.members, name="team-members"),
    path("teams/<str:team_name>/members/", people.add_member, name="member-add"),
    path("teams/<str:team_name>/members/<int:pk>/", people.change_member, name="member-change"),
    path("teams/<str:team_name>/members/<int:pk>/remove/", people.remove_member, name="member-remove"),
    path("teams/<str:team_name>/keys/<int:pk>/revoke/", people.revoke_service_key, name="service-key-revoke"),
    path("<team:team_name>/", home.team, name="team"),
    path("<team:team_name>/<str:project_name>/", table.runs, name="project"),
    path("<team:team_name>/<str:project_name>/compare/", compare.compare, name="compare"),
    path("<team:team_name>/<str:project_name>/delete/", table.delete, name="delete-runs"),
    path("<team:team_name>/<str:project_name>/deleted/", table.deleted, name="deleted-runs"),
    path("<team:team_name>/<str:project_name>/runs/<str:run_id>/", run.page, name="run"),
    path("<team:team_name>/<str:project_name>/runs/<str:run_id>/series/", run.series, name="run-series"),
    path("<team:team_name>/<str:project_name>/runs/<str:run_id>/live/", run.live, name="run-live"),
]
