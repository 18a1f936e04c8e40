"""Firing by hand: the message that would go out, byte for byte, but marked, and counted nowhere."""

from __future__ import annotations

import html
import json
from typing import Any

import pytest
from django.core import mail
from pytest_httpserver import HTTPServer
from standardwebhooks import Webhook

from automations.actions.slack import escaped
from automations.events.base import EVENTS
from automations.models import Automation, Event, Execution, Mode, RunLimit
from automations.services.rules import ActionDraft
from runs.models import Role
from runs.services import people
from runs.services.projects import create_project
from runs.services.runs import start_run
from tests import cast
from tests.adminpages import Pages, notes
from tests.api.house import Api, rows
from tests.automations.stories import bodies, integration, loss_is_high
from tests.cast import Cast, Clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback")]

KEY = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
PAYLOAD = {"text": "${run_name}: ${metric_value} ${metric_filter}", "id": "${event_id}", "n": "${sequence}"}


@pytest.fixture
def actions(penguins: Cast, httpserver: HTTPServer) -> list[ActionDraft]:
    """One of each kind."""
    for path in ("/hook", "/chat"):
        httpserver.expect_request(path).respond_with_data("ok")
    hook = cast.webhook(
        penguins.team,
        httpserver.url_for("/hook"),
        signing_secret=cast.secret(penguins.team, "SIGNING", KEY),
    )
    chat = integration(penguins.team, "slack", url=httpserver.url_for("/chat"))
    return [
        *cast.sends(hook, PAYLOAD),
        ActionDraft("slack", chat, {"message": "${run_name}"}),
        ActionDraft("email", None, {"to": ["ada"], "subject": "${run_name}"}),
        ActionDraft("noop"),
    ]


def fire(who: Api, automation: Automation | None, body: Any = None) -> Any:
    assert automation is not None
    answer = who.post(f"automations/{automation.pk}/test/", body)
    assert answer.status == 202, answer
    cast.deliver()
    return answer.json


def test_a_past_event_makes_the_same_message_but_for_the_mark_and_the_id(
    penguins: Cast, httpserver: HTTPServer, actions: list[ActionDraft]
) -> None:
    real = loss_is_high(penguins, actions)
    cast.deliver()
    fired = fire(Api(penguins.max), real.automation, {"event": real.event_id})

    test = Execution.objects.get(pk=fired["id"])
    for first, second in zip(real.deliveries.order_by("pk"), test.deliveries.order_by("pk"), strict=True):
        assert first.type == second.type
        assert first.webhook_id != second.webhook_id
        if first.type in {"webhook", "noop"}:
            assert first.body == second.body
        else:
            assert first.body != second.body == _marked(first.type, first.body)

    hooks = [request for request, _response in httpserver.log if request.path == "/hook"]
    assert hooks[0].get_data() == hooks[1].get_data()
    differing = {name for name, value in hooks[1].headers.items() if hooks[0].headers.get(name) != value}
    assert differing <= {
        "Webhook-Id",
        "Webhook-Timestamp",
        "Webhook-Signature",
        "Tripline-Test",
        "Tripline-Cause",
    }
    assert "Tripline-Test" not in hooks[0].headers
    assert hooks[1].headers["Tripline-Test"] == "1"
    Webhook(KEY).verify(hooks[1].get_data(), dict(hooks[1].headers))
    assert mail.outbox[1].subject == f"[Test] {mail.outbox[0].subject}"


def _marked(kind: str, body: str) -> str:
    """What the mark alone makes of a message."""
    message = json.loads(body)
    if kind == "slack":
        sign, title = message["blocks"][0]["text"]["text"].split(" ", 1)
        message["blocks"][0]["text"]["text"] = f"{sign} [Test] {title}"
        message["text"] = message["text"].replace(f"{sign} {title}", f"{sign} [Test] {title}", 1)
    else:
        title = message["subject"]
        message["subject"] = f"[Test] {title}"
        for tag in ("title", "h1"):
            message["html"] = message["html"].replace(f">{title}</{tag}>", f">[Test] {title}</{tag}>")
    return json.dumps(message, ensure_ascii=False)


def test_without_an_event_an_example_is_made_up_and_recorded_as_a_test(
    penguins: Cast, httpserver: HTTPServer, actions: list[ActionDraft]
) -> None:
    rule = cast.rule(penguins.project, "run_metric_threshold", cast.threshold(), actions=actions)
    fired = fire(Api(penguins.max), rule)
    assert fired["is_test"] is True
    assert fired["event"] is None
    assert "max" in fired["explanation"]["text"]
    assert fired["snapshot"]["event"]["run_name"] == "example-run"
    sent = bodies(httpserver)[0]
    assert sent == {"text": "example-run: 0.5 loss > 0.6", "id": 0, "n": 0}
    assert Event.objects.count() == 0
    shown = Api(penguins.vera).get(f"executions/{fired['id']}/").json
    assert (shown["state"], shown["is_test"]) == ("finished", True)


def test_an_example_is_the_message_of_a_real_event_with_these_values_but_marked(
    penguins: Cast, httpserver: HTTPServer, actions: list[ActionDraft], clock: Clock
) -> None:
    """Max's run is as the example says; they differ in why, where to look, and in the event's numbers."""
    hook, *others = actions
    told = ("run_name", "run_id", "metric_value", "metric_filter", "step", "event_author", "project_name")
    hook.config["payload"] = {name: f"${{{name}}}" for name in told} | {"text": "${run_name}: ${step}"}
    rule = cast.rule(
        penguins.project, "run_metric_threshold", cast.threshold(value=0.3), actions=[hook, *others]
    )
    example = Execution.objects.get(pk=fire(Api(penguins.max), rule)["id"])
    run, _created = start_run(penguins.project, penguins.max, run_id="example1", name="example-run")
    cast.log(run, "loss", [0.5], first_step=41)
    cast.decide()
    real = Execution.objects.get(is_test=False)

    for first, second in zip(real.deliveries.order_by("pk"), example.deliveries.order_by("pk"), strict=True):
        expected = first.body if first.type in {"webhook", "noop"} else _marked(first.type, first.body)
        for text, instead in (
            (run.url, "http://127.0.0.1:8000/example/run"),
            ("loss = 0.5 > 0.3 at step 41", "fired by hand by max, as a test"),
        ):
            for spelled in (str, html.escape, escaped):
                expected = expected.replace(spelled(text), spelled(instead))
        assert second.body == expected, first.type


@pytest.mark.parametrize("event_type", [event_type.key for event_type in EVENTS])
def test_the_example_has_a_value_for_every_variable(penguins: Cast, event_type: str) -> None:
    configs = {
        "run_status": {"statuses": ["failed"]},
        "run_metric_threshold": cast.threshold(),
        "run_metric_change": {"metric": "loss", "threshold": 0.5, "direction": "any"},
        "run_metric_zscore": {"metric": "loss", "threshold": 2, "direction": "above"},
        "alias_added": {"alias": "x"},
        "alias_removed": {"alias": "x"},
    }
    config = configs.get(event_type, {"tag": "x"} if "tag" in event_type else {})
    names = [name for name in EVENTS[event_type].all_variables() if not name.endswith(".*")]
    target = cast.webhook(penguins.team, "https://hooks.example.com/")
    payload = {name: f"${{{name}}}" for name in names}
    rule = cast.rule(penguins.project, event_type, config, actions=cast.sends(target, payload))
    answer = Api(penguins.max).post(f"automations/{rule.pk}/test/")
    assert answer.status == 202, answer
    [delivery] = answer.json["deliveries"]
    empty = {name for name, value in json.loads(delivery["body"]).items() if value == ""}
    assert empty == {"registry_name"}, "it happened in a project"


def test_a_test_counts_for_no_limit_and_explains_nothing_away(penguins: Cast) -> None:
    rule = cast.rule(penguins.project, "run_status", {"statuses": ["finished"]})
    run = cast.new_run(penguins.project)
    event = Event.objects.get(run=run)
    fire(Api(penguins.max), rule, {"event": event.pk})
    fire(Api(penguins.max), rule)
    assert RunLimit.objects.count() == 0
    why = Api(penguins.vera).get(f"automations/{rule.pk}/explain/?run={run.pk}").json
    assert why["fired"] is False

    from runs.models import RunStatus
    from runs.services.runs import set_status

    set_status(run, RunStatus.FINISHED, actor=None)
    cast.decide()
    assert rule.executions.filter(is_test=False).exclude(state="skipped").count() == 1


@pytest.mark.parametrize("mode", [Mode.DISABLED, Mode.SHADOW, Mode.MUTED])
def test_a_rule_that_is_not_active_can_be_tried(penguins: Cast, mode: Mode) -> None:
    rule = cast.rule(penguins.project, "run_status", {"statuses": ["finished"]}, mode=mode)
    fired = fire(Api(penguins.max), rule)
    assert Execution.objects.get(pk=fired["id"]).deliveries.get().state == "succeeded"


def test_who_may_only_look_fires_nothing_and_others_see_nothing(penguins: Cast) -> None:
    rule = cast.rule(penguins.project, "run_status", {"statuses": ["running"]})
    foreign = create_project(penguins.otters, "holt")
    cast.new_run(foreign)
    theirs = Event.objects.get(team=penguins.otters)
    before = rows()
    path = f"automations/{rule.pk}/test/"
    assert Api(penguins.vera).post(path).status == 403
    assert Api(penguins.otto).post(path).status == 404
    assert Api(penguins.max).post(path, {"event": theirs.pk}).status == 404
    assert Api(penguins.max).post(path, {"event": 987_654}).status == 404
    wrongs: list[Any] = ["x", 1.5, [], {}, True]
    for wrong in wrongs:
        assert Api(penguins.max).post(path, {"event": wrong}).status == 400
    keys = rows().pop("runs.ApiKey") - before.pop("runs.ApiKey")
    assert keys > 0
    after = rows()
    after.pop("runs.ApiKey")
    assert after == before


def test_an_event_of_another_type_or_place_is_refused(penguins: Cast) -> None:
    """Who is in two teams does not carry what happened in one to the receivers of the other."""
    people.set_member(penguins.otters, penguins.max, role=Role.MEMBER)
    rule = cast.rule(penguins.project, "run_status", {"statuses": ["running"]})
    cast.new_run(create_project(penguins.otters, "holt"))
    cast.collection(penguins.project)
    for event in Event.objects.all():
        refused = Api(penguins.max).post(f"automations/{rule.pk}/test/", {"event": event.pk})
        assert (refused.status, list(refused.json)) == (400, ["event"])
    assert Event.objects.count() == 2
    assert Execution.objects.count() == 0


def test_a_test_of_a_rule_for_everybody_is_told_where_the_event_happened(
    penguins: Cast, httpserver: HTTPServer
) -> None:
    rule = cast.rule(penguins.organization, "run_status", {"statuses": ["finished"]})
    cast.new_run(penguins.project)
    penguins.ada.is_superuser = True
    penguins.ada.save()
    fired = fire(Api(penguins.ada), rule, {"event": Event.objects.get().pk})
    assert [row["id"] for row in Api(penguins.vera).listed("executions/")] == [fired["id"]]


def test_several_are_fired_in_the_admin(
    penguins: Cast, httpserver: HTTPServer, actions: list[ActionDraft]
) -> None:
    rules = [
        cast.rule(penguins.project, "run_status", {"statuses": ["finished"]}, name=name, actions=actions[:1])
        for name in ("one", "two")
    ]
    for person in (penguins.max, penguins.vera):
        person.is_staff = True
        person.save()
    Pages(penguins.vera).act(Automation, "fire_as_test", rules)
    assert Execution.objects.count() == 0
    assert "2 automations were fired" in notes(Pages(penguins.max).act(Automation, "fire_as_test", rules))
    cast.deliver()
    assert [request.headers["Tripline-Test"] for request, _response in httpserver.log] == ["1", "1"]
    assert Execution.objects.filter(is_test=True, state="finished").count() == 2
