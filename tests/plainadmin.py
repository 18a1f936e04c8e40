"""The settings without django-unfold, and (run as a program) every list and add page under them.

Prints the status by address, as JSON. Its database is in memory.
"""

from __future__ import annotations

import json
import os
import sys

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS as _WITH_UNFOLD

INSTALLED_APPS = [app for app in _WITH_UNFOLD if app != "unfold"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
ALLOWED_HOSTS = ["testserver"]
# The tables as the models are: quicker than one migration after the other.
MIGRATION_MODULES = dict.fromkeys(("runs", "registry", "automations"))


def _opened() -> dict[str, int]:
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.plainadmin"
    django.setup()
    from django.contrib import admin
    from django.core.management import call_command
    from django.test import Client, RequestFactory
    from django.urls import reverse

    from runs.models import User

    call_command("check", tags=["admin"], fail_level="WARNING", stdout=sys.stderr)
    call_command("migrate", run_syncdb=True, verbosity=0)
    root = User.objects.create(username="root", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(root)
    request = RequestFactory().get("/")
    request.user = root
    statuses = {}
    for model, page in admin.site._registry.items():
        assert not any("unfold" in base.__module__ for base in type(page).__mro__), model
        for name in ["changelist", "add"] if page.has_add_permission(request) else ["changelist"]:
            url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}")
            statuses[url] = client.get(url).status_code
    return statuses


if __name__ == "__main__":
    print(json.dumps(_opened()))  # noqa: T201
