"""What a message can say about one firing, in the language and the time zone of the team that gets it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.utils import formats, translation
from django.utils.translation import gettext as _

from automations.actions.base import Occasion
from automations.events.base import EVENTS
from automations.models import Action, Event, Execution
from runs.models import Team


def occasion_of(execution: Execution, event: Event, action: Action) -> Occasion:
    """Everything an action may say. Call it with the team's language active (`speaking_to`)."""
    team = team_of(event, action)
    values = template_values(execution, event)
    return Occasion(
        values=values,
        why=EVENTS[execution.event_type].explain(execution.explanation),
        facts=_facts(values, event.received_at, team),
        mark=test_mark() if execution.is_test else "",
        audience=audience_of(event, team),
        link=str(values.get("run_url") or values.get("artifact_url") or ""),
    )


def test_mark() -> str:
    """What the title of a test begins with."""
    return _("[Test]") + " "


def speaking_to(team: Team | None) -> Any:
    """A context in which texts are in the team's language."""
    return translation.override(team.language if team else "en")


def team_of(event: Event, action: Action) -> Team | None:
    """Who gets the message: the integration's team, or the one where it happened."""
    return action.integration.team if action.integration else event.team


def audience_of(event: Event, team: Team | None) -> str:
    """Whose members may get a message about the event (`Occasion.audience`)."""
    if team is not None:
        return f"team:{team.pk}"
    return f"registry:{event.registry_id}" if event.registry_id else ""


def template_values(execution: Execution, event: Event) -> Mapping[str, Any]:
    """The value of every template variable; a variable that does not apply has none."""
    return {
        **event.data,
        "automation_name": execution.automation_name,
        "event_type": execution.event_type,
        "event_id": event.pk,
        "sequence": event.sequence,
    }


def _facts(values: Mapping[str, Any], moment: datetime, team: Team | None) -> list[tuple[str, str]]:
    """Labelled facts, the most telling first; what does not apply is left out."""
    project, registry = values.get("project_name"), values.get("registry_name")
    version = values.get("artifact_version")
    found = [
        (_("Project"), f"{values.get('team_name')}/{project}" if project else ""),
        (_("Registry"), registry),
        (_("Run"), values.get("run_name")),
        (_("Status"), values.get("run_status")),
        (_("Metric"), _metric(values)),
        (_("Version"), version),
        (_("Collection"), "" if version else values.get("artifact_collection_name")),
        (_("Alias"), values.get("alias")),
        (_("Tag"), values.get("tag")),
        (_("By"), values.get("event_author")),
        (_("Time"), _local(moment, team)),
    ]
    return [(label, str(value)) for label, value in found if value]


def _metric(values: Mapping[str, Any]) -> str:
    """`loss = 0.62`, short enough to read; the exact value is the variable's."""
    value = values.get("metric_value")
    if "metric_name" not in values or value is None:
        return ""
    return f"{values['metric_name']} = {format(value, '.12g') if isinstance(value, float) else value}"


def _local(moment: datetime, team: Team | None) -> str:
    zone = team.time_zone if team else "UTC"
    return f"{formats.date_format(moment.astimezone(ZoneInfo(zone)), 'DATETIME_FORMAT')} ({zone})"
