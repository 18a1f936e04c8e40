"""The router of `/api/v1/`: what each app offers, composed in one place."""

from __future__ import annotations

from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerView
from rest_framework.routers import SimpleRouter

from automations.api import backtests, feed, history, presets, rules, schema, targets
from registry.api import collections, registries, versions
from runs.api import openapi, people, projects, runs as runs_api


class Router(SimpleRouter):
    """Routes with and without the final slash: a redirect would turn a POST into a GET."""

    def __init__(self) -> None:
        super().__init__()
        self.trailing_slash = "/?"


router = Router()
router.register("users", people.UserViewSet)
router.register("keys", people.KeyViewSet)
router.register("organizations", people.OrganizationViewSet)
router.register("teams", people.TeamViewSet)
router.register(r"teams/(?P<team_pk>[0-9]{1,18})/members", people.MemberViewSet)
router.register("projects", projects.ProjectViewSet)
router.register("runs", runs_api.RunViewSet)
router.register("registries", registries.RegistryViewSet)
router.register(r"registries/(?P<registry_pk>[0-9]{1,18})/members", registries.RegistryMemberViewSet)
router.register("collections", collections.CollectionViewSet)
router.register("versions", versions.VersionViewSet)
router.register("secrets", targets.SecretViewSet)
router.register("integrations", targets.IntegrationViewSet)
router.register("inboxes", targets.InboxViewSet)
router.register("automations/backtests", backtests.BacktestViewSet)
router.register("automations", rules.AutomationViewSet)
router.register("executions", history.ExecutionViewSet)
router.register("deliveries", history.DeliveryViewSet)
router.register("events", feed.EventViewSet)

urlpatterns = [
    re_path("^me/?$", people.MeView.as_view(), name="me"),
    re_path("^presets/?$", presets.PresetsView.as_view(), name="presets"),
    re_path(
        "^automations/backtest/?$", backtests.BacktestViewSet.as_view({"post": "try_out"}), name="backtest"
    ),
    path("schema/", SpectacularJSONAPIView.as_view(), name="schema"),
    path("docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("", include(router.urls)),
]

# They register themselves when they are imported; named here so that nobody takes the imports for unused.
SCHEMA_EXTENSIONS = (openapi.ApiKeyScheme, schema.ActionSchema, schema.EventFieldSchema)
