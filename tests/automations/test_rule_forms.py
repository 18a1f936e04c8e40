"""The form of a rule: what it shows and reads, for every type of event and action."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils.datastructures import MultiValueDict

from automations.events.base import EVENTS
from automations.models import Automation
from automations.ruleforms.rule import RuleForm, Start
from automations.services.rules import ActionDraft, check_event
from runs.models import User
from tests import cast
from tests.cast import Cast

pytestmark = pytest.mark.django_db

# For every type what it requires, and options that are none of the defaults.
CONFIGS: dict[str, dict[str, Any]] = {
    "version_added": {"alias": "^best$"},
    "version_linked": {},
    "version_unlinked": {"alias": "prod"},
    "alias_added": {"alias": "^europe.*"},
    "alias_removed": {"alias": "latest"},
    "tag_added": {"tag": "^本番$"},
    "tag_removed": {"tag": "a b"},
    "collection_created": {"name": "^fish"},
    "collection_tag_added": {"tag": "x"},
    "collection_tag_removed": {"tag": "x"},
    "run_status": {"statuses": ["running", "failed"], "user": "ada", "run_name": "^exp-"},
    "run_metric_threshold": {
        "metric": "val/loss",
        "aggregation": "max",
        "window": 7,
        "comparison": "not_equal",
        "threshold": -1e-300,
        "warmup": 3,
        "hold": 2,
        "source": "history",
    },
    "run_metric_change": {
        "metric": "loss ",
        "window": 3,
        "prior_window": 4,
        "direction": "any",
        "change_type": "absolute",
        "threshold": 0.1,
    },
    "run_metric_zscore": {"metric": "loss", "baseline": "values", "direction": "either", "threshold": 2.5},
    "run_metric_nonfinite": {"metric": None, "source": "system"},
}


def test_every_type_of_event_is_told_here() -> None:
    assert {event_type.key for event_type in EVENTS} == set(CONFIGS)


def posted(form: RuleForm) -> MultiValueDict[str, Any]:
    """What a browser sends of the form as it is shown: everything, once."""
    data: MultiValueDict[str, Any] = MultiValueDict()
    parts = [form.basics, form.event, form.place]
    parts += [form.limits] if form.is_limited else []
    typed = [form.condition_form] if form.condition_form else []
    for row in form.actions.rows:
        data.appendlist("action", row.key)
        parts.append(row.head)
        typed += [row.typed] if row.typed else []
    for each in typed:
        parts.append(each.form)
        data[each.shown_name] = each.entry.key
    for part in parts:
        for bound in part:
            _send(data, bound)
    return data


def _send(data: MultiValueDict[str, Any], bound: Any) -> None:
    value = bound.value()
    if value is False:
        return  # an empty box is not sent
    for item in value if isinstance(value, list) else ["" if value is None else value]:
        data.appendlist(bound.html_name, str(item))


def described(rule: Automation) -> dict[str, Any]:
    fields = ("name", "description", "mode", "scope_key", "event_type", "config", "period", "per_status")
    actions = [(each.type, each.integration, each.config) for each in rule.actions.order_by("position")]
    return {name: getattr(rule, name) for name in fields} | {"actions": actions}


@pytest.mark.parametrize("event_type", CONFIGS)
def test_a_rule_that_is_opened_and_saved_again_stays_as_it_is(penguins: Cast, event_type: str) -> None:
    hook = cast.webhook(penguins.team, "https://hooks.example.com/x")
    chat = cast.webhook(penguins.team, "https://hooks.example.com/y", name="chat")
    type(chat).objects.filter(pk=chat.pk).update(type="slack")
    chat.refresh_from_db()
    actions = [
        ActionDraft("webhook", hook, {"payload": {"run": "${event_id}", "本": [1]}, "order": "ordered"}),
        ActionDraft("slack", chat, {"title": "x", "message": "a\nb", "severity": "warn"}),
        ActionDraft("email", None, {"to": ["ada", "max"], "subject": "s"}),
        ActionDraft("noop"),
    ]
    rule = cast.rule(
        penguins.project, event_type, CONFIGS[event_type], period=120, per_status=True, actions=actions
    )
    before = described(rule)
    shown = RuleForm(penguins.max, rule=rule)
    saved = RuleForm(penguins.max, rule=rule, data=posted(shown)).save()
    assert saved is not None
    assert described(Automation.objects.get(pk=rule.pk)) == before


@pytest.mark.parametrize("event_type", CONFIGS)
def test_a_form_that_is_filled_in_makes_the_rule_that_rest_makes(penguins: Cast, event_type: str) -> None:
    start = Start(
        event_type=event_type,
        config=CONFIGS[event_type],
        scope=penguins.project,
        name="made",
        actions=[ActionDraft("noop")],
    )
    form = RuleForm(penguins.max, data=posted(RuleForm(penguins.max, start=start)))
    saved = form.save()
    assert form.problems == {}
    assert saved is not None
    saved.refresh_from_db()
    assert saved.config == check_event(event_type, CONFIGS[event_type])
    assert (saved.scope, saved.created_by) == (penguins.project, penguins.max)


def filled(person: User, scope: Any, event_type: str, **changes: Any) -> RuleForm:
    """A form as it begins for this event, with some fields written into it."""
    start = Start(event_type=event_type, scope=scope, name="made", actions=[ActionDraft("noop")])
    data = posted(RuleForm(person, start=start))
    for name, value in changes.items():
        data[name] = value
    return RuleForm(person, data=data)
