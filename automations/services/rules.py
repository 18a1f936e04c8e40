"""Write verbs for automations: the one place where a rule is validated, armed and made known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import F
from django.utils.translation import gettext as _

from automations import access
from automations.access import Scope
from automations.actions.base import ACTIONS, ActionType
from automations.events.base import EVENTS
from automations.models import Action, Automation, Integration, Mode, ScopeType
from automations.models.rules import DAY
from registry.models import Collection
from runs import clock
from runs.models import Project, Team
from runs.services.saving import save_named

# A hundred years, in seconds.
LONGEST_PERIOD = 100 * 365 * DAY


@dataclass(slots=True)
class ActionDraft:
    type: str
    integration: Integration | None = None
    config: dict[str, Any] = field(default_factory=dict)


def check_event(event_type: str, config: dict[str, Any]) -> dict[str, Any]:
    """The complete condition. Raises `ValidationError` by field."""
    try:
        found = EVENTS.find(event_type)
    except ValidationError as error:
        raise ValidationError({"type": error.messages}) from error
    return found.config_form.parse(config)


def check_action(draft: ActionDraft, *, scope: Scope | None = None) -> ActionDraft:
    """The complete action. Raises `ValidationError` by field.

    A rule inside one team sends to that team's integrations only; without a scope that is not asked yet.
    """
    try:
        action_type = ACTIONS.find(draft.type)
    except ValidationError as error:
        raise ValidationError({"type": error.messages}) from error
    integration = draft.integration
    if action_type.integration_form is None and integration is not None:
        raise ValidationError({"integration": _("This action needs no integration.")})
    missing = integration is None and action_type.needs_integration
    if action_type.integration_form is not None and (
        missing or (integration is not None and integration.type != action_type.key)
    ):
        raise ValidationError(
            {"integration": _("Choose an integration of type “%(type)s”.") % {"type": action_type.key}}
        )
    team = team_of_scope(scope) if scope else None
    if integration is not None and team is not None and integration.team_id != team.pk:
        raise ValidationError({"integration": _("Choose an integration of team %(team)s.") % {"team": team}})
    config = action_type.config_form.parse(draft.config)
    action_type.check(config, variables(integration, action_type))
    audience = integration.team if integration else scope
    if audience is not None:
        action_type.check_audience(config, access.people(audience))
    return ActionDraft(draft.type, integration, config)


def variables(integration: Integration | None, action_type: ActionType) -> list[str]:
    """Those of every event type: one that does not apply is empty, only an unknown one is refused."""
    names = sorted({name for event_type in EVENTS for name in event_type.all_variables()})
    if integration is not None and action_type.takes_secrets:
        names += [s.name for s in (integration.access_token, integration.signing_secret) if s]
    return names


@transaction.atomic
def save_automation(
    automation: Automation,
    *,
    scope: Scope,
    actions: Sequence[ActionDraft] | None = None,
) -> Automation:
    """Validate and save a rule, with its actions when they are given (they replace the former ones).

    A rule is armed anew when it is created, enabled, or its condition or scope is edited: it sees changes
    accepted since then. Raises `ValidationError` by field (`event`, `actions`), `Conflict` for a name that
    its scope has already.
    """
    before = Automation.objects.filter(pk=automation.pk).first() if automation.pk else None
    check_automation(automation, scope=scope)
    if automation.mode != Mode.MUTED:
        automation.muted_until = None
    if before is None or _rearmed(before, automation):
        automation.armed_at = clock.now()
    save_named(automation)
    if actions is None and before is not None and before.scope_key != automation.scope_key:
        # In another place the same actions may be somebody else's integrations: asked again.
        actions = [ActionDraft(row.type, row.integration, row.config) for row in automation.actions.all()]
    if actions is not None:
        _replace_actions(automation, actions)
    for changed in {row.scope_key: row.scope for row in (before, automation) if row}.values():
        bump_epoch(changed)
    return automation


def check_automation(automation: Automation, *, scope: Scope) -> None:
    """Complete the condition of a rule that need not be saved. Raises `ValidationError` by field."""
    _place(automation, scope)
    automation.config = _checked(automation)
    _check_period(automation.period)
    automation.routing_key = EVENTS[automation.event_type].routing_key(automation.config)


def _place(automation: Automation, scope: models.Model) -> None:
    for scope_type in ScopeType:
        is_this = scope._meta.model_name == scope_type.value
        setattr(automation, scope_type.value, scope if is_this else None)
        if is_this:
            automation.scope_type = scope_type
    automation.scope_key = f"{automation.scope_type}:{scope.pk}"


def _checked(automation: Automation) -> dict[str, Any]:
    try:
        config = check_event(automation.event_type, automation.config)
    except ValidationError as error:
        raise ValidationError({"event": _lines(error)}) from error
    if automation.scope_type not in EVENTS[automation.event_type].scopes:
        raise ValidationError(
            {
                "scope": _("“%(event)s” cannot be watched in a %(scope)s.")
                % {
                    "event": EVENTS[automation.event_type].label,
                    "scope": automation.get_scope_type_display(),
                }
            }
        )
    return config


def _check_period(period: int | None) -> None:
    if period is not None and not 0 <= period <= LONGEST_PERIOD:
        raise ValidationError(
            {
                "period": _("A period is 0 to %(most)d seconds; none at all means once ever per run.")
                % {"most": LONGEST_PERIOD}
            }
        )


def _rearmed(before: Automation, now: Automation) -> bool:
    enabled = before.mode == Mode.DISABLED != now.mode
    watched = ("event_type", "config", "scope_key")
    return enabled or any(getattr(before, name) != getattr(now, name) for name in watched)


def _replace_actions(automation: Automation, drafts: Sequence[ActionDraft]) -> None:
    complete = check_actions(drafts, automation.scope)
    automation.actions.all().delete()
    Action.objects.bulk_create(
        Action(
            automation=automation,
            position=position,
            type=draft.type,
            integration=draft.integration,
            config=draft.config,
        )
        for position, draft in enumerate(complete)
    )


def check_actions(drafts: Sequence[ActionDraft], scope: Scope) -> list[ActionDraft]:
    """Every action complete; what is wrong with any of them is told at once, as of `actions`."""
    complete: list[ActionDraft] = []
    problems: list[str] = []
    for position, draft in enumerate(drafts):
        try:
            complete.append(check_action(draft, scope=scope))
        except ValidationError as error:
            problems += [f"{position}: {line}" for line in _lines(error)]
    if problems:
        raise ValidationError({"actions": problems})
    return complete


def team_of_scope(scope: Scope) -> Team | None:
    """The team that a scope lies in; registries and organizations are shared by many."""
    if isinstance(scope, Team):
        return scope
    project = scope.project if isinstance(scope, Collection) else scope
    return project.team if isinstance(project, Project) else None


def _lines(error: ValidationError) -> list[str]:
    found = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
    return [f"{name}: {text}" if name else text for name, texts in found.items() for text in texts]


@transaction.atomic
def set_mode(automation: Automation, mode: Mode, *, until: datetime | None = None) -> Automation:
    """Enable, disable, shadow or mute a rule; `until` is when a mute ends by itself."""
    automation.mode, automation.muted_until = mode, until
    return save_automation(automation, scope=automation.scope)


@transaction.atomic
def delete_automation(automation: Automation) -> None:
    """Delete the rule; its history stays."""
    scope = automation.scope
    automation.delete()
    bump_epoch(scope)


def bump_epoch(scope: Scope) -> None:
    """Make every cache of this scope's rules stale, in the transaction of the change."""
    if isinstance(scope, Collection):
        return  # rules of collections are looked up, not cached
    type(scope).objects.filter(pk=scope.pk).update(rules_epoch=F("rules_epoch") + 1)
