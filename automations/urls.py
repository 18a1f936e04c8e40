from __future__ import annotations

from django.urls import path

from automations import views

urlpatterns = [
    path("inbox/<str:token>/", views.receive, name="inbox-receive"),
    path("inboxes/", views.inboxes, name="inboxes"),
    path("inboxes/<int:pk>/", views.inbox, name="inbox"),
]
