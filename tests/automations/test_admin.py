"""Automations, their targets and their history in the admin: every write is a service's, once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from automations import vault
from automations.models import (
    Action,
    Automation,
    Delivery,
    DeliveryState,
    Execution,
    Inbox,
    Integration,
    Mode,
    Secret,
)
from runs import clock
from runs.models import Role, RunStatus, Team, User
from runs.services import people
from runs.services.runs import set_status
from tests.adminpages import Pages, errors, notes, text
from tests.cast import Cast, collection, decide, new_run, registry, rule, secret, sends, webhook


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


# --- Automations ----------------------------------------------------------------------------------


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
    assert [(row.integration, row.config) for row in made.actions.all()] == [(hook, payload)]
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
    assert [row.config for row in made.actions.all()] == [{}, {"payload": {"a": "c"}}]
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


# --- Targets --------------------------------------------------------------------------------------


def test_a_secret_is_written_and_never_read(penguins: Cast, ada: Pages) -> None:
    fields = {"team": penguins.team.pk, "name": "TOKEN", "value": "very secret"}
    assert ada.save(ada.add_url(Secret), **fields).status_code == 302
    kept = Secret.objects.get()
    assert vault.decrypt(kept.ciphertext) == "very secret"
    page = ada.client.get(ada.change_url(kept)).content.decode()
    assert "very secret" not in page
    assert kept.ciphertext not in page
    assert ada.save(ada.change_url(kept), name="KEY").status_code == 302
    kept.refresh_from_db()
    assert (kept.name, vault.decrypt(kept.ciphertext)) == ("KEY", "very secret")
    ada.save(ada.change_url(kept), value=" other ")
    kept.refresh_from_db()
    assert vault.decrypt(kept.ciphertext) == " other "
    refused = ada.save(ada.add_url(Secret), **{**fields, "name": "KEY"})
    assert "exists" in str(errors(refused))
    assert "very secret" not in refused.content.decode()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"value": ""}, "value"),
        ({"value": "a\x00b"}, "value"),
        ({"value": "x" * 10_001}, "value"),
        ({"value": "whsec_!"}, "value"),
        ({"name": "9 lives"}, "name"),
        ({"name": "a\x00"}, "name"),
        ({"team": ""}, "team"),
    ],
)
def test_an_impossible_secret_is_a_form_error(
    penguins: Cast, ada: Pages, changes: dict[str, str], field: str
) -> None:
    fields = {"team": penguins.team.pk, "name": "TOKEN", "value": "x", **changes}
    assert list(errors(ada.save(ada.add_url(Secret), **fields))) == [field]
    assert not Secret.objects.exists()


def test_an_integration_keeps_its_url_to_itself(penguins: Cast, ada: Pages) -> None:
    token = secret(penguins.team, "TOKEN", "token")
    fields = {
        "team": penguins.team.pk,
        "type": "webhook",
        "name": "hook",
        "url": "https://example.com/path/xyz",
    }
    assert ada.save(ada.add_url(Integration), **fields, access_token=token.pk).status_code == 302
    hook = Integration.objects.get()
    page = ada.client.get(ada.change_url(hook))
    assert "example.com" in text(page)
    assert "xyz" not in page.content.decode()
    assert ada.save(ada.change_url(hook), timeout=20).status_code == 302
    hook.refresh_from_db()
    assert (hook.timeout, vault.decrypt(hook.url_ciphertext)) == (20, fields["url"])
    ada.save(ada.change_url(hook), url="https://example.org/")
    hook.refresh_from_db()
    assert hook.host == "example.org"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"url": ""}, "url"),
        ({"url": "ftp://example.com"}, "url"),
        ({"url": "http://169.254.169.254/"}, "url"),
        ({"url": "http://a\x00b/"}, "url"),
        ({"type": "pigeon"}, "type"),
        ({"timeout": "99"}, "timeout"),
        ({"timeout": "soon"}, "timeout"),
        ({"access_token": "77"}, "access_token"),
        ({"name": "a\x00"}, "name"),
    ],
)
def test_an_impossible_integration_is_a_form_error(
    penguins: Cast, ada: Pages, changes: dict[str, str], field: str
) -> None:
    fields = {
        "team": penguins.team.pk,
        "type": "webhook",
        "name": "hook",
        "url": "https://example.com",
        **changes,
    }
    assert list(errors(ada.save(ada.add_url(Integration), **fields))) == [field]
    assert not Integration.objects.exists()


def test_an_integration_takes_its_own_teams_secrets(penguins: Cast, ada: Pages) -> None:
    people.set_member(penguins.otters, penguins.ada, role=Role.ADMIN)
    ours, theirs = secret(penguins.team, "OURS", "x"), secret(penguins.otters, "THEIRS", "x")
    hook = webhook(penguins.team, "https://example.com", access_token=ours)
    assert set(ada.form(ada.change_url(hook)).options["access_token"]) == {"", str(ours.pk)}
    fields = {"team": penguins.team.pk, "type": "webhook", "name": "new", "url": "https://example.com"}
    refused = ada.save(ada.add_url(Integration), **fields, signing_secret=theirs.pk)
    assert "another team" in errors(refused)["signing_secret"][0]


def test_a_secret_that_no_key_opens_is_a_form_error(penguins: Cast, ada: Pages) -> None:
    token = secret(penguins.team, "TOKEN", "x")
    hook = webhook(penguins.team, "https://example.com", access_token=token)
    Secret.objects.update(ciphertext="damaged")
    assert "TRIPLINE_SECRET_KEYS" in str(errors(ada.save(ada.change_url(hook), timeout=20)))


def test_what_is_in_use_is_not_deleted(penguins: Cast, ada: Pages) -> None:
    token = secret(penguins.team, "TOKEN", "x")
    hook = webhook(penguins.team, "https://example.com", access_token=token)
    rule(penguins.project, "run_status", {"statuses": ["failed"]}, actions=sends(hook))
    for row in (token, hook):
        ada.delete(row)
        ada.act(type(row), "delete_selected", [row])
        assert type(row).objects.filter(pk=row.pk).exists()
    Automation.objects.all().delete()
    ada.delete(hook)
    ada.delete(token)
    assert not Secret.objects.exists()


def test_an_integration_is_disabled_and_enabled(penguins: Cast, ada: Pages) -> None:
    hook = webhook(penguins.team, "https://example.com")
    rule(penguins.project, "run_status", {"statuses": ["failed"]}, actions=sends(hook))
    ada.act(Integration, "disable", [hook])
    assert "ada" in Integration.objects.get().disabled_reason
    set_status(new_run(penguins.project), RunStatus.FAILED, actor=None)
    decide()
    assert Delivery.objects.get().state == DeliveryState.HELD
    ada.act(Integration, "enable", [hook])
    assert (Integration.objects.get().healthy, Delivery.objects.get().state) == (True, DeliveryState.PENDING)


def test_an_inbox_shows_where_to_send_and_what_came(penguins: Cast) -> None:
    penguins.max.is_staff = True
    penguins.max.save()
    pages = Pages(penguins.max)
    assert pages.save(pages.add_url(Inbox), team=penguins.team.pk, name="tray").status_code == 302
    inbox = Inbox.objects.get()
    assert inbox.url in text(pages.client.get(pages.change_url(inbox)))
    assert "exists" in str(errors(pages.save(pages.add_url(Inbox), team=penguins.team.pk, name="tray")))
    assert pages.save(pages.change_url(inbox), name="basket").status_code == 302
    pages.delete(inbox)
    assert not Inbox.objects.exists()


# --- History --------------------------------------------------------------------------------------


@pytest.fixture
def failed(penguins: Cast) -> Delivery:
    """A delivery to the penguins' hook that finally failed."""
    hook = webhook(penguins.team, "https://example.com")
    rule(
        penguins.project, "run_status", {"statuses": ["failed"]}, actions=sends(hook, {"run": "${run_name}"})
    )
    set_status(new_run(penguins.project, name="heron"), RunStatus.FAILED, actor=None)
    decide()
    Delivery.objects.update(state=DeliveryState.FAILED, finished_at=clock.now(), next_at=None)
    Execution.objects.update(state="failed", finished_at=clock.now())
    return Delivery.objects.get()


def test_an_execution_says_why(ada: Pages, failed: Delivery) -> None:
    page = text(ada.client.get(ada.change_url(failed.execution)))
    assert "the run changed from running to failed" in page
    assert failed.webhook_id in page
    assert "heron" in text(ada.client.get(ada.change_url(failed)))


@pytest.mark.parametrize("model", [Execution, Delivery])
def test_what_failed_is_sent_again(ada: Pages, failed: Delivery, model: type[Execution | Delivery]) -> None:
    row = failed if model is Delivery else failed.execution
    assert "1 delivery is sent again" in notes(ada.act(model, "redeliver", [row]))
    failed.refresh_from_db()
    assert (failed.state, failed.execution.state) == (DeliveryState.PENDING, "pending")
    assert "0 deliveries" in notes(ada.act(model, "redeliver", [row]))


def test_a_viewer_sends_nothing_again(penguins: Cast, failed: Delivery) -> None:
    penguins.vera.is_staff = True
    penguins.vera.save()
    pages = Pages(penguins.vera)
    assert pages.shown(Delivery) == [failed]
    pages.act(Delivery, "redeliver", [failed])
    failed.refresh_from_db()
    assert failed.state == DeliveryState.FAILED


@pytest.mark.parametrize("model", [Execution, Delivery])
def test_history_is_read_only_for_superusers_too(
    root: Pages, failed: Delivery, model: type[Execution | Delivery]
) -> None:
    row = failed if model is Delivery else failed.execution
    assert root.client.post(root.change_url(row), {"state": "finished"}).status_code == 403
    assert root.client.post(root.delete_url(row), {"post": "yes"}).status_code == 403
    assert root.client.get(root.add_url(model)).status_code == 403


def test_a_team_with_automations_of_others_using_its_hook_is_not_deleted(penguins: Cast, root: Pages) -> None:
    seals = people.create_team("seals")
    hook = webhook(seals, "https://example.com")
    models = registry(owner=penguins.ada)
    rule(models, "alias_added", {"alias": "."}, actions=sends(hook))
    root.act(Team, "delete_selected", [seals])
    root.delete(seals)
    assert Team.objects.filter(pk=seals.pk).exists()
