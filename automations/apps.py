from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AutomationsConfig(AppConfig):
    name = "automations"
    verbose_name = _("Automations")

    def ready(self) -> None:
        from automations import actions, events, marks, panels, signals  # noqa: F401  (two add to pages)
        from automations.catalog import import_all

        import_all(events)
        import_all(actions)
        signals.connect()
