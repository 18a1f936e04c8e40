"""A rule that is not saved, and the span of runs to try it on; as JSON for who works on it elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Model
from django.utils.translation import gettext as _

from automations.models import Automation, ScopeType
from automations.services.rules import check_automation
from registry.models import Collection, Registry
from runs.models import Organization, Project, Team

DAYS, DAYS_MAX = 30, 3650
RUNS, RUNS_MAX = 1000, 5000

_SCOPES: dict[str, type[Model]] = {
    ScopeType.PROJECT: Project,
    ScopeType.TEAM: Team,
    ScopeType.ORGANIZATION: Organization,
    ScopeType.REGISTRY: Registry,
    ScopeType.COLLECTION: Collection,
}


@dataclass(frozen=True, slots=True)
class Draft:
    """`automation` is checked (`check_automation`); of the runs created since then, the newest `limit`."""

    automation: Automation
    since: datetime
    limit: int

    def as_json(self) -> dict[str, Any]:
        automation = self.automation
        return {
            "scope": {"type": automation.scope_type, "id": automation.scope.pk},
            "event_type": automation.event_type,
            "config": automation.config,
            "period": automation.period,
            "per_status": automation.per_status,
            "since": self.since.isoformat(),
            "limit": self.limit,
        }

    @classmethod
    def restored(cls, written: dict[str, Any]) -> Draft:
        """Raises `ValidationError` when it can be tried no longer: its scope is gone, say."""
        place = written["scope"]
        scope: Any = _SCOPES[place["type"]]._default_manager.filter(pk=place["id"]).first()
        if scope is None:
            raise ValidationError({"scope": _("The scope does not exist any more.")})
        names = ("event_type", "config", "period", "per_status")
        automation = Automation(**{name: written[name] for name in names})
        check_automation(automation, scope=scope)
        return cls(automation, datetime.fromisoformat(written["since"]), written["limit"])
