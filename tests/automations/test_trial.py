"""Trying an integration: one marked message, at once; what came back is told, and kept for the team."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.core import mail
from django.db import connection
from pytest_httpserver import HTTPServer

from automations import delivery
from automations.actions import http
from automations.actions.base import Outcome
from automations.claims import Claim
from automations.models import Attempt, Delivery, Execution, Integration
from automations.services import targets
from runs import cause
from runs.models import User
from tests import cast
from tests.adminpages import Pages, notes, text
from tests.api.house import Api
from tests.automations.stories import bodies, integration, loss_is_high
from tests.cast import Cast, Clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback")]


@pytest.fixture
def hook(penguins: Cast, httpserver: HTTPServer) -> Integration:
    httpserver.expect_request("/hook").respond_with_data("thanks", status=201)
    return cast.webhook(penguins.team, httpserver.url_for("/hook"), name="the hook")


def tried(who: User, target: Integration) -> Any:
    answer = Api(who).post(f"integrations/{target.pk}/test/")
    assert answer.status == 200, answer
    return answer.json


def test_what_it_sends_is_marked(penguins: Cast, httpserver: HTTPServer, hook: Integration) -> None:
    httpserver.expect_request("/chat").respond_with_data("ok")
    chat = integration(penguins.team, "slack", url=httpserver.url_for("/chat"))
    for target in (hook, chat, integration(penguins.team, "email")):
        assert tried(penguins.ada, target)["ok"] is True
    to_hook, to_chat = (request for request, _response in httpserver.log)
    assert to_hook.headers["Tripline-Test"] == "1"
    assert "[Test]" in json.loads(to_chat.get_data())["blocks"][0]["text"]["text"]
    assert mail.outbox[0].subject.startswith("[Test]")
    assert Execution.objects.filter(state="finished", is_test=True).count() == 3


def test_the_team_sees_in_the_history_what_was_sent_and_what_came_back(
    penguins: Cast, hook: Integration
) -> None:
    answer = tried(penguins.ada, hook)
    [seen] = Api(penguins.vera).listed("executions/")
    assert (seen["automation"], seen["automation_name"], seen["event"]) == (None, "the hook", None)
    assert (seen["is_test"], seen["state"], seen["event_type"]) == (True, "finished", "")
    assert seen["explanation"]["text"] == "ada tried the integration the hook, no automation fired"
    assert seen["snapshot"]["actions"][0]["integration"] == "the hook"
    [sent] = seen["deliveries"]
    [attempt] = sent["attempts"]
    assert (sent["state"], sent["attempt_count"], sent["integration"]) == ("succeeded", 1, hook.pk)
    assert (attempt["status_code"], attempt["response"]) == (201, "thanks")
    assert attempt["duration"] == pytest.approx(answer["latency"])
    assert attempt["request"]["headers"]["webhook-id"] == sent["webhook_id"]
    assert json.loads(attempt["request"]["body"])["test"] is True
    assert Api(penguins.otto).listed("executions/") == []


def test_the_admin_shows_it_as_a_test(penguins: Cast, hook: Integration) -> None:
    tried(penguins.ada, hook)
    penguins.vera.is_staff = True
    penguins.vera.save()
    pages = Pages(penguins.vera)
    assert pages.shown(Execution, is_test__exact=1) == [Execution.objects.get()]
    assert pages.shown(Execution, is_test__exact=0) == []
    assert "ada tried the integration the hook" in text(
        pages.client.get(pages.change_url(Execution.objects.get()))
    )


@pytest.mark.django_db(transaction=True)
def test_in_the_admin_several_are_tried_and_each_says_what_came_back(
    penguins: Cast, httpserver: HTTPServer, hook: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the page's transaction: nobody waits for a receiver in it."""
    within: list[bool] = []
    send = delivery.try_once

    def watched(claim: Claim) -> Outcome:
        within.append(connection.in_atomic_block)
        return send(claim)

    monkeypatch.setattr(delivery, "try_once", watched)
    httpserver.expect_request("/bad").respond_with_data("no", status=500)
    bad = cast.webhook(penguins.team, httpserver.url_for("/bad"), name="bad")
    mails = integration(penguins.team, "email", name="mails")
    penguins.ada.is_staff = True
    penguins.ada.save()
    pages = Pages(penguins.ada)
    said = notes(pages.act(Integration, "try_out", [hook, bad, mails]))
    for told in (r"the hook: HTTP 201 \(\d\.\d\d s\)", r"bad: HTTP 500 \(", r"mails: sent \("):
        assert re.search(told, said), said
    assert within == [False, False, False]
    assert Execution.objects.filter(is_test=True).count() == 3

    many = [cast.webhook(penguins.team, "https://hooks.example.com/", name=name) for name in "abcdef"]
    assert "5 at most" in notes(pages.act(Integration, "try_out", many))
    assert len(within) == 3


def test_who_may_not_write_tries_nothing_in_the_admin(
    penguins: Cast, httpserver: HTTPServer, hook: Integration, django_capture_on_commit_callbacks: Any
) -> None:
    penguins.max.is_staff = True
    penguins.max.save()
    with django_capture_on_commit_callbacks(execute=True):
        Pages(penguins.max).act(Integration, "try_out", [hook])
    assert (httpserver.log, Execution.objects.count()) == ([], 0)


def test_what_failed_failed_at_once_and_is_not_tried_again(
    penguins: Cast, httpserver: HTTPServer, clock: Clock
) -> None:
    httpserver.expect_request("/busy").respond_with_data("later", status=503)
    target = cast.webhook(penguins.team, httpserver.url_for("/busy"))
    answer = tried(penguins.ada, target)
    assert (answer["ok"], answer["status"], answer["body"]) == (False, 503, "later")
    assert Execution.objects.get().state == Delivery.objects.get().state == "failed"
    clock.move(hours=100)
    cast.deliver()
    since = {"integration": target.pk, "since": "2020-01-01T00:00:00Z"}
    assert Api(penguins.ada).post("deliveries/recover/", since).json == {"requeued": 0}
    cast.deliver()
    assert len(httpserver.log) == 1


def test_it_is_sent_once_though_another_sender_looks_meanwhile(
    httpserver: HTTPServer, penguins: Cast, hook: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    post, waiting = http.post, []

    def slow(*arguments: Any, **named: Any) -> http.OutboundResponse:
        waiting.append(Delivery.objects.filter(state="pending").count())
        delivery.drain(hook.pk)
        return post(*arguments, **named)

    monkeypatch.setattr(http, "post", slow)
    assert tried(penguins.ada, hook)["ok"] is True
    assert waiting == [1], "it was there to be taken"
    assert (len(httpserver.log), Attempt.objects.count()) == (1, 1)


def test_a_message_that_had_to_wait_for_it_goes_out_afterwards(
    httpserver: HTTPServer, penguins: Cast, hook: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new receiver gets one message at a time: whoever looks meanwhile leaves it to the one who sends."""
    post, rung = http.post, []
    loss_is_high(penguins, cast.sends(hook, {"real": True}))

    def slow(*arguments: Any, **named: Any) -> http.OutboundResponse:
        monkeypatch.setattr(http, "post", post)
        delivery.drain(hook.pk)
        assert httpserver.log == []
        monkeypatch.setattr("automations.doorbell.ring_drain", lambda pk, **_later: rung.append(pk))
        return post(*arguments, **named)

    monkeypatch.setattr(http, "post", slow)
    assert tried(penguins.ada, hook)["ok"] is True
    assert rung == [hook.pk]
    delivery.drain(hook.pk)
    assert [sent["real"] for sent in bodies(httpserver) if "real" in sent] == [True]


def test_what_follows_from_it_names_it_as_the_cause(
    penguins: Cast, httpserver: HTTPServer, hook: Integration
) -> None:
    tried(penguins.ada, hook)
    [(request, _response)] = httpserver.log
    with cause.caused_by(request.headers[cause.HEADER]):
        cast.new_run(penguins.project)
        assert cause.current() == f"{Execution.objects.get().pk}/1"


def test_a_receiver_that_is_gone_ends_the_trial_and_nothing_else(
    penguins: Cast, httpserver: HTTPServer
) -> None:
    """A real message would disable the integration and be held; who tries sees the answer and decides."""
    httpserver.expect_request("/gone").respond_with_data("", status=410)
    target = cast.webhook(penguins.team, httpserver.url_for("/gone"))
    for enabled in (True, False):
        targets.set_integration_enabled(target, enabled=enabled, reason="gone")
        assert tried(penguins.ada, target)["status"] == 410
        target.refresh_from_db()
        assert target.healthy is enabled
    assert set(Delivery.objects.values_list("state", flat=True)) == {"failed"}
    assert set(Execution.objects.values_list("state", flat=True)) == {"failed"}


def test_a_disabled_integration_can_be_tried(penguins: Cast, hook: Integration) -> None:
    targets.set_integration_enabled(hook, enabled=False, reason="it was down")
    assert tried(penguins.ada, hook)["ok"] is True


def test_an_error_inside_is_an_answer_and_is_kept(
    penguins: Cast, hook: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object, **_named: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("automations.actions.http.post", broken)
    answer = tried(penguins.ada, hook)
    assert (answer["ok"], answer["status"]) == (False, None)
    assert "ZeroDivisionError" in answer["error"] == Attempt.objects.get().error
