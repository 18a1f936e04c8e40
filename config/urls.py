from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView, PasswordChangeView
from django.urls import include, path

import automations.urls
import registry.urls
import runs.urls

admin.site.site_header = admin.site.site_title = "Tripline"

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/v1/", include("config.api")),
    path("accounts/login/", LoginView.as_view(template_name="login.html"), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path(
        "accounts/password/",
        PasswordChangeView.as_view(template_name="password.html", success_url="/profile/"),
        name="password",
    ),
    path("", include(automations.urls)),
    path("", include(registry.urls)),
    path("", include(runs.urls)),
]
