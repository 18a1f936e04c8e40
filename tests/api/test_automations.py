from __future__ import annotations

from typing import Any

import pytest

from automations.events.base import EVENTS
from automations.models import Action, Automation
from tests import cast
from tests.api.house import Api, House, rows
from tests.cast import Cast, Clock

pytestmark = pytest.mark.django_db

THRESHOLD: dict[str, Any] = {
    "type": "run_metric_threshold",
    "metric": "loss",
    "aggregation": "average",
    "window": 5,
    "comparison": "above",
    "threshold": 0.6,
    "user": None,
    "run_name": "^exp-",
}

# Stands for the id of the house's integration.
HOOK = "HOOK"


def rule(scope_type: str, pk: int, **changes: Any) -> dict[str, Any]:
    return {
        "name": "loss is stuck",
        "scope": {"type": scope_type, "id": pk},
        "event": dict(THRESHOLD),
        "actions": [{"type": "noop"}],
    } | changes


def test_the_rule_of_the_contract_is_made_and_read_back(ours: House, max_: Api, vera: Api) -> None:
    payload = {"text": "${run_name}: ${metric_name} = ${metric_value}", "step": "${step}"}
    sent = {"type": "webhook", "integration": ours.integration.pk, "payload": payload}
    body = {
        "name": "loss is stuck",
        "mode": "active",
        "scope": {"type": "project", "id": ours.project.pk},
        "event": dict(THRESHOLD),
        "actions": [sent],
        "period": 86400,
    }
    made = max_.made("automations/", body)
    assert made["event"].items() >= THRESHOLD.items()
    assert {"source": "auto", "warmup": 0, "hold": 1}.items() <= made["event"].items()
    assert made["actions"][0].items() >= sent.items()
    for field in ("name", "mode", "scope", "period"):
        assert made[field] == body[field]
    assert (made["description"], made["muted_until"], made["per_status"]) == ("", None, False)
    assert made["created_by"] == "max"
    assert vera.get(f"automations/{made['id']}/").json == made


def test_what_a_change_leaves_out_stays(penguins: Cast, max_: Api, clock: Clock) -> None:
    made = max_.made("automations/", rule("project", penguins.project.pk, description="why", per_status=True))
    path = f"automations/{made['id']}/"

    def changed(**body: Any) -> dict[str, Any]:
        now = max_.patch(path, body).json
        return {name: value for name, value in now.items() if value != made[name] and name != "updated_at"}

    assert changed() == {}
    assert changed(name="new") == {"name": "new"}
    assert changed(period="run") == {"name": "new", "period": "run"}
    assert changed(period=0, name="loss is stuck") == {"period": 0}
    assert changed(mode="muted", muted_until="2026-10-01T00:00:00+02:00", period=86400) == {
        "mode": "muted",
        "muted_until": "2026-09-30T22:00:00Z",
    }
    assert changed(mode="shadow") == {"mode": "shadow"}
    assert changed(actions=[]) == {"mode": "shadow", "actions": []}
    assert Action.objects.count() == 0
    assert changed(scope={"type": "team", "id": penguins.team.pk})["scope"]["type"] == "team"


def test_a_rule_is_armed_when_its_condition_changes(penguins: Cast, max_: Api, clock: Clock) -> None:
    made = max_.made("automations/", rule("project", penguins.project.pk))
    path = f"automations/{made['id']}/"
    assert made["armed_at"] == "2026-09-01T12:00:00Z"
    clock.move(minutes=1)
    assert max_.patch(path, {"name": "new", "actions": []}).json["armed_at"] == "2026-09-01T12:00:00Z"
    assert (
        max_.patch(path, {"event": THRESHOLD | {"threshold": 1}}).json["armed_at"] == "2026-09-01T12:01:00Z"
    )


EVENT_BODIES: dict[str, dict[str, Any]] = {
    "version_added": {"alias": "best"},
    "version_linked": {"alias": None},
    "version_unlinked": {},
    "alias_added": {"alias": "^prod"},
    "alias_removed": {"alias": "^prod"},
    "collection_created": {"name": "fish"},
    "tag_added": {"tag": "good"},
    "tag_removed": {"tag": "good"},
    "collection_tag_added": {"tag": "good"},
    "collection_tag_removed": {"tag": "good"},
    "run_status": {"statuses": ["running", "finished", "failed"], "user": "ada", "run_name": "^exp"},
    "run_metric_threshold": {"metric": "loss", "comparison": "not_equal", "threshold": -0.5},
    "run_metric_change": {
        "metric": "loss",
        "aggregation": "max",
        "window": 10,
        "prior_window": 50,
        "change_type": "relative",
        "direction": "any",
        "threshold": 0.25,
    },
    "run_metric_zscore": {
        "metric": "m",
        "window": 30,
        "baseline": "values",
        "direction": "either",
        "threshold": 2,
    },
    "run_metric_nonfinite": {"metric": None, "source": "history"},
}


def test_every_event_of_the_contract_can_be_watched() -> None:
    assert set(EVENT_BODIES) == {event.key for event in EVENTS}


@pytest.mark.parametrize("event", list(EVENT_BODIES))
def test_an_event_is_stored_whole_in_every_scope_it_may_have(
    ours: House, penguins: Cast, everything: Api, event: str
) -> None:
    scopes = {
        "project": ours.project.pk,
        "registry": ours.registry.pk,
        "collection": ours.collection.pk,
        "team": ours.team.pk,
        "organization": penguins.organization.pk,
    }
    body = {"type": event, **EVENT_BODIES[event]}
    for scope, pk in scopes.items():
        answer = everything.post("automations/", rule(scope, pk, event=body))
        if scope in {"registry", "collection"} and event.startswith("run_"):
            assert (answer.status, list(answer.json)) == (400, ["scope"])
        else:
            assert answer.status == 201, answer
            assert answer.json["event"].items() >= body.items()
            assert answer.json["scope"] == {"type": scope, "id": pk}
            assert everything.patch(f"automations/{answer.json['id']}/", {"event": body}).status == 200


@pytest.mark.parametrize(
    ("event", "named"),
    [
        (None, ""),
        ([], ""),
        ("run_status", ""),
        ({}, ""),
        ({"type": "run_statuses"}, "run_status"),
        ({"type": None}, "type"),
        ({"type": ["run_status"]}, "type"),
        ({"type": "run_status"}, "statuses"),
        ({"type": "run_status", "statuses": []}, "statuses"),
        ({"type": "run_status", "statuses": "finished"}, "statuses"),
        ({"type": "run_status", "statuses": ["killed"]}, "statuses"),
        ({"type": "run_status", "statuses": [1]}, "statuses"),
        ({"type": "run_status", "statuses": ["finished"], "user": 7}, "user"),
        ({"type": "run_status", "statuses": ["finished"], "user": "x" * 151}, "user"),
        ({"type": "run_status", "statuses": ["finished"], "nonsense": None}, "nonsense"),
        ({"type": "run_status", "statuses": ["finished"], "run_name": "("}, "missing"),
        ({"type": "run_status", "statuses": ["finished"], "run_name": "(?=a)"}, "(?="),
        ({"type": "run_status", "statuses": ["finished"], "run_name": r"(a)\1"}, r"\1"),
        ({"type": "run_status", "statuses": ["finished"], "run_name": r"\é"}, "run_name"),
        ({"type": "run_status", "statuses": ["finished"], "run_name": "[é-a]"}, "run_name"),
        ({"type": "run_status", "statuses": ["finished"], "run_name": "a{1001}"}, "run_name"),
        ({"type": "run_status", "statuses": ["finished"], "run_name": "((a{100}){100}){100}"}, "run_name"),
        ({"type": "run_status", "statuses": ["finished"], "run_name": "(" * 1000}, "run_name"),
        ({"type": "run_status", "statuses": ["finished"], "run_name": "x" * 1001}, "run_name"),
        ({"type": "run_status", "statuses": ["finished"], "run_name": []}, "run_name"),
        ({"type": "alias_added"}, "alias"),
        ({"type": "alias_added", "alias": ""}, "alias"),
        ({"type": "alias_added", "alias": "*"}, "alias"),
        ({"type": "tag_added", "alias": "x"}, "tag"),
        (THRESHOLD | {"metric": ""}, "metric"),
        (THRESHOLD | {"metric": 1}, "metric"),
        (THRESHOLD | {"metric": "x" * 251}, "metric"),
        (THRESHOLD | {"threshold": None}, "threshold"),
        (THRESHOLD | {"threshold": "0.6"}, "threshold"),
        (THRESHOLD | {"threshold": True}, "threshold"),
        (THRESHOLD | {"threshold": 10**400}, "threshold"),
        (THRESHOLD | {"window": 0}, "window"),
        (THRESHOLD | {"window": 10_001}, "window"),
        (THRESHOLD | {"window": 5.5}, "window"),
        (THRESHOLD | {"window": 10**30}, "window"),
        (THRESHOLD | {"aggregation": "median"}, "aggregation"),
        (THRESHOLD | {"comparison": ">"}, "comparison"),
        (THRESHOLD | {"source": "both"}, "source"),
        (THRESHOLD | {"warmup": -1}, "warmup"),
        (THRESHOLD | {"hold": 0}, "hold"),
        ({"type": "run_metric_change", "metric": "m", "threshold": 0}, "threshold"),
        ({"type": "run_metric_change", "metric": "m", "threshold": 1, "prior_window": 0}, "prior_window"),
        ({"type": "run_metric_zscore", "metric": "m", "threshold": -1}, "threshold"),
        ({"type": "run_metric_zscore", "metric": "m", "threshold": 1, "window": 1}, "window"),
    ],
)
def test_an_event_that_cannot_be_is_refused_with_the_reason(
    penguins: Cast, max_: Api, event: Any, named: str
) -> None:
    before = rows()
    refused = max_.post("automations/", rule("project", penguins.project.pk, event=event))
    assert (refused.status, list(refused.json)) == (400, ["event"]), refused
    assert named in " ".join(refused.json["event"])
    assert rows() == before


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400"])
def test_a_threshold_that_is_no_number_is_refused_by_name(penguins: Cast, max_: Api, number: str) -> None:
    before = rows()
    raw = (
        f'{{"name": "n", "scope": {{"type": "project", "id": {penguins.project.pk}}}, "event": '
        f'{{"type": "run_metric_threshold", "metric": "m", "comparison": "above", "threshold": {number}}}}}'
    )
    refused = max_.ask("POST", "automations/", raw=raw.encode())
    assert (refused.status, list(refused.json)) == (400, ["event"])
    assert rows() == before


WRONG: dict[str, list[Any]] = {
    "name": [None, "", " ", 1, [], "x" * 251, "a\nb"],
    "description": [None, 1, [], "x" * 100_001],
    "mode": [None, "", "off", 1, []],
    "muted_until": ["", "tomorrow", 1, [], "0001-01-01T00:00:00+23:59"],
    "per_status": [None, "yes", 1, []],
    "period": [None, "", "day", -1, 1.5, True, "86400", 10**30, [], {}],
    "scope": [
        *(None, 1, [], {}, "project", {"type": "project"}, {"id": 1}),
        *({"type": value, "id": 1} for value in (None, "run", 1, [], {})),
        *({"type": "project", "id": value} for value in (None, "1", 1.5, True, -1, 2**63, [], {})),
        {"type": "project", "id": 1, "name": "x"},
    ],
    "actions": [
        *(None, 1, {}, "noop", [None], [1], [[]], [{}]),
        [{"type": "noop"}] * 21,
        [{"type": "nonsense"}],
        [{"type": 1}],
        [{"type": "noop", "integration": HOOK}],
        [{"type": "noop", "nonsense": 1}],
        [{"type": "webhook"}],
        [{"type": "webhook", "integration": None}],
        [{"type": "webhook", "integration": "hook"}],
        [{"type": "webhook", "integration": True}],
        [{"type": "slack", "integration": HOOK}],
        [{"type": "webhook", "integration": HOOK, "payload": []}],
        [{"type": "webhook", "integration": HOOK, "payload": "{}"}],
        [{"type": "webhook", "integration": HOOK, "payload": {"a": "${run_nme}"}}],
        [{"type": "webhook", "integration": HOOK, "payload": {"a": "${"}}],
        [{"type": "webhook", "integration": HOOK, "nonsense": 1}],
        [{"type": "noop"}, {"type": "webhook"}],
    ],
    **{field: [1] for field in ("id", "armed_at", "created_by", "created_at", "nonsense")},
}


@pytest.mark.parametrize("field", list(WRONG))
def test_a_rule_that_cannot_be_is_refused_by_field_and_changes_nothing(
    ours: House, max_: Api, field: str
) -> None:
    made = max_.made("automations/", rule("project", ours.project.pk, name="before"))
    before = rows()
    for value in WRONG[field]:
        if isinstance(value, list):
            for item in value:
                if isinstance(item, dict) and item.get("integration") == HOOK:
                    item["integration"] = ours.integration.pk
        refused = max_.post("automations/", rule("project", ours.project.pk) | {field: value})
        assert (refused.status, list(refused.json)) == (400, [field]), refused
        refused = max_.patch(f"automations/{made['id']}/", {"name": "after", field: value})
        assert (refused.status, list(refused.json)) == (400, [field]), refused
    assert max_.get(f"automations/{made['id']}/").json == made
    assert rows() == before


def test_an_unknown_variable_is_refused_with_the_nearest_known(ours: House, max_: Api) -> None:
    hook = {"type": "webhook", "integration": ours.integration.pk, "payload": {"a": ["${run_nme}"]}}
    refused = max_.post("automations/", rule("project", ours.project.pk, actions=[{"type": "noop"}, hook]))
    [text] = refused.json["actions"]
    assert "run_nme" in text
    assert "${run_name}" in text
    # Of several actions every mistake is told, each by itself.
    hook["payload"] = {"a": ["${run_nme}", "${stp}"]}
    mail = {"type": "email", "to": ["nobody"], "subject": "${run_idd}"}
    refused = max_.post("automations/", rule("project", ours.project.pk, actions=[hook, mail]))
    assert [text.split(": ")[0] for text in refused.json["actions"]] == ["0", "0", "1"]
    # One that is known and does not apply is empty.
    hook["payload"] = {"a": "${metric_value}"}
    status = {"type": "run_status", "statuses": ["failed"]}
    max_.made("automations/", rule("project", ours.project.pk, event=status, actions=[hook]))


def test_a_name_is_taken_once_in_its_scope(penguins: Cast, max_: Api) -> None:
    first = max_.made("automations/", rule("project", penguins.project.pk))
    taken = max_.post("automations/", rule("project", penguins.project.pk))
    assert (taken.status, list(taken.json)) == (409, ["name"])
    max_.made("automations/", rule("team", penguins.team.pk))
    other = max_.made("automations/", rule("project", penguins.project.pk, name="other"))
    assert max_.patch(f"automations/{other['id']}/", {"name": first["name"]}).status == 409
    assert max_.delete(f"automations/{first['id']}/").status == 204
    assert max_.patch(f"automations/{other['id']}/", {"name": first["name"]}).status == 200


def test_rules_are_found_by_every_filter(ours: House, max_: Api) -> None:
    on_project = ours.automation.pk
    metric = max_.made("automations/", rule("project", ours.project.pk, mode="disabled"))["id"]
    alias = {"type": "alias_added", "alias": "x"}
    on_collection = max_.made("automations/", rule("collection", ours.collection.pk, event=alias))["id"]

    def found(query: str) -> list[int]:
        return [row["id"] for row in max_.listed(f"automations/?ordering=id&{query}")]

    assert found(f"project={ours.project.pk}") == [on_project, metric]
    assert found(f"collection={ours.collection.pk}") == [on_collection]
    assert found("scope_type=collection") == [on_collection]
    assert found("event=run_status") == [on_project]
    assert found("mode=disabled") == [metric]
    assert found("name=penguin-rule") == [on_project]


def test_the_history_of_a_deleted_rule_stays(ours: House, max_: Api) -> None:
    assert max_.delete(f"automations/{ours.automation.pk}/").status == 204
    assert not Automation.objects.exists()
    [execution] = max_.listed("executions/")
    assert (execution["automation"], execution["automation_name"]) == (None, "penguin-rule")


def test_why_a_rule_fired_is_answered_for_what_one_sees(ours: House, theirs: House, vera: Api) -> None:
    path = f"automations/{ours.automation.pk}/explain/"
    answer = vera.get(f"{path}?run={ours.run.pk}")
    assert answer.status == 200
    assert answer.json["execution"] == ours.execution.pk
    assert answer.json["text"]
    for query, status, field in [
        ("", 400, "run"),
        (f"run={ours.run.pk}&version={ours.version.pk}", 400, "run"),
        ("run=abc", 400, "run"),
        ("nonsense=1", 400, "nonsense"),
        (f"run={theirs.run.pk}", 404, "run"),
        (f"version={theirs.version.pk}", 404, "version"),
        ("run=" + "9" * 30, 404, "run"),
    ]:
        refused = vera.get(f"{path}?{query}")
        assert (refused.status, list(refused.json)) == (status, [field]), refused
    assert vera.get(f"automations/{theirs.automation.pk}/explain/?run={ours.run.pk}").status == 404
    assert cast.fired(ours.automation) == 1
