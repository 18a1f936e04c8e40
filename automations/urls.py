from __future__ import annotations

from django.urls import path, re_path

from automations.health import views as health
from automations.views import fields, history, inboxes, preview, rules, why, writing
from runs import paths  # noqa: F401  (makes <team:…> known)

urlpatterns = [
    path("inbox/<str:token>/", inboxes.receive, name="inbox-receive"),
    path("inboxes/", inboxes.inboxes, name="inboxes"),
    path("inboxes/<int:pk>/", inboxes.inbox, name="inbox"),
    path("automations/", rules.everything, name="automations"),
    path("automations/new/", writing.new, name="automation-new"),
    path("automations/<int:pk>/edit/", writing.edit, name="automation-edit"),
    path("automations/preview/", preview.try_rule, name="automation-preview"),
    path("automations/preview/run/", preview.draw_run, name="automation-preview-run"),
    path("automations/preview/<int:pk>/", preview.job, name="automation-preview-job"),
    path("automations/preview/<int:pk>/cancel/", preview.cancel, name="automation-preview-cancel"),
    path("automations/matches/", fields.matches, name="automation-matches"),
    path("automations/advice/", fields.advice, name="automation-advice"),
    path("automations/example/", fields.example, name="automation-example"),
    path("automations/<int:pk>/", rules.automation, name="automation"),
    path("automations/<int:pk>/mode/", rules.change_mode, name="automation-mode"),
    path("automations/<int:pk>/why/", why.why, name="automation-why"),
    path("automations/<int:pk>/test/", rules.fire_test, name="automation-test"),
    path("executions/", history.everything, name="executions"),
    path("executions/<int:pk>/", history.execution, name="execution"),
    path("executions/<int:pk>/redeliver/", history.redeliver, name="execution-redeliver"),
    path("registries/<str:registry>/automations/", rules.of_registry, name="registry-automations"),
    path("registries/<str:registry>/automations/history/", history.of_registry, name="registry-history"),
    path("<team:team_name>/<str:project_name>/automations/", rules.of_project, name="project-automations"),
    path(
        "<team:team_name>/<str:project_name>/automations/history/", history.of_project, name="project-history"
    ),
    path("status/", health.status, name="status"),
    # Programs ask for these, and follow no redirect to the other spelling.
    re_path("^healthz/?$", health.healthz, name="healthz"),
    re_path("^metrics/?$", health.metrics, name="metrics"),
]
