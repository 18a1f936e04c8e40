"""Automations in the admin: every write is the service's, once, and bad input an error at its field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from automations.models import Action, Automation, Execution, Mode
from runs.models import Role, RunStatus, User
from runs.services import people
from runs.services.runs import set_status
from tests.adminpages import Pages, errors, notes, text
from tests.cast import Cast, collection, decide, new_run, registry, rule, sends, webhook


@pytest.fixture
def ada(penguins: Cast) -> Pages:
    """Ada, admin of the penguins and one of the staff."""
    penguins.ada.is_staff = True
    penguins.ada.save()
    return Pages(penguins.ada)


@pytest.fixture
def root(penguins: Cast) -> Pages:
    return Pages(User.objects.create(username="root", is_staff=True, is_superuser=True))


def draft(penguins: Cast, **changes: Any) -> dict[str, Any]:
    """The fields of a good rule."""
    return {
        "name": "it failed",
        "scope_type": "project",
        "project": penguins.project.pk,
        "event_type": "run_status",
        "config": '{"statuses": ["failed"]}',
        "actions-0-type": "noop",
        **changes,
    }


def epochs(penguins: Cast) -> int:
    penguins.project.refresh_from_db()
    return penguins.project.rules_epoch


def test_a_rule_and_its_actions_are_saved_in_one_call(penguins: Cast, ada: Pages) -> None:
    hook = webhook(penguins.team, "https://example.com/hook")
    payload = {"payload": {"text": "${run_name}"}}
    action = {
        "actions-0-type": "webhook",
        "actions-0-integration": hook.pk,
        "actions-0-config": json.dumps(payload),
    }
    before = epochs(penguins)
    assert ada.save(ada.add_url(Automation), **draft(penguins, **action)).status_code == 302
    made = Automation.objects.get()
    assert (made.scope, made.created_by, made.mode) == (penguins.project, penguins.ada, Mode.ACTIVE)
    assert made.config == {"statuses": ["failed"], "user": None, "run_name": None}
    assert made.scope_key == f"project:{penguins.project.pk}"
    assert [(row.integration, row.config) for row in made.actions.all()] == [
        (hook, {**payload, "order": "any"})
    ]
    assert epochs(penguins) == before + 1


def test_a_rule_saved_unchanged_stays_as_it_is(penguins: Cast, ada: Pages) -> None:
    hook = webhook(penguins.team, "https://example.com/hook")
    made = rule(penguins.project, "run_status", {"statuses": ["failed"]}, actions=sends(hook, {"a": 1}))
    before = (epochs(penguins), made.armed_at, Action.objects.get().pk)
    assert ada.save(ada.change_url(made)).status_code == 302
    made.refresh_from_db()
    assert (epochs(penguins), made.armed_at, Action.objects.get().pk) == before
    ada.save(ada.change_url(made), description="said")
    made.refresh_from_db()
    assert made.description == "said"
    assert (made.armed_at, Action.objects.get().pk) == before[1:]


def test_actions_are_added_changed_and_taken_away_on_the_page(penguins: Cast, ada: Pages) -> None:
    made = rule(penguins.project, "run_status", {"statuses": ["failed"]})
    hook = webhook(penguins.team, "https://example.com/hook")
    url = ada.change_url(made)
    added = ada.save_row(
        url, "actions", type="webhook", integration=hook.pk, config='{"payload": {"a": "b"}}'
    )
    assert added.status_code == 302
    assert [row.type for row in made.actions.all()] == ["noop", "webhook"]
    ada.save(url, **{"actions-1-config": '{"payload": {"a": "c"}}'})
    assert [row.config for row in made.actions.all()] == [{}, {"payload": {"a": "c"}, "order": "any"}]
    ada.save(url, **{"actions-0-DELETE": "on"})
    assert [(row.type, row.position) for row in made.actions.all()] == [("webhook", 0)]


def test_a_rule_moves_to_another_scope(penguins: Cast, ada: Pages) -> None:
    made = rule(penguins.project, "run_status", {"statuses": ["failed"]})
    assert ada.save(ada.change_url(made), scope_type="team", team=penguins.team.pk).status_code == 302
    made.refresh_from_db()
    assert (made.scope, made.project, made.scope_key) == (penguins.team, None, f"team:{penguins.team.pk}")


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"config": "{}"}, "config", "statuses"),
        ({"config": '{"statuses": ["failed"], "colour": 1}'}, "config", "colour: Unknown"),
        ({"config": '{"statuses": ["failed"], "run_name": "(?=a)"}'}, "config", "RE2"),
        ({"config": '{"statuses": ["failed"], "run_name": "a\\u0000"}'}, "config", "NUL"),
        ({"config": '{"statuses": ["failed"], "run_name": "\\ud800"}'}, "config", "surrogate"),
        ({"config": '{"statuses": 7}'}, "config", "array"),
        ({"config": "[]"}, "config", "object"),
        ({"config": "{"}, "config", "JSON"),
        ({"config": "[" * 9999}, "config", "JSON"),
        ({"config": "1" * 5000}, "config", "JSON"),
        ({"config": '{"a":' * 80 + "1" + "}" * 80}, "config", "deeper"),
        ({"event_type": "nonsense"}, "event_type", "nonsense"),
        ({"event_type": "run_metric_threshold"}, "config", "metric"),
        (
            {
                "event_type": "run_metric_threshold",
                "config": '{"metric": "loss", "comparison": "above", "threshold": NaN}',
            },
            "config",
            "NaN",
        ),
        (
            {
                "event_type": "run_metric_threshold",
                "config": '{"metric": "loss", "comparison": "above", "threshold": 1e999}',
            },
            "config",
            "NaN and infinities",
        ),
        (
            {
                "event_type": "run_metric_threshold",
                "config": f'{{"metric": "loss", "comparison": "above", "threshold": {10**400}}}',
            },
            "config",
            "threshold",
        ),
        ({"name": "a\x00b"}, "name", "Null"),
        ({"name": " "}, "name", "required"),
        ({"period": "-1"}, "period", "negative"),
        ({"period": str(2**70)}, "period", "less than"),
        ({"period": "often"}, "period", "whole number"),
        ({"mode": "loud"}, "mode", "loud"),
        ({"mode": "muted", "muted_until_0": "soon"}, "muted_until", "valid date"),
        ({"scope_type": "galaxy"}, "scope_type", "galaxy"),
        ({"scope_type": "team"}, "team", "Choose"),
        ({"project": "9" * 30}, "project", "valid choice"),
        ({"project": ""}, "project", "Choose"),
        ({"actions-0-type": "pigeon"}, "actions-0-type", "pigeon"),
        ({"actions-0-type": "webhook"}, "actions-0-integration", "Choose"),
        (
            {"actions-0-type": "webhook", "actions-0-integration": "77"},
            "actions-0-integration",
            "valid choice",
        ),
        ({"actions-0-config": '{"payload": {}}'}, "actions-0-config", "payload: Unknown"),
        ({"actions-0-config": '{"a": "\\u0000"}'}, "actions-0-config", "NUL"),
    ],
)
def test_bad_input_is_an_error_at_its_field(
    penguins: Cast, ada: Pages, changes: dict[str, str], field: str, said: str
) -> None:
    found = errors(ada.save(ada.add_url(Automation), **draft(penguins, **changes)))
    assert said in str(found.get(field)), found
    assert not Automation.objects.exists()


def test_a_payload_that_names_an_unknown_variable_is_an_error_at_its_action(
    penguins: Cast, ada: Pages
) -> None:
    hook = webhook(penguins.team, "https://example.com/hook")
    action = {"actions-0-type": "webhook", "actions-0-integration": hook.pk}
    wrong = draft(penguins, **action, **{"actions-0-config": '{"payload": {"text": "${run_nam}"}}'})
    found = errors(ada.save(ada.add_url(Automation), **wrong))
    assert "run_name" in found["actions-0-config"][0]


def test_a_name_that_its_scope_has_and_an_event_that_it_cannot_watch(penguins: Cast, ada: Pages) -> None:
    rule(penguins.project, "run_status", {"statuses": ["failed"]}, name="it failed")
    found = errors(ada.save(ada.add_url(Automation), **draft(penguins)))
    assert "exists already" in found["name"][0]
    fish = collection(penguins.project)
    elsewhere = draft(penguins, scope_type="collection", collection=fish.pk)
    found = errors(ada.save(ada.add_url(Automation), **elsewhere))
    assert "cannot be watched" in found["scope_type"][0]
    assert Automation.objects.count() == 1
    assert Action.objects.count() == 1


def test_a_rule_sends_to_its_own_teams_integrations(penguins: Cast, ada: Pages) -> None:
    people.set_member(penguins.otters, penguins.ada, role=Role.ADMIN)
    theirs = webhook(penguins.otters, "https://example.com/hook")
    action = {"actions-0-type": "webhook", "actions-0-integration": theirs.pk}
    found = errors(ada.save(ada.add_url(Automation), **draft(penguins, **action)))
    assert "penguins" in found["__all__"][0]
    assert not Automation.objects.exists()


def test_a_scope_takes_the_role_that_it_takes(penguins: Cast, ada: Pages, root: Pages) -> None:
    organization = {"scope_type": "organization", "organization": penguins.organization.pk, "project": ""}
    found = errors(ada.save(ada.add_url(Automation), **draft(penguins, **organization)))
    assert "superusers" in found["organization"][0]
    open_to_all = registry(owner=penguins.otto)
    artifact = {"event_type": "alias_added", "config": '{"alias": "."}', "project": ""}
    there = draft(penguins, **artifact, scope_type="registry", registry=open_to_all.pk)
    assert "Member" in errors(ada.save(ada.add_url(Automation), **there))["registry"][0]
    people.set_member(penguins.otters, penguins.ada, role=Role.VIEWER)
    there = draft(penguins, scope_type="team", team=penguins.otters.pk)
    assert "Member" in errors(ada.save(ada.add_url(Automation), **there))["team"][0]
    assert root.save(root.add_url(Automation), **draft(penguins, **organization)).status_code == 302
    of_all = Automation.objects.get()
    assert ada.client.get(ada.change_url(of_all)).status_code == 200
    assert ada.client.post(ada.change_url(of_all), draft(penguins)).status_code == 403


def test_rules_are_enabled_and_disabled_in_bulk(penguins: Cast, ada: Pages) -> None:
    on = rule(penguins.project, "run_status", {"statuses": ["failed"]})
    off = rule(penguins.project, "run_status", {"statuses": ["failed"]}, mode=Mode.DISABLED)
    before = epochs(penguins)
    assert "1 automation changed" in notes(ada.act(Automation, "disable", [on, off]))
    assert epochs(penguins) == before + 1
    armed = off.armed_at
    assert "2 automations changed" in notes(ada.act(Automation, "enable", [on, off]))
    off.refresh_from_db()
    assert (off.mode, off.armed_at > armed) == (Mode.ACTIVE, True)


def test_a_deleted_rule_leaves_its_executions(penguins: Cast, ada: Pages) -> None:
    kept, gone = (rule(penguins.project, "run_status", {"statuses": ["failed"]}) for _i in range(2))
    set_status(new_run(penguins.project), RunStatus.FAILED, actor=None)
    decide()
    assert Execution.objects.count() == 2
    before = epochs(penguins)
    ada.delete(gone)
    assert epochs(penguins) == before + 1
    ada.act(Automation, "delete_selected", [kept])
    assert not Automation.objects.exists()
    assert set(Execution.objects.values_list("automation", flat=True)) == {None}
    assert "rule 2" in text(ada.open_list(Execution))
