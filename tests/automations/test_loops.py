"""A receiver that sets things off again: the chain has a cause at each step, and an end that is explained."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from automations.firing import MAX_DEPTH
from automations.models import Automation, Event, Execution
from registry.services.versions import create_version
from runs import cause
from runs.models import RunStatus
from runs.services.runs import set_status
from tests import cast
from tests.api.house import Api
from tests.cast import Cast

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback")]

Reaction = Callable[[Api, dict[str, str], int], None]


def answering_by(who: Cast, server: HTTPServer, reaction: Reaction) -> Any:
    """A receiver that answers each message by a request of its own, with the header that it was sent.

    It reacts when the message has been dealt with: one thread holds the test's transaction.
    """
    arrived: list[dict[str, str]] = []

    def note(request: Request) -> Response:
        arrived.append({cause.HEADER: request.headers[cause.HEADER]})
        return Response("")

    server.expect_request("/loop").respond_with_handler(note)
    api = Api(who.max)

    def go_on(rounds: int) -> int:
        reacted = 0
        for _round in range(rounds):
            cast.decide()
            cast.deliver()
            while reacted < len(arrived):
                reaction(api, arrived[reacted], reacted)
                reacted += 1
        return reacted

    return go_on


def chain_of(automation: Automation) -> list[int]:
    """How deep the event of each execution was, in order."""
    fired = Execution.objects.filter(automation=automation).exclude(state="skipped").order_by("pk")
    return [cause.depth(execution.event.cause) for execution in fired if execution.event]


def assert_it_ended(automation: Automation) -> Execution:
    assert MAX_DEPTH == 5
    assert chain_of(automation) == [0, 1, 2, 3, 4]
    [skipped] = cast.skipped(automation)
    assert skipped.explanation["code"] == "loop"
    return skipped


def test_an_alias_that_moves_itself_ends_with_an_explanation(penguins: Cast, httpserver: HTTPServer) -> None:
    fish = cast.collection(penguins.project)
    versions = [create_version(fish, actor=None, digest=f"d{number}")[0] for number in range(2)]

    def move(api: Api, headers: dict[str, str], turn: int) -> None:
        body = json.dumps({"version": versions[turn % 2].pk}).encode()
        answer = api.ask("PUT", f"collections/{fish.pk}/aliases/best/", raw=body, headers=headers)
        assert answer.status == 200, answer

    go_on = answering_by(penguins, httpserver, move)
    hook = cast.webhook(penguins.team, httpserver.url_for("/loop"))
    automation = cast.rule(penguins.project, "alias_added", {"alias": "best"}, actions=cast.sends(hook))
    api = Api(penguins.max)
    assert api.put(f"collections/{fish.pk}/aliases/best/", {"version": versions[1].pk}).status == 200

    assert go_on(rounds=12) == 5
    skipped = assert_it_ended(automation)
    shown = api.get(f"executions/{skipped.pk}/").json
    assert "loop" in shown["explanation"]["text"]
    assert shown["explanation"]["depth"] == 5
    assert shown["event"]["cause"]["depth"] == 5
    fifth = Execution.objects.filter(automation=automation).exclude(pk=skipped.pk).order_by("-pk")[0]
    assert shown["event"]["cause"]["execution"] == fifth.pk
    first = Event.objects.filter(type="alias_added", data__alias="best").earliest("pk")
    assert api.get(f"events/{first.pk}/").json["cause"] is None


def test_a_metric_that_logs_itself_ends(penguins: Cast, httpserver: HTTPServer) -> None:
    run = cast.new_run(penguins.project)

    def log(api: Api, headers: dict[str, str], _turn: int) -> None:
        body = json.dumps({"points": [{"values": {"loss": 0.9}}]}).encode()
        assert api.ask("POST", f"runs/{run.pk}/metrics/", raw=body, headers=headers).status == 202

    go_on = answering_by(penguins, httpserver, log)
    hook = cast.webhook(penguins.team, httpserver.url_for("/loop"))
    automation = cast.rule(
        penguins.project, "run_metric_threshold", cast.threshold(), period=0, actions=cast.sends(hook)
    )
    cast.log(run, "loss", [0.9])
    assert go_on(rounds=12) == 5
    assert_it_ended(automation)


def test_a_status_that_changes_itself_ends(penguins: Cast, httpserver: HTTPServer) -> None:
    run = cast.new_run(penguins.project)

    def change(api: Api, headers: dict[str, str], turn: int) -> None:
        body = json.dumps({"status": ["running", "finished"][turn % 2]}).encode()
        assert api.ask("PATCH", f"runs/{run.pk}/", raw=body, headers=headers).status == 200

    go_on = answering_by(penguins, httpserver, change)
    hook = cast.webhook(penguins.team, httpserver.url_for("/loop"))
    automation = cast.rule(
        penguins.project,
        "run_status",
        {"statuses": ["running", "finished"]},
        period=0,
        actions=cast.sends(hook),
    )
    set_status(run, RunStatus.FINISHED, actor=None)
    assert go_on(rounds=12) == 5
    assert_it_ended(automation)


@pytest.mark.parametrize("header", ["1/5", "1/999", "1/5/" + "0" * 32, "nonsense", "", "9" * 1000])
def test_a_header_that_somebody_made_up_silences_nothing(penguins: Cast, header: str) -> None:
    automation = cast.rule(penguins.project, "run_status", {"statuses": ["finished"]})
    run = cast.new_run(penguins.project)
    answer = Api(penguins.max).ask(
        "PATCH", f"runs/{run.pk}/", {"status": "finished"}, headers={cause.HEADER: header}
    )
    assert answer.status == 200
    cast.decide()
    assert chain_of(automation) == [0]
    event = automation.executions.get().event
    assert event is not None
    assert Api(penguins.max).get(f"events/{event.pk}/").json["cause"] is None


def test_what_people_do_after_a_loop_fires_again(penguins: Cast) -> None:
    automation = cast.rule(penguins.project, "run_status", {"statuses": ["finished"]}, period=0)
    run = cast.new_run(penguins.project)
    with cause.caused_by(cause.signed(f"1/{MAX_DEPTH}")):
        set_status(run, RunStatus.FINISHED, actor=None)
    set_status(run, RunStatus.RUNNING, actor=None)
    set_status(run, RunStatus.FINISHED, actor=None)
    cast.decide()
    assert [len(cast.skipped(automation)), chain_of(automation)] == [1, [0]]
