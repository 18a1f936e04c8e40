from __future__ import annotations

from django.urls import path, re_path

from automations import views
from automations.health import views as health

urlpatterns = [
    path("inbox/<str:token>/", views.receive, name="inbox-receive"),
    path("inboxes/", views.inboxes, name="inboxes"),
    path("inboxes/<int:pk>/", views.inbox, name="inbox"),
    path("status/", health.status, name="status"),
    # Programs ask for these, and follow no redirect to the other spelling.
    re_path("^healthz/?$", health.healthz, name="healthz"),
    re_path("^metrics/?$", health.metrics, name="metrics"),
]
