"""The Celery application: it carries ids of rows that are waiting, never the only copy of anything."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any

from celery import Celery
from celery.fixups.django import DjangoFixup, DjangoWorkerFixup
from django.db import close_old_connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")


class _WorkerFixup(DjangoWorkerFixup):
    """Celery's own closes the database connections around every task; kept, they last as requests' do."""

    def close_database(self, **_signal: Any) -> None:
        close_old_connections()


class _Fixup(DjangoFixup):
    @cached_property
    def worker_fixup(self) -> DjangoWorkerFixup:
        return _WorkerFixup(self.app)


def _fixup(app: Celery) -> DjangoFixup:
    return _Fixup(app).install()


app = Celery("tripline", fixups=[_fixup])
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
