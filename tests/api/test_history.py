"""What came of the rules: executions, deliveries and the feed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from automations import delivery
from automations.models import Delivery, Execution
from runs.models import Organization
from runs.services import people
from runs.services.projects import create_project
from tests import cast
from tests.api.house import Api, House
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def test_an_execution_tells_what_why_and_how_it_was_sent(ours: House, vera: Api) -> None:
    delivery.requeue(Delivery.objects.all())
    cast.deliver()
    [execution] = vera.listed("executions/")
    assert {
        "automation": ours.automation.pk,
        "automation_name": "penguin-rule",
        "event_type": "run_status",
        "state": "pending",
        "count": 1,
        "run": ours.run.pk,
        "version": None,
    }.items() <= execution.items()
    assert execution["explanation"]["text"] == "the run changed from running to finished"
    assert execution["explanation"]["new"] == "finished"
    assert execution["event"]["type"] == "run_status"
    assert execution["event"]["data"]["run_name"] == "penguin-run"
    [sent] = execution["deliveries"]
    assert sent["webhook_id"] == ours.delivery.webhook_id
    assert (sent["state"], sent["body"], sent["attempt_count"]) == ("pending", '{"word":"penguin"}', 1)
    [attempt] = sent["attempts"]
    assert set(attempt) >= {"number", "started_at", "duration", "request", "status_code", "response", "error"}
    assert attempt["status_code"] is None
    assert "hooks.example.com" in attempt["error"]
    # The token was sent along, and is nowhere to be read.
    assert "penguin-value" not in vera.get(f"executions/{execution['id']}/").text
    assert vera.get(f"deliveries/{sent['id']}/").json["attempts"] == [attempt]


def test_the_reason_is_said_in_the_readers_language(ours: House, vera: Api) -> None:
    path = f"executions/{ours.execution.pk}/"
    english = vera.ask("GET", path, headers={"Accept-Language": "en"}).json["explanation"]
    assert {"text", "code", "old", "new"} <= set(english)
    japanese = vera.ask("GET", path, headers={"Accept-Language": "ja"})
    assert japanese.headers["Content-Language"] == "ja"
    assert japanese.json["explanation"]["new"] == english["new"]


def test_a_threshold_explains_itself_with_its_numbers(penguins: Cast, vera: Api) -> None:
    run = cast.new_run(penguins.project)
    cast.rule(penguins.project, "run_metric_threshold", cast.threshold(aggregation="average"))
    cast.log(run, "loss", [0.5, 0.6, 0.6, 0.6, 0.8], first_step=37)
    cast.decide()
    [execution] = vera.listed("executions/")
    explanation = execution["explanation"]
    assert {
        "value": 0.62,
        "threshold": 0.6,
        "window": [0.5, 0.6, 0.6, 0.6, 0.8],
        "step": 41,
        "count": 5,
    }.items() <= (explanation.items())
    assert explanation["text"] == "average of the last 5 values of loss = 0.62 > 0.6 at step 41"
    assert execution["event"]["data"]["step"] == 41


def test_executions_are_found_by_every_filter(ours: House, penguins: Cast, vera: Api) -> None:
    first = ours.execution
    alias = cast.rule(ours.collection, "alias_added", {"alias": "best"}, name="alias")
    Api(penguins.ada).put(f"collections/{ours.collection.pk}/aliases/best/", {"version": ours.version.pk})
    cast.decide()
    second = Execution.objects.get(automation=alias)
    Execution.objects.filter(pk=second.pk).update(created_at=first.created_at + timedelta(hours=1))
    later = (first.created_at + timedelta(minutes=1)).isoformat().replace("+", "%2B")

    def found(query: str) -> list[int]:
        return [row["id"] for row in vera.listed(f"executions/?{query}")]

    assert found("") == [second.pk, first.pk]
    assert found(f"automation={alias.pk}") == [second.pk]
    assert found(f"run={ours.run.pk}") == [first.pk]
    assert found(f"version={ours.version.pk}") == [second.pk]
    assert found("state=failed") == [first.pk]
    assert found(f"created_after={later}") == [second.pk]
    assert found(f"created_before={later}") == [first.pk]
    assert found("ordering=created_at") == [first.pk, second.pk]
    for query in ("state=done", "created_after=x", "automation=x", "nonsense=1"):
        refused = vera.get(f"executions/?{query}")
        assert (refused.status, list(refused.json)) == (400, [query.partition("=")[0]])
    assert [row["id"] for row in vera.listed("deliveries/?state=failed")] == [ours.delivery.pk]
    assert vera.listed("deliveries/?state=held") == []


def test_what_failed_is_sent_again_under_the_same_id(ours: House, max_: Api) -> None:
    path = f"executions/{ours.execution.pk}/redeliver/"
    assert max_.post(path).json == {"requeued": 1}
    waiting = Delivery.objects.get()
    assert (waiting.state, waiting.webhook_id) == ("pending", ours.delivery.webhook_id)
    assert Execution.objects.get().state == "pending"
    assert max_.post(path).json == {"requeued": 0}


def test_everything_that_failed_since_a_time_is_recovered(ours: House, max_: Api) -> None:
    body = {"integration": ours.integration.pk, "since": "2099-01-01T00:00:00Z"}
    assert max_.post("deliveries/recover/", body).json == {"requeued": 0}
    body["since"] = ours.delivery.created_at.isoformat()
    assert max_.post("deliveries/recover/", body).json == {"requeued": 1}
    assert Delivery.objects.get().state == "pending"


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, "integration"),
        ({"integration": "HOOK"}, 400, "since"),
        ({"integration": "HOOK", "since": None}, 400, "since"),
        ({"integration": "HOOK", "since": "yesterday"}, 400, "since"),
        ({"integration": "HOOK", "since": 1790000000}, 400, "since"),
        ({"integration": "HOOK", "since": "0001-01-01T00:00:00+23:59"}, 400, "since"),
        ({"integration": "hook", "since": "2026-01-01T00:00:00Z"}, 400, "integration"),
        ({"integration": 987654, "since": "2026-01-01T00:00:00Z"}, 404, "integration"),
        ({"integration": "HOOK", "since": "2026-01-01T00:00:00Z", "until": "x"}, 400, "until"),
    ],
)
def test_a_recovery_that_cannot_be_is_refused_by_field(
    ours: House, max_: Api, body: dict[str, Any], status: int, field: str
) -> None:
    if body.get("integration") == "HOOK":
        body = body | {"integration": ours.integration.pk}
    refused = max_.post("deliveries/recover/", body)
    assert (refused.status, field in refused.json) == (status, True), refused
    assert Delivery.objects.get().state == "failed"


def followed(api: Api, cursor: str = "", query: str = "") -> tuple[list[int], str]:
    """The ids of everything after a cursor, in pages of two, and the last cursor."""
    seen: list[int] = []
    for _page in range(100):
        answer = api.get(f"events/?after={cursor}&page_size=2{query}")
        assert answer.status == 200, answer
        assert set(answer.json) == {"next", "results"}
        seen += [row["id"] for row in answer.json["results"]]
        cursor = answer.json["next"]
        if not answer.json["results"]:
            return seen, cursor
    raise AssertionError("It never ends.")


def test_the_feed_is_read_on_from_where_one_was(ours: House, penguins: Cast, vera: Api) -> None:
    events = vera.get("events/").json["results"]
    assert [row["sequence"] for row in events] == sorted(row["sequence"] for row in events)
    seen, cursor = followed(vera)
    assert seen == [row["id"] for row in events]
    assert followed(vera, cursor) == ([], cursor)
    cast.new_run(penguins.project)
    later, after = followed(vera, cursor)
    assert len(later) == 1
    assert after != cursor
    assert [
        row["id"] for row in vera.get(f"events/?type=run_status&project={ours.project.pk}").json["results"]
    ]
    event = vera.get(f"events/{later[0]}/").json
    assert {"id", "sequence", "type", "team", "project", "run", "data", "received_at"} <= set(event)
    assert "scopes" not in event["data"]


def test_a_reader_of_two_organizations_misses_nothing_of_either(penguins: Cast, everything: Api) -> None:
    """Each counts for itself: the younger one's small numbers must not hide behind the older's."""
    for _number in range(5):
        cast.new_run(penguins.project)
    first, cursor = followed(everything)
    assert len(first) == 5
    south = Organization.objects.create(name="south")
    slide = create_project(people.create_team("gulls", organization=south), "slide")
    for _number in range(3):
        cast.new_run(slide)
    cast.new_run(penguins.project)
    later, _cursor = followed(everything, cursor)
    assert len(later) == 4
    assert not set(first) & set(later)


@pytest.mark.parametrize("cursor", ["x", "1", "1:", ":1", "1:x", "-1:2", "1:2,", "1:" + "9" * 30, "1:2;3:4"])
def test_a_cursor_that_cannot_be_is_named(penguins: Cast, vera: Api, cursor: str) -> None:
    refused = vera.get(f"events/?after={cursor}")
    assert (refused.status, list(refused.json)) == (400, ["after"])


def test_the_feed_knows_its_query(penguins: Cast, vera: Api) -> None:
    for query in ("page_size=0", "page_size=1001", "nonsense=1", "project=x", "ordering=-id", "cursor=x"):
        refused = vera.get(f"events/?{query}")
        assert (refused.status, list(refused.json)) == (400, [query.partition("=")[0]])
