"""The settings without django-unfold, and (run as a program) every list and add page under them.

A rule is made, opened, changed and fired there too.

Prints the status by address, as JSON. Its database is in memory.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

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
    return statuses | _written(client)


def _written(client: Any) -> dict[str, int]:
    from automations.models import Automation, Execution
    from runs.services.people import create_team
    from runs.services.projects import create_project

    project = create_project(create_team("plain"), "plain")
    add = "/admin/automations/automation/add/"
    fields = {"name": "it failed", "mode": "active", "event": "run_status", "scope": f"project:{project.pk}"}
    fields |= {"condition-shown": "run_status", "condition-statuses": "failed", "period": "86400"}
    fields |= {"action": "0", "action-0-type": "noop", "action-0-content-shown": "noop"}
    found = {
        f"{add} shown": client.post(add, fields | {"do": "show"}).status_code,
        f"{add} saved": client.post(add, fields | {"_continue": "1"}, follow=True).status_code,
    }
    made = Automation.objects.get()
    page = f"/admin/automations/automation/{made.pk}/change/"
    found[page] = client.get(page).status_code
    fired = client.post(page, fields | {"description": "new", "_fire": "1"}, follow=True)
    found[f"{page} fired"] = fired.status_code
    assert b"htmx-2.min.js" in client.get(page).content
    assert Automation.objects.get().description == "new"
    assert Execution.objects.filter(is_test=True).count() == 1
    return found


if __name__ == "__main__":
    print(json.dumps(_opened()))  # noqa: T201
