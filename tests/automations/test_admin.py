"""Automations in the admin: every write is the service's, once, and bad input an error at its field."""

from __future__ import annotations

import html
import json
import re
from datetime import timedelta
from typing import Any

import pytest

from automations.models import Action, Automation, Execution, Mode
from automations.rulepresets import RULE_PRESETS
from runs import clock
from runs.models import Role, RunStatus, User
from runs.services import people
from runs.services.projects import create_project
from runs.services.runs import set_status
from tests.adminpages import Pages, errors, notes, text
from tests.automations.ruleforms import CONFIGS, to_webhook, written
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
        "event": "run_status",
        "scope": f"project:{penguins.project.pk}",
        "condition-shown": "run_status",
        "condition-statuses": ["failed"],
        "period": "86400",
        "action": ["0"],
        "action-0-type": "noop",
        "action-0-content-shown": "noop",
        **changes,
    }


def to_metric(event_type: str = "run_metric_threshold", **fields: Any) -> dict[str, Any]:
    """What the condition of a metric rule needs, with changes."""
    written = {
        "metric": "loss",
        "source": "auto",
        "warmup": "0",
        "hold": "1",
        "aggregation": "none",
        "window": "5",
        "comparison": "above",
        "threshold": "1",
        **fields,
    }
    named = {f"condition-{name}": value for name, value in written.items()}
    return {"event": event_type, "condition-shown": event_type, **named}


def epochs(penguins: Cast) -> int:
    penguins.project.refresh_from_db()
    return penguins.project.rules_epoch


def test_a_rule_and_its_actions_are_saved_in_one_call(penguins: Cast, ada: Pages) -> None:
    hook = webhook(penguins.team, "https://example.com/hook")
    payload = {"payload": {"text": "${run_name}"}}
    before = epochs(penguins)
    fields = draft(penguins, **to_webhook(hook, json.dumps(payload["payload"])))
    assert ada.save(ada.add_url(Automation), **fields).status_code == 302
    made = Automation.objects.get()
    assert (made.scope, made.created_by, made.mode) == (penguins.project, penguins.ada, Mode.ACTIVE)
    assert made.config == {"statuses": ["failed"], "user": None, "run_name": None}
    assert made.scope_key == f"project:{penguins.project.pk}"
    assert [(row.integration, row.config) for row in made.actions.all()] == [
        (hook, {**payload, "order": "any"})
    ]
    assert epochs(penguins) == before + 1


@pytest.mark.parametrize("event_type", CONFIGS)
def test_a_rule_of_every_event_type_is_made_and_opened_again(
    penguins: Cast, ada: Pages, event_type: str
) -> None:
    scope = penguins.project
    fields = written(penguins.ada, scope, event_type, to_webhook(webhook(penguins.team, "https://x.example")))
    answer = ada.client.post(ada.add_url(Automation), dict(fields.lists()))
    assert answer.status_code == 302, errors(answer)
    made = Automation.objects.get()
    assert {name: made.config[name] for name in CONFIGS[event_type]} == CONFIGS[event_type]
    assert (made.event_type, made.scope) == (event_type, scope)
    before = (epochs(penguins), made.armed_at, Action.objects.get().pk)
    assert ada.save(ada.change_url(made)).status_code == 302
    made.refresh_from_db()
    assert (epochs(penguins), made.armed_at, Action.objects.get().pk) == before


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
    assert "Changed description" in text(ada.client.get(ada.history_url(made)))


def test_actions_are_added_changed_and_taken_away_on_the_page(penguins: Cast, ada: Pages) -> None:
    made = rule(penguins.project, "run_status", {"statuses": ["failed"]})
    hook = webhook(penguins.team, "https://example.com/hook")
    url = ada.change_url(made)
    second = {name.replace("-0-", "-1-"): value for name, value in to_webhook(hook, '{"a": "b"}').items()}
    assert ada.save(url, **second, action=["0", "1"]).status_code == 302
    assert [row.type for row in made.actions.all()] == ["noop", "webhook"]
    ada.save(url, **{"action-1-content-payload": '{"a": "c"}'})
    assert [row.config for row in made.actions.all()] == [{}, {"payload": {"a": "c"}, "order": "any"}]
    ada.save(url, action=["1"])
    assert [(row.type, row.position) for row in made.actions.all()] == [("webhook", 0)]


def test_a_rule_moves_to_another_scope(penguins: Cast, ada: Pages) -> None:
    made = rule(penguins.project, "run_status", {"statuses": ["failed"]})
    assert ada.save(ada.change_url(made), scope=f"team:{penguins.team.pk}").status_code == 302
    made.refresh_from_db()
    assert (made.scope, made.project, made.scope_key) == (penguins.team, None, f"team:{penguins.team.pk}")


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"condition-statuses": []}, "condition-statuses", "required"),
        ({"condition-statuses": ["crashed"]}, "condition-statuses", "crashed"),
        ({"condition-run_name": "(?=a)"}, "condition-run_name", "RE2"),
        ({"condition-run_name": "a\x00"}, "condition-run_name", "Null"),
        ({"event": "nonsense"}, "event", "nonsense"),
        ({"event": ""}, "event", "required"),
        (to_metric(metric=""), "condition-metric", "required"),
        (to_metric(threshold="NaN"), "condition-threshold", "number"),
        (to_metric(threshold="1e999"), "condition-threshold", "number"),
        (to_metric(threshold=f"{10**400}"), "condition-threshold", "number"),
        (to_metric(window="0"), "condition-window", "greater"),
        ({"name": "a\x00b"}, "name", "Null"),
        ({"name": " "}, "name", "blank"),
        ({"period": "seconds", "seconds": "-1"}, "period", "0 to"),
        ({"period": "seconds", "seconds": str(2**70)}, "period", "0 to"),
        ({"period": "seconds", "seconds": ""}, "seconds", "how many"),
        ({"period": "often"}, "period", "often"),
        ({"mode": "loud"}, "mode", "loud"),
        ({"scope": "galaxy:1"}, "scope", "Choose"),
        ({"scope": "team:"}, "scope", "Choose"),
        ({"scope": "project:" + "9" * 30}, "scope", "Choose"),
        ({"scope": ""}, "scope", "Choose"),
        ({"action-0-type": "pigeon"}, "action-0-type", "pigeon"),
        (
            {"action-0-type": "webhook", "action-0-content-shown": "webhook"},
            "action-0-integration",
            "Choose",
        ),
        (
            {"action-0-type": "webhook", "action-0-content-shown": "webhook", "action-0-integration": "77"},
            "action-0-integration",
            "Choose an integration",
        ),
    ],
)
def test_bad_input_is_an_error_at_its_field(
    penguins: Cast, ada: Pages, changes: dict[str, Any], field: str, said: str
) -> None:
    answer = ada.save(ada.add_url(Automation), **draft(penguins, **changes))
    assert said in str(errors(answer).get(field)), errors(answer)
    assert "not saved yet" in text(answer)
    assert not Automation.objects.exists()


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ('{"text": "${run_nam}"}', "run_name"),
        ("{", "JSON"),
        ("[]", "object"),
        ("[" * 9999, "JSON"),
        ("1" * 5000, "JSON"),
        ('{"a": "\\u0000"}', "NUL"),
        ('{"a": "\\ud800"}', "surrogate"),
    ],
)
def test_an_impossible_payload_is_an_error_at_its_action(
    penguins: Cast, ada: Pages, payload: str, said: str
) -> None:
    hook = webhook(penguins.team, "https://example.com/hook")
    found = errors(ada.save(ada.add_url(Automation), **draft(penguins, **to_webhook(hook, payload))))
    assert said in found["action-0-content-payload"][0]
    assert not Automation.objects.exists()


def test_a_name_that_its_scope_has_and_an_event_that_it_cannot_watch(penguins: Cast, ada: Pages) -> None:
    rule(penguins.project, "run_status", {"statuses": ["failed"]}, name="it failed")
    found = errors(ada.save(ada.add_url(Automation), **draft(penguins)))
    assert "exists already" in found["name"][0]
    fish = collection(penguins.project)
    elsewhere = draft(penguins, scope=f"collection:{fish.pk}")
    found = errors(ada.save(ada.add_url(Automation), **elsewhere))
    assert "cannot be watched" in found["scope"][0]
    assert Automation.objects.count() == 1
    assert Action.objects.count() == 1


def test_a_rule_sends_to_its_own_teams_integrations(penguins: Cast, ada: Pages) -> None:
    people.set_member(penguins.otters, penguins.ada, role=Role.ADMIN)
    theirs = webhook(penguins.otters, "https://example.com/hook")
    found = errors(ada.save(ada.add_url(Automation), **draft(penguins, **to_webhook(theirs))))
    assert "penguins" in found["action-0-integration"][0]
    assert not Automation.objects.exists()


def test_who_may_only_look_at_a_team_sends_nothing_to_its_integrations(penguins: Cast) -> None:
    """A rule of a registry may send to any team's; a viewer of that team is not asked to choose it."""
    hook = webhook(penguins.team, "https://example.com/hook", name="theirs")
    models = registry(owner=penguins.vera)
    penguins.vera.is_staff = True
    penguins.vera.save()
    vera = Pages(penguins.vera)
    fields = written(penguins.vera, models, "alias_added", to_webhook(hook))
    refused = vera.client.post(vera.add_url(Automation), dict(fields.lists()))
    assert errors(refused)["action-0-integration"]
    assert "theirs" not in text(refused)
    people.set_member(penguins.team, penguins.vera, role=Role.MEMBER)
    assert vera.client.post(vera.add_url(Automation), dict(fields.lists())).status_code == 302


def test_scopes_of_other_teams_are_neither_offered_nor_accepted(penguins: Cast, ada: Pages) -> None:
    river = create_project(penguins.otters, "river")
    shelf = collection(registry("open to look at", owner=penguins.otto), "shelf")
    form = ada.form(ada.add_url(Automation))
    assert f"project:{penguins.project.pk}" in form.options["scope"]
    assert not any("river" in name or "shelf" in name for name in form.options["scope"].values())
    searched = ada.client.post(ada.add_url(Automation), {"do": "show", "find": "r"})
    assert "river" not in text(searched)
    for theirs in (f"project:{river.pk}", f"team:{penguins.otters.pk}", f"collection:{shelf.pk}"):
        found = errors(ada.save(ada.add_url(Automation), **draft(penguins, scope=theirs)))
        assert "Choose" in found["scope"][0]
    assert not Automation.objects.exists()


def test_a_scope_takes_the_role_that_it_takes(penguins: Cast, ada: Pages, root: Pages) -> None:
    of_everybody = {"scope": f"organization:{penguins.organization.pk}"}
    assert errors(ada.save(ada.add_url(Automation), **draft(penguins, **of_everybody)))["scope"]
    people.set_member(penguins.otters, penguins.ada, role=Role.VIEWER)
    there = draft(penguins, scope=f"team:{penguins.otters.pk}")
    assert errors(ada.save(ada.add_url(Automation), **there))["scope"]
    assert root.save(root.add_url(Automation), **draft(penguins, **of_everybody)).status_code == 302
    of_all = Automation.objects.get()
    page = text(ada.client.get(ada.change_url(of_all)))
    assert "it failed" in page
    assert '"failed"' in page, "who may not write it reads its condition"
    assert ada.client.post(ada.change_url(of_all), draft(penguins)).status_code == 403


# --- While it is written --------------------------------------------------------------------------


def test_choosing_an_event_shows_its_fields_alone_and_saves_nothing(penguins: Cast, ada: Pages) -> None:
    url = ada.add_url(Automation)
    assert not any(name.startswith("condition-") for name in ada.form(url).fields)
    fields = draft(penguins, event="run_metric_zscore", **{"condition-run_name": "^exp-", "name": "z"})
    for answer in (
        ada.client.post(url, {**fields, "do": "show"}),
        ada.client.post(url, fields, headers={"HX-Request": "true"}),
    ):
        shown = ada.parsed(answer).fields
        named = {name.removeprefix("condition-") for name in shown if name.startswith("condition-")}
        assert {"metric", "window", "baseline", "direction", "threshold"} < named
        assert not {"statuses", "comparison", "alias"} & named
        assert (shown["name"], shown["condition-run_name"]) == ("z", "^exp-"), "the rest is not lost"
        assert shown["condition-window"] == "30", "defaults are filled in"
        assert "How to read a z-score" in text(answer)
        assert "not saved yet" not in text(answer)
    assert not Automation.objects.exists()


def test_changing_a_saved_rules_event_shows_the_new_fields_and_saves_nothing(
    penguins: Cast, ada: Pages
) -> None:
    made = rule(penguins.project, "run_status", {"statuses": ["failed"]}, name="kept")
    url = ada.change_url(made)
    fields = {**ada.form(url).fields, "event": "run_metric_threshold", "description": "longer"}
    shown = ada.parsed(ada.client.post(url, fields, headers={"HX-Request": "true"})).fields
    assert "condition-comparison" in shown
    assert shown["description"] == "longer"
    made.refresh_from_db()
    assert (made.event_type, made.description) == ("run_status", "")


def test_rows_of_actions_come_and_go_without_saving(penguins: Cast, ada: Pages) -> None:
    url, fields = ada.add_url(Automation), draft(penguins)
    more = ada.parsed(ada.client.post(url, {**fields, "do": "add"})).fields
    assert more["action"] == ["0", "1"]
    less = ada.parsed(ada.client.post(url, {**more, "do": "remove:0"})).fields
    assert less["action"] == "1"
    hook = webhook(penguins.team, "https://example.com/hook")
    to_hook = {**fields, **to_webhook(hook)}
    filled = ada.parsed(ada.client.post(url, {**to_hook, "do": "payload:0:github"})).fields
    assert "client_payload" in filled["action-0-content-payload"]
    assert not Automation.objects.exists()


def test_a_new_rule_begins_where_a_link_or_a_preset_says(penguins: Cast, ada: Pages) -> None:
    url = ada.add_url(Automation)
    page = ada.client.get(f"{url}?project={penguins.project.pk}")
    links = re.findall(r'href="(\?[^"]*preset=[^"]+)"', page.content.decode())
    assert len(links) == len(RULE_PRESETS)
    for preset, link in zip(RULE_PRESETS, links, strict=True):
        begun = ada.parsed(ada.client.get(url + html.unescape(link))).fields
        assert begun["event"] == preset.event_type
        assert begun["scope"] == f"project:{penguins.project.pk}"


def test_a_viewer_reads_a_rule_and_is_offered_no_form(penguins: Cast) -> None:
    hook = webhook(penguins.team, "https://example.com/hook")
    made = rule(penguins.project, "run_status", {"statuses": ["failed"]}, actions=sends(hook, {"a": 1}))
    penguins.vera.is_staff = True
    penguins.vera.save()
    vera = Pages(penguins.vera)
    page = vera.client.get(vera.change_url(made))
    assert '"statuses"' in text(page)
    assert '"payload"' in text(page)
    assert 'id="rule"' not in page.content.decode()


# --- Bulk actions ---------------------------------------------------------------------------------


def test_a_saved_rule_is_fired_as_a_test_from_its_page(penguins: Cast, ada: Pages) -> None:
    answer = ada.save(ada.add_url(Automation), **draft(penguins), _fire="1")
    execution = Execution.objects.get()
    assert answer["Location"] == ada.change_url(execution)
    assert execution.is_test
    made = Automation.objects.get()
    ada.save(ada.change_url(made), _fire="1")
    assert Execution.objects.filter(automation=made, is_test=True).count() == 2


def test_rules_are_muted_for_a_day(penguins: Cast, ada: Pages) -> None:
    made = rule(penguins.project, "run_status", {"statuses": ["failed"]})
    assert "1 automation changed" in notes(ada.act(Automation, "mute", [made]))
    made.refresh_from_db()
    assert made.mode == Mode.MUTED
    assert made.muted_until is not None
    assert timedelta(hours=23) < made.muted_until - clock.now() <= timedelta(hours=24)
    assert ada.save(ada.change_url(made), description="x").status_code == 302
    until = made.muted_until
    made.refresh_from_db()
    assert (made.mode, made.muted_until) == (Mode.MUTED, until), "its form leaves it muted"


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
