"""The form of a rule: what it shows and reads, for every type of event and action."""

from __future__ import annotations

from typing import Any

import pytest

from automations.events.base import EVENTS
from automations.models import Automation
from automations.ruleforms.rule import RuleForm
from automations.services.rules import ActionDraft, check_event
from tests import cast
from tests.automations.ruleforms import CONFIGS, posted, written
from tests.cast import Cast

pytestmark = [pytest.mark.django_db, pytest.mark.once]


def test_every_type_of_event_is_told_here() -> None:
    assert {event_type.key for event_type in EVENTS} == set(CONFIGS)


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
    form = RuleForm(penguins.max, data=written(penguins.max, penguins.project, event_type))
    saved = form.save()
    assert form.problems == {}
    assert saved is not None
    saved.refresh_from_db()
    assert saved.config == check_event(event_type, CONFIGS[event_type])
    assert (saved.scope, saved.created_by) == (penguins.project, penguins.max)


# --- Errors stand where they belong ---------------------------------------------------------------

WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    # The event, what is written, the field of the error, and a part of what is said.
    ("alias_added", {"condition-alias": ""}, "condition-alias", "required"),
    ("alias_added", {"condition-alias": "a("}, "condition-alias", "RE2 cannot read this pattern: missing )"),
    ("version_added", {"condition-alias": "(?=a)"}, "condition-alias", "RE2 cannot read this pattern"),
    ("run_status", {"condition-statuses": []}, "condition-statuses", "required"),
    ("run_status", {"condition-statuses": ["killed"]}, "condition-statuses", "killed"),
    ("run_metric_threshold", {"condition-metric": ""}, "condition-metric", "required"),
    ("run_metric_threshold", {"condition-threshold": "inf"}, "condition-threshold", "number"),
    ("run_metric_threshold", {"condition-window": "0"}, "condition-window", "greater than or equal to 1"),
    (
        "run_metric_threshold",
        {"condition-window": "10001"},
        "condition-window",
        "less than or equal to 10000",
    ),
    ("run_metric_change", {"condition-threshold": "0"}, "condition-threshold", "greater"),
    ("run_metric_zscore", {"condition-window": "1"}, "condition-window", "greater than or equal to 2"),
    ("run_metric_zscore", {"condition-baseline": "moon"}, "condition-baseline", "moon"),
    ("run_status", {"period": "seconds", "seconds": ""}, "seconds", "how many"),
    ("run_status", {"period": "seconds", "seconds": "-1"}, "period", "A period is 0 to"),
    ("run_status", {"event": ""}, "event", "required"),
    ("run_status", {"event": "moon"}, "event", "moon"),
    ("run_status", {"scope": ""}, "scope", "Choose what the automation watches."),
    ("run_status", {"scope": "project:99999999999999999999"}, "scope", "Choose what"),
    ("run_status", {"name": " "}, "name", "blank"),
    ("run_status", {"name": "x" * 251}, "name", "250"),
    ("run_status", {"mode": "muted"}, "mode", "muted"),
    ("run_status", {"action-0-type": "moon"}, "action-0-type", "moon"),
    ("run_status", {"action-0-type": "webhook"}, "action-0-content-shown", "required"),
    (
        "run_status",
        {"action-0-type": "webhook", "action-0-content-shown": "webhook"},
        "action-0-integration",
        "Choose an integration of type “webhook”.",
    ),
]


@pytest.mark.parametrize(("event_type", "changes", "field", "said"), WRONG)
def test_what_is_wrong_is_said_at_its_field_and_nothing_is_saved(
    penguins: Cast, event_type: str, changes: dict[str, Any], field: str, said: str
) -> None:
    right = RuleForm(penguins.max, data=written(penguins.max, penguins.project, event_type))
    assert right.is_valid(), right.problems
    form = RuleForm(penguins.max, data=written(penguins.max, penguins.project, event_type, changes))
    assert form.save() is None
    assert any(said in text for text in form.problems[field]), form.problems
    assert not Automation.objects.exists()


def test_everything_that_is_wrong_is_said_at_once(penguins: Cast) -> None:
    changes = {
        "name": "",
        "scope": "",
        "condition-metric": "",
        "condition-run_name": "(",
        "action-0-type": "email",
        "action-0-content-shown": "email",
        "action-0-content-to": "otto\nada",
        "action-0-content-subject": "${run_nam}",
    }
    form = RuleForm(penguins.max, data=written(penguins.max, penguins.project, "run_metric_zscore", changes))
    assert form.save() is None
    assert set(form.problems) == {
        "name",
        "scope",
        "condition-metric",
        "condition-run_name",
        "action-0-content-subject",
    }
    assert form.problems["action-0-content-subject"] == [
        "$: unknown variable ${run_nam}; did you mean ${run_name}?"
    ]


def test_who_gets_an_email_is_asked_once_the_scope_is_known(penguins: Cast) -> None:
    changes = {
        "action-0-type": "email",
        "action-0-content-shown": "email",
        "action-0-content-to": "otto, ada",
    }
    form = RuleForm(penguins.max, data=written(penguins.max, penguins.project, "run_status", changes))
    assert form.save() is None
    assert form.problems == {"action-0-content-to": ["“otto” is no member of the team with an address."]}


def test_a_name_that_is_taken_is_said_at_the_name(penguins: Cast) -> None:
    data = written(penguins.max, penguins.project, "run_status")
    assert RuleForm(penguins.max, data=data).save() is not None
    again = RuleForm(penguins.max, data=data)
    assert again.save() is None
    assert "exists already" in again.basics.errors["name"][0]
    assert Automation.objects.count() == 1
