"""What the form of a rule offers and takes: places and integrations, for whom."""

from __future__ import annotations

from typing import Any

import pytest

from automations.events.base import EVENTS
from automations.models import Automation, Integration
from automations.ruleforms.places import OFFERED, key_of
from automations.ruleforms.rule import RuleForm, Start
from automations.services.rules import ActionDraft
from runs.models import Project, Role
from runs.services import people
from runs.services.projects import create_project
from tests import cast
from tests.api.house import superuser
from tests.automations.ruleforms import CONFIGS, posted, to_webhook, written
from tests.cast import Cast

pytestmark = pytest.mark.django_db


# --- Who may write where --------------------------------------------------------------------------


def offered(form: RuleForm) -> set[str]:
    widget: Any = form.place.fields["scope"].widget
    groups = [choices for _label, choices in widget.choices if isinstance(choices, list)]
    return {key for choices in groups for key, _name in choices}


def places(penguins: Cast) -> dict[str, Any]:
    """One of every kind of place, for the penguins; and of the otters."""
    shelf = cast.registry("penguin models", owner=penguins.max)
    den = create_project(penguins.otters, "dive")
    return {
        "ours": [
            penguins.project,
            penguins.team,
            shelf,
            cast.collection(penguins.project, "fish"),
            cast.collection(shelf, "linked"),
        ],
        "theirs": [
            den,
            penguins.otters,
            cast.registry("otter models", owner=penguins.otto),
            cast.collection(den, "shells"),
        ],
    }


def test_only_places_where_one_may_write_are_offered_and_accepted(penguins: Cast) -> None:
    """What one sees and may not change, such as another's open registry, is neither."""
    known = places(penguins)
    start = Start(event_type="version_added")
    assert offered(RuleForm(penguins.max, start=start)) == {key_of(place) for place in known["ours"]}
    assert offered(RuleForm(penguins.vera, start=start)) == set()
    for person, refused in ((penguins.max, known["theirs"]), (penguins.vera, known["ours"])):
        for place in [*refused, penguins.organization]:
            data = written(penguins.max, penguins.project, "version_added", {"scope": key_of(place)})
            form = RuleForm(person, data=data)
            assert form.save() is None
            assert form.problems["scope"] == ["Choose what the automation watches."]
    assert not Automation.objects.exists()


@pytest.mark.parametrize("event_type", CONFIGS)
def test_only_places_that_the_event_can_happen_in_are_offered(penguins: Cast, event_type: str) -> None:
    places(penguins)
    root = superuser()
    kinds = {key.partition(":")[0] for key in offered(RuleForm(root, start=Start(event_type=event_type)))}
    assert kinds == EVENTS[event_type].scopes


@pytest.mark.parametrize("event_type", ["run_status", "run_metric_threshold", "run_metric_nonfinite"])
def test_an_event_of_runs_is_refused_in_a_registry(penguins: Cast, event_type: str) -> None:
    shelf = cast.registry(owner=penguins.max)
    data = written(penguins.max, penguins.project, event_type, {"scope": key_of(shelf)})
    form = RuleForm(penguins.max, data=data)
    assert form.save() is None
    assert "cannot be watched in a Registry" in form.place.errors["scope"][0]


def test_of_very_many_places_some_are_offered_and_each_can_be_found_and_chosen(penguins: Cast) -> None:
    rows = [Project(team=penguins.team, name=f"project-{number:03}") for number in range(OFFERED + 30)]
    made = Project.objects.bulk_create(rows)
    form = RuleForm(penguins.max, start=Start(event_type="run_status", scope=made[0]))
    assert form.place.is_long
    assert key_of(made[0]) in offered(form)
    assert len(offered(form)) <= OFFERED + 2  # the team, and what is chosen
    data = written(penguins.max, made[0], "run_status", {"find": "project-007"})
    assert offered(RuleForm(penguins.max, data=data, checked=False)) == {key_of(made[7]), key_of(made[0])}
    saved = RuleForm(penguins.max, data=data).save()
    assert saved is not None
    assert saved.scope == made[0]


# --- Where it sends -------------------------------------------------------------------------------


def test_integrations_of_other_teams_are_neither_offered_nor_accepted(penguins: Cast) -> None:
    ours = cast.webhook(penguins.team, "https://hooks.example.com/x", name="ours")
    theirs = cast.webhook(penguins.otters, "https://hooks.example.com/y", name="theirs")
    start = Start(event_type="run_status", scope=penguins.project, actions=[ActionDraft("webhook")])
    shown = RuleForm(penguins.max, start=start)
    widget: Any = shown.actions.rows[0].head.fields["integration"].widget
    assert [key for key, _label in widget.choices] == ["", str(ours.pk)]
    for integration, is_taken in ((ours, True), (theirs, False)):
        data = written(penguins.max, penguins.project, "run_status", to_webhook(integration))
        form = RuleForm(penguins.max, data=data)
        assert (form.save() is not None) is is_taken
    assert form.problems == {"action-0-integration": ["Choose an integration of type “webhook”."]}


def test_of_very_many_integrations_each_can_be_found_and_chosen(penguins: Cast) -> None:
    first = cast.webhook(penguins.team, "https://hooks.example.com/x", name="hook 000")
    Integration.objects.bulk_create(
        Integration(
            team=penguins.team, type="webhook", name=f"hook {number:03}", url_ciphertext=first.url_ciphertext
        )
        for number in range(1, 250)
    )
    last = Integration.objects.get(name="hook 249")
    data = written(penguins.max, penguins.project, "run_status", to_webhook(last))
    row = RuleForm(penguins.max, data=data, checked=False).actions.rows[0]
    widget: Any = row.head.fields["integration"].widget
    assert row.is_long
    assert len(list(widget.choices)) == 102  # none, a hundred, and the chosen one
    data["action-0-find"] = "k 24"
    widget = (
        RuleForm(penguins.max, data=data, checked=False).actions.rows[0].head.fields["integration"].widget
    )
    assert [label for _key, label in widget.choices][1:] == [f"hook {number}" for number in range(240, 250)]
    saved = RuleForm(penguins.max, data=data).save()
    assert saved is not None
    assert saved.actions.get().integration == last


def test_one_of_another_of_ones_own_teams_is_refused_by_name_of_the_right_team(penguins: Cast) -> None:
    people.set_member(penguins.otters, penguins.max, role=Role.MEMBER)
    theirs = cast.webhook(penguins.otters, "https://hooks.example.com/y")
    data = written(penguins.max, penguins.project, "run_status", to_webhook(theirs))
    form = RuleForm(penguins.max, data=data)
    assert form.save() is None
    assert form.problems == {"action-0-integration": ["Choose an integration of team penguins."]}


def test_what_a_rule_sends_for_another_team_may_stay_but_not_be_rewritten(penguins: Cast) -> None:
    """In a shared registry: Otto's message to his team. Max may change the rule, not what is said there."""
    shelf = cast.registry(owner=penguins.max)
    theirs = cast.webhook(penguins.otters, "https://hooks.example.com/y", name="secret place")
    rule = cast.rule(shelf, "version_linked", {}, actions=cast.sends(theirs, {"text": "hi"}))
    shown = RuleForm(penguins.max, rule=rule)
    assert "secret place" not in str(shown.actions.rows[0].head)
    data = posted(shown)
    data["condition-alias"] = "^prod"
    assert RuleForm(penguins.max, rule=rule, data=data).save() is not None
    rule.refresh_from_db()
    assert rule.config["alias"] == "^prod"
    data["action-0-content-payload"] = '{"text": "from max"}'
    refused = RuleForm(penguins.max, rule=rule, data=data)
    assert refused.save() is None
    assert "Member" in refused.problems["action-0-integration"][0]
    assert rule.actions.get().config["payload"] == {"text": "hi"}
