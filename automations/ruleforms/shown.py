"""A rule's form together with everything that its templates show beside it."""

from __future__ import annotations

from typing import Any

from automations.actions.base import ACTIONS
from automations.events.base import EVENTS
from automations.presets import PRESETS
from automations.ruleforms import aids, names
from automations.ruleforms.rule import RuleForm
from automations.ruleforms.sending import ActionRow
from runs import access as runs_access
from runs.models import Role


def parts(form: RuleForm) -> dict[str, Any]:
    """The context of `ruleform/sections.html`, which pages and admin share."""
    own: list[Any] = []
    options: list[Any] = []
    context: dict[str, Any] = {}
    if form.condition_form is not None:
        aids.dress_condition(form.condition_form)
        own, options = aids.split(form.condition_form)
        context["options_open"] = aids.options_are_set(form.condition_form)
    team = form.actions.targets.team
    return {
        **context,
        "form": form,
        "own_fields": own,
        "option_fields": options,
        "variables": EVENTS[form.event_type].all_variables() if form.event_type else (),
        "rows": [_row(row, form) for row in form.actions.rows],
        "metric_names": names.metrics(form.person, form.scope) if form.scope and options else (),
        "user_names": names.users(form.scope) if form.scope and options else (),
        "may_integrate": team is not None and runs_access.has_role(form.person, team, Role.ADMIN),
    }


def _row(row: ActionRow, form: RuleForm) -> dict[str, Any]:
    """An action, and what helps to write it."""
    if row.typed is not None:
        aids.dress_content(row.typed)
    templates = ACTIONS[row.type].templates if row.type in ACTIONS else ()
    presets = PRESETS if "payload" in templates and form.event_type else ()
    return {"row": row, "has_templates": bool(templates), "payloads": presets}
