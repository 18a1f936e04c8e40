"""The Celery application: it carries ids of rows that are waiting, never the only copy of anything."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("tripline")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
