"""A rule as a person would say it, in the active language."""

from __future__ import annotations

from collections.abc import Collection as Ids, Iterable

from django.utils.translation import gettext as _

from automations.actions.base import ACTIONS
from automations.events.base import EVENTS
from automations.health.words import spoken
from automations.models import Action, Automation
from automations.models.rules import DAY
from registry.models import Collection, Registry
from runs.models import Project, Team


def rule_sentence(automation: Automation, actions: Iterable[Action], seen: Ids[int]) -> str:
    """“When …, in project penguins/waddle: webhook to “hook”. At most once a day per run.”

    `seen`: the integrations whose names the reader may know.
    """
    if automation.event_type not in EVENTS:
        return _("This kind of event is not installed any more.")
    sentence = _("When %(event)s, in %(scope)s: %(actions)s.") % {
        "event": EVENTS[automation.event_type].sentence(automation.config),
        "scope": scope_words(automation),
        "actions": _actions_words(actions, seen),
    }
    return " ".join([sentence, *_limit_words(automation)])


def scope_words(automation: Automation) -> str:
    """What it watches: “project penguins/waddle”."""
    scope = automation.scope
    if isinstance(scope, Project):
        sentence = _("project %(name)s")
    elif isinstance(scope, Registry):
        sentence = _("registry %(name)s")
    elif isinstance(scope, Collection):
        sentence = _("collection %(name)s")
    elif isinstance(scope, Team):
        sentence = _("every project of team %(name)s")
    else:
        sentence = _("everything of the organization %(name)s")
    return sentence % {"name": scope}


def _actions_words(actions: Iterable[Action], seen: Ids[int]) -> str:
    words = [action_words(action, seen) for action in actions]
    return _("; ").join(words) if words else _("nothing is sent, it is only recorded")


def action_words(action: Action, seen: Ids[int]) -> str:
    """“webhook to “hook””; a target that the reader does not see has no name."""
    if action.type not in ACTIONS:
        return action.type
    target = action.integration.name if action.integration and action.integration_id in seen else ""
    return ACTIONS[action.type].sentence(action.config, target)


def _limit_words(automation: Automation) -> Iterable[str]:
    """How often it fires; artifact events are not limited (R52)."""
    if not EVENTS[automation.event_type].limited:
        return
    period = automation.period
    if period is None:
        yield _("At most once ever per run.")
    elif period == DAY:
        yield _("At most once a day per run.")
    elif period:
        yield _("At most once in %(period)s per run.") % {"period": spoken(period)}
    else:
        yield _("Every time.")
    if automation.per_status and period != 0:
        yield _("Each status is counted alone.")
