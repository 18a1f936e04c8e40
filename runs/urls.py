from __future__ import annotations

from django.urls import path

from runs import views

urlpatterns = [
    path("", views.home, name="home"),
    path("tripline.py", views.client, name="client"),
]
