"""Writing a rule: where the form begins, what its buttons change, what may be tried of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import QueryDict

from automations import vault
from automations.events.base import EVENTS
from automations.models import Automation, Inbox, Integration
from automations.presets import PRESETS
from automations.ruleforms import starts
from automations.ruleforms.commands import edited
from automations.ruleforms.rule import RuleForm
from automations.rulepresets import RULE_PRESETS, RulePreset
from automations.services.rules import ActionDraft, check_event
from registry.models import ArtifactChange
from runs.models import User
from tests import cast
from tests.automations.ruleforms import CONFIGS, posted, to_webhook, written
from tests.cast import Cast

pytestmark = [pytest.mark.django_db, pytest.mark.once]


@pytest.mark.parametrize(
    "payload", ["[]", "{", "[" * 100_000, '{"a": NaN}', "1" * 5000, '"x"', '{"a": "\\ud800"}']
)
def test_a_payload_that_is_none_is_refused_and_shown_as_it_was_typed(penguins: Cast, payload: str) -> None:
    hook = cast.webhook(penguins.team, "https://hooks.example.com/x")
    changes = to_webhook(hook, payload)
    form = RuleForm(penguins.max, data=written(penguins.max, penguins.project, "run_status", changes))
    assert form.save() is None
    assert set(form.problems) == {"action-0-content-payload"}
    typed: Any = form.actions.rows[0].typed
    assert typed.form["payload"].value() == payload


# --- While it is written --------------------------------------------------------------------------


def test_what_was_written_stays_when_the_event_is_changed_where_both_know_it(penguins: Cast) -> None:
    changes = {"condition-metric": "val/acc", "condition-threshold": "0.9", "condition-warmup": "7"}
    data = written(penguins.max, penguins.project, "run_metric_threshold", changes)
    data["event"] = "run_metric_zscore"
    form = RuleForm(penguins.max, data=data, checked=False)
    shown: Any = form.condition_form
    values = {name: shown.form[name].value() for name in shown.form.fields}
    assert (values["metric"], values["warmup"]) == ("val/acc", "7")
    # A threshold is no z-score, and the seven of one window are not meant for the other's thirty.
    assert values["threshold"] is None
    assert values["direction"] is None


def test_a_condition_of_another_event_is_never_taken_for_this_ones(penguins: Cast) -> None:
    """Without scripts one may change the event and press save: the new event's fields are asked for."""
    data = written(penguins.max, penguins.project, "run_metric_threshold")
    data["event"] = "run_metric_nonfinite"
    form = RuleForm(penguins.max, data=data)
    assert form.save() is None
    assert list(form.problems) == ["condition-shown"]


def test_the_condition_alone_needs_neither_a_name_nor_actions(penguins: Cast) -> None:
    changes = {"name": "", "action-0-type": "moon"}
    form = RuleForm(penguins.max, data=written(penguins.max, penguins.project, "run_status", changes))
    tried = form.condition()
    assert not Automation.objects.exists()
    assert (tried.scope, tried.event_type, tried.config["statuses"]) == (
        penguins.project,
        "run_status",
        ["running", "failed"],
    )
    with pytest.raises(ValidationError) as refused:
        RuleForm(
            penguins.max,
            data=written(penguins.max, penguins.project, "run_status", {"condition-statuses": []}),
        ).condition()
    assert list(refused.value.message_dict) == ["condition-statuses"]


def test_trying_a_rule_that_is_edited_leaves_it_alone(penguins: Cast) -> None:
    rule = cast.rule(penguins.project, "run_status", {"statuses": ["failed"]})
    data = posted(RuleForm(penguins.max, rule=rule))
    data.setlist("condition-statuses", ["finished"])
    form = RuleForm(penguins.max, rule=rule, data=data)
    assert form.condition().config["statuses"] == ["finished"]
    assert rule.config["statuses"] == ["failed"]


# --- The buttons that save nothing ----------------------------------------------------------------


def pressed(penguins: Cast, data: Any, button: str, person: User | None = None) -> QueryDict:
    posted_data = QueryDict(mutable=True)
    for name, values in data.lists():
        posted_data.setlist(name, values)
    posted_data["do"] = button
    return edited(posted_data, person or penguins.max)


def test_actions_are_added_and_removed(penguins: Cast) -> None:
    data = pressed(penguins, written(penguins.max, penguins.project, "run_status"), "add")
    data = pressed(penguins, data, "add")
    assert data.getlist("action") == ["0", "1", "2"]
    data = pressed(penguins, data, "remove:1")
    assert data.getlist("action") == ["0", "2"]
    saved = RuleForm(penguins.max, data=data)
    assert [row.type for row in saved.actions.rows] == ["noop", "noop"]
    data = pressed(penguins, pressed(penguins, data, "remove:0"), "remove:2")
    rule = RuleForm(penguins.max, data=data).save()
    assert rule is not None
    assert not rule.actions.exists()


@pytest.mark.parametrize("button", ["", "moon", "remove:", "remove:x", "payload:0:moon", "inbox:99", "add:x"])
def test_a_button_that_there_is_not_breaks_nothing(penguins: Cast, button: str) -> None:
    data = written(penguins.max, penguins.team, "run_status")
    RuleForm(penguins.max, data=pressed(penguins, data, button, penguins.ada), checked=False)


def test_more_actions_than_rest_takes_are_refused(penguins: Cast) -> None:
    data = written(penguins.max, penguins.project, "run_status")
    for number in range(1, 30):
        data.appendlist("action", str(number))
        data[f"action-{number}-type"] = "noop"
    form = RuleForm(penguins.max, data=data)
    assert form.save() is None
    assert form.problems == {"action": ["A rule has 20 actions at most."]}


@pytest.mark.parametrize("event_type", CONFIGS)
def test_every_payload_to_start_from_is_one_that_can_be_saved(penguins: Cast, event_type: str) -> None:
    token = cast.secret(penguins.team, "GITLAB_TRIGGER_TOKEN", "x")
    key = cast.secret(penguins.team, "PAGERDUTY_ROUTING_KEY", "x")
    hook = cast.webhook(penguins.team, "https://hooks.example.com/x", access_token=token, signing_secret=key)
    data = written(penguins.max, penguins.project, event_type, to_webhook(hook))
    for preset in PRESETS:
        form = RuleForm(penguins.max, data=pressed(penguins, data, f"payload:0:{preset.key}"))
        assert form.is_valid(), form.problems
        assert form.drafts is not None
        assert form.drafts[0].config["payload"] == preset.payload(EVENTS[event_type])


def test_an_inbox_is_one_click_for_an_admin_of_the_team(penguins: Cast) -> None:
    data = written(penguins.max, penguins.project, "run_status", {"action-0-type": "webhook"})
    with pytest.raises(PermissionDenied):
        pressed(penguins, data, "inbox:0", penguins.max)
    assert not Integration.objects.exists()
    for _time in range(2):
        chosen = pressed(penguins, data, "inbox:0", penguins.ada)["action-0-integration"]
        hook = Integration.objects.get()
        assert chosen == str(hook.pk)
        assert vault.decrypt(hook.url_ciphertext) == Inbox.objects.get(team=penguins.team).url


# --- Where it begins ------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", RULE_PRESETS, ids=lambda preset: preset.key)
def test_a_preset_can_be_saved_as_it_is(penguins: Cast, preset: RulePreset) -> None:
    allowed = starts.events(penguins.project, {})
    begun = starts.start(penguins.project, {"preset": preset.key}, allowed)
    begun = replace(begun, actions=[ActionDraft("noop")])
    saved = RuleForm(penguins.max, data=posted(RuleForm(penguins.max, start=begun))).save()
    assert saved is not None
    assert saved.config == check_event(preset.event_type, preset.event())
    assert saved.name == str(preset.label)


STARTS: list[tuple[dict[str, str], str, dict[str, Any]]] = [
    ({}, "", {}),
    ({"event": "run_status"}, "run_status", {}),
    ({"event": "moon"}, "", {}),
    ({"metric": "val/loss"}, "run_metric_threshold", {"metric": "val/loss"}),
    ({"metric": "cpu", "source": "system"}, "run_metric_threshold", {"metric": "cpu", "source": "system"}),
    ({"metric": "cpu", "source": "moon"}, "run_metric_threshold", {"metric": "cpu"}),
    ({"metric": "loss", "event": "run_metric_change"}, "run_metric_change", {"metric": "loss"}),
    # From a chart there is no status (R19) and no artifact.
    ({"metric": "loss", "event": "run_status"}, "", {}),
    ({"metric": "loss", "event": "alias_added"}, "", {}),
    ({"preset": "failed", "metric": "loss"}, "run_metric_threshold", {"metric": "loss"}),
    ({"preset": "nonfinite", "metric": "val/loss"}, "run_metric_nonfinite", {"metric": "val/loss"}),
]


@pytest.mark.parametrize(("asked", "event_type", "config"), STARTS)
def test_a_form_begins_where_one_comes_from(
    penguins: Cast, asked: dict[str, str], event_type: str, config: dict[str, Any]
) -> None:
    begun = starts.start(penguins.project, asked, starts.events(penguins.project, asked))
    assert (begun.event_type, dict(begun.config), begun.scope) == (event_type, config, penguins.project)


def test_from_a_registry_or_a_collection_only_artifacts_are_offered(penguins: Cast) -> None:
    artifacts = {one.key for one in EVENTS if one.source is ArtifactChange}
    shelf = cast.registry(owner=penguins.max)
    for place in (shelf, cast.collection(shelf), cast.collection(penguins.project)):
        assert set(starts.events(place, {})) == artifacts
    assert set(starts.events(penguins.project, {})) == set(starts.events(None, {})) == set(CONFIGS)
    metrics = {key for key in CONFIGS if key.startswith("run_metric_")}
    assert set(starts.events(penguins.project, {"metric": "loss"})) == metrics
