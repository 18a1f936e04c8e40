from __future__ import annotations

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    name = "config"

    def ready(self) -> None:
        # The Celery app must exist before the first task is published, checks before the first start.
        from config import celery, checks  # noqa: F401

        # Adds its card to the home page, where there is an example.
        from config.demo import panel  # noqa: F401
