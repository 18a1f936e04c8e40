"""From a met condition to a request that really arrives at an HTTP server on loopback."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings
from pytest_httpserver import HTTPServer
from standardwebhooks import Webhook
from werkzeug import Request, Response

from automations import vault
from automations.delivery import requeue
from automations.models import Attempt, Delivery, Execution
from automations.services import targets
from automations.services.rules import ActionDraft, save_automation
from runs.models import Run
from tests import cast
from tests.cast import Cast, Clock, log, new_run, rule, threshold

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback")]

SIGNING_KEY = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
ACCESS_TOKEN = 'token "with" \\ marks'


def received(server: HTTPServer) -> list[Request]:
    return [request for request, _response in server.log]


def met(who: Cast, actions: list[ActionDraft], *, times: int = 1) -> Execution:
    """A rule with these actions, a run that meets its condition, and the decision."""
    automation = rule(who.project, "run_metric_threshold", threshold("loss", "above", 0.6), actions=actions)
    log(new_run(who.project, user=who.ada, name='say "${run_id}"\n'.strip()), "loss", [0.75], first_step=41)
    cast.decide()
    return automation.executions.get()


PAYLOAD = {
    "text": "${run_name}: ${metric_name} = ${metric_value} (${metric_filter})",
    "step": "${step}",
    "key": "Bearer ${TOKEN}",
    "none": "${registry_name}",
    "deep": [{"${run_name}": "${metric_values}"}],
}


@pytest.fixture
def hook(penguins: Cast, httpserver: HTTPServer) -> Any:
    """An integration with both secrets that points at the server."""
    return cast.webhook(
        penguins.team,
        httpserver.url_for("/hook?secret=in-the-url"),
        access_token=cast.secret(penguins.team, "TOKEN", ACCESS_TOKEN),
        signing_secret=cast.secret(penguins.team, "SIGNING", SIGNING_KEY),
    )


def test_a_met_threshold_arrives_signed_in_both_ways(
    penguins: Cast, httpserver: HTTPServer, hook: Any
) -> None:
    httpserver.expect_request("/hook", method="POST").respond_with_data("thanks")
    execution = met(penguins, cast.sends(hook, PAYLOAD))
    cast.deliver()

    (request,) = received(httpserver)
    assert json.loads(request.data) == {
        "text": 'say "${run_id}": loss = 0.75 (loss > 0.6)',
        "step": 41,
        "key": f"Bearer {ACCESS_TOKEN}",
        "none": "",
        "deep": [{"${run_name}": [0.75]}],
    }
    assert Webhook(SIGNING_KEY).verify(request.data, dict(request.headers)) == json.loads(request.data)
    key = Webhook(SIGNING_KEY)._whsecret
    assert request.headers["X-Wandb-Signature"] == hmac.new(key, request.data, hashlib.sha256).hexdigest()
    assert request.headers["Authorization"] == f"Bearer {ACCESS_TOKEN}"
    assert request.headers["Content-Type"] == "application/json"

    delivery = execution.deliveries.get()
    assert request.headers["webhook-id"] == delivery.webhook_id
    assert (delivery.state, delivery.attempt_count) == ("succeeded", 1)
    execution.refresh_from_db()
    assert execution.state == "finished"
    assert execution.finished_at is not None
    attempt = delivery.attempts.get()
    assert (attempt.number, attempt.status_code, attempt.response, attempt.error) == (1, 200, "thanks", "")


def test_without_secrets_it_is_a_plain_post(penguins: Cast, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/hook").respond_with_data("", status=204)
    met(penguins, cast.sends(cast.webhook(penguins.team, httpserver.url_for("/hook"))))
    cast.deliver()
    (request,) = received(httpserver)
    assert request.data == b"{}"
    assert "webhook-signature" not in request.headers
    assert "Authorization" not in request.headers
    assert request.headers["webhook-id"].startswith("msg_")
    assert Delivery.objects.get().state == "succeeded"


def test_during_a_rotation_either_key_verifies(penguins: Cast, httpserver: HTTPServer, hook: Any) -> None:
    httpserver.expect_request("/hook").respond_with_data("")
    hook.signing_secret_previous = cast.secret(penguins.team, "OLD", "whsec_b2xkb2xkb2xkb2xkb2xkb2xkb2xk")
    targets.save_integration(hook)
    met(penguins, cast.sends(hook))
    cast.deliver()
    (request,) = received(httpserver)
    for key in (SIGNING_KEY, "whsec_b2xkb2xkb2xkb2xkb2xkb2xkb2xk"):
        assert Webhook(key).verify(request.data, dict(request.headers)) == {}


def test_every_attempt_sends_the_same_body_under_the_same_id(
    penguins: Cast, httpserver: HTTPServer, hook: Any, clock: Clock
) -> None:
    """Whatever is renamed or edited in between."""
    answers = iter([500, 503, 200])
    httpserver.expect_request("/hook").respond_with_handler(
        lambda _request: Response("", status=next(answers))
    )
    execution = met(penguins, cast.sends(hook, PAYLOAD))
    automation = execution.automation
    assert automation is not None
    cast.deliver()

    Run.objects.update(name="renamed")
    automation.name = "renamed"
    save_automation(automation, scope=penguins.project, actions=cast.sends(hook, {"quite": "different"}))
    for _attempt in range(2):
        clock.move(hours=1)
        cast.deliver()

    requests = received(httpserver)
    assert len(requests) == 3
    assert len({request.data for request in requests}) == 1
    assert len({request.headers["webhook-id"] for request in requests}) == 1
    delivery = execution.deliveries.get()
    assert (delivery.state, delivery.attempt_count) == ("succeeded", 3)
    attempts = list(delivery.attempts.values_list("number", "status_code"))
    assert attempts == [(1, 500), (2, 503), (3, 200)]


def test_failures_are_tried_again_by_the_schedule_and_then_given_up(
    penguins: Cast, httpserver: HTTPServer, hook: Any, clock: Clock
) -> None:
    httpserver.expect_request("/hook").respond_with_data("no", status=500)
    execution = met(penguins, cast.sends(hook))
    waits = []
    for _attempt in range(10):
        cast.deliver()
        cast.deliver()  # before its time nothing is due
        delivery = Delivery.objects.get()
        if delivery.next_at is None:
            break
        waits.append((delivery.next_at - clock()).total_seconds())
        clock.moment = delivery.next_at
    expected = [5, 300, 1800, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600]
    assert len(received(httpserver)) == 10
    assert all(0.9 * plan <= wait <= 1.1 * plan for wait, plan in zip(waits, expected, strict=True))
    assert (delivery.state, delivery.attempt_count, delivery.lease) == ("failed", 10, None)
    execution.refresh_from_db()
    assert execution.state == "failed"


def test_a_receiver_may_ask_for_more_time(
    penguins: Cast, httpserver: HTTPServer, hook: Any, clock: Clock
) -> None:
    httpserver.expect_request("/hook").respond_with_data("", status=429, headers={"Retry-After": "3600"})
    met(penguins, cast.sends(hook))
    cast.deliver()
    delivery = Delivery.objects.get()
    assert delivery.next_at is not None
    assert (delivery.next_at - clock()).total_seconds() == 3600


@pytest.mark.parametrize("status", [301, 302, 400, 401, 404, 422])
def test_what_another_try_cannot_help_is_final(
    penguins: Cast, httpserver: HTTPServer, hook: Any, status: int
) -> None:
    httpserver.expect_request("/hook").respond_with_data(
        "no", status=status, headers={"Location": httpserver.url_for("/elsewhere")}
    )
    execution = met(penguins, cast.sends(hook))
    cast.deliver()
    delivery = execution.deliveries.get()
    assert (delivery.state, delivery.attempt_count, delivery.next_at) == ("failed", 1, None)
    execution.refresh_from_db()
    assert execution.state == "failed"
    assert [request.path for request in received(httpserver)] == ["/hook"]


def test_nobody_at_the_other_end_is_worth_another_try(penguins: Cast, clock: Clock) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        met(penguins, cast.sends(cast.webhook(penguins.team, f"http://127.0.0.1:{port}/")))
        cast.deliver()
    delivery = Delivery.objects.get()
    attempt = delivery.attempts.get()
    assert (delivery.state, attempt.status_code) == ("pending", None)
    assert attempt.error
    assert delivery.next_at is not None
    assert delivery.next_at > clock()


def test_no_record_holds_a_secret_whatever_the_receiver_says(
    penguins: Cast, httpserver: HTTPServer, hook: Any
) -> None:
    def echo(request: Request) -> Response:
        text = f"{request.data.decode()} {request.headers['Authorization']} {SIGNING_KEY} {request.url}"
        return Response(text, status=400)

    httpserver.expect_request("/hook").respond_with_handler(echo)
    met(penguins, cast.sends(hook, PAYLOAD))
    cast.deliver()
    (request,) = received(httpserver)
    assert json.dumps(ACCESS_TOKEN)[1:-1] in request.data.decode(), "it was really sent"

    stored = [
        text
        for model in (Delivery, Attempt, Execution)
        for row in model.objects.values()
        for text in (str(value) for value in row.values())
    ]
    stored += [json.dumps(attempt.request) for attempt in Attempt.objects.all()]
    for secret in (ACCESS_TOKEN, json.dumps(ACCESS_TOKEN)[1:-1], SIGNING_KEY, "in-the-url"):
        assert not [text for text in stored if secret in text]
    attempt = Attempt.objects.get()
    assert "[redacted]" in attempt.response
    assert attempt.request["headers"]["Authorization"] == "Bearer [redacted]"


def test_a_failed_delivery_can_be_sent_again_under_its_own_id(
    penguins: Cast,
    httpserver: HTTPServer,
    hook: Any,
    rings: list[tuple[str, int | None]],
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    answers = iter([404, 500, 200])
    httpserver.expect_request("/hook").respond_with_handler(
        lambda _request: Response("", status=next(answers))
    )
    execution = met(penguins, cast.sends(hook))
    cast.deliver()
    rings.clear()
    with django_capture_on_commit_callbacks(execute=True):
        assert requeue(execution.deliveries.all()) == 1
    assert rings == [("drain", hook.pk)]
    execution.refresh_from_db()
    assert (execution.state, execution.finished_at) == ("pending", None)

    cast.deliver()
    delivery = execution.deliveries.get()
    assert (delivery.state, delivery.tries, delivery.attempt_count) == ("pending", 1, 2)
    Delivery.objects.update(next_at=delivery.created_at)
    cast.deliver()
    execution.refresh_from_db()
    assert execution.state == "finished"
    assert len({request.headers["webhook-id"] for request in received(httpserver)}) == 1
    assert list(delivery.attempts.values_list("number", flat=True)) == [1, 2, 3]


def test_what_arrived_or_waits_is_not_sent_again(penguins: Cast, httpserver: HTTPServer, hook: Any) -> None:
    httpserver.expect_request("/hook").respond_with_data("")
    execution = met(penguins, cast.sends(hook))
    assert requeue(execution.deliveries.all()) == 0
    cast.deliver()
    assert requeue(execution.deliveries.all()) == 0
    cast.deliver()
    assert len(received(httpserver)) == 1


def test_a_secret_that_cannot_be_read_is_never_sent_as_it_is(
    penguins: Cast, httpserver: HTTPServer, hook: Any, settings: Settings, clock: Clock
) -> None:
    httpserver.expect_request("/hook").respond_with_data("")
    met(penguins, cast.sends(hook, PAYLOAD))
    keys = settings.TRIPLINE_SECRET_KEYS
    settings.TRIPLINE_SECRET_KEYS = [Fernet.generate_key().decode()]
    cast.deliver()
    assert received(httpserver) == []
    delivery = Delivery.objects.get()
    assert delivery.state == "pending", "an operator can add the key"
    assert "TRIPLINE_SECRET_KEYS" in delivery.attempts.get().error

    settings.TRIPLINE_SECRET_KEYS = [Fernet.generate_key().decode(), *keys]
    clock.move(hours=1)
    cast.deliver()
    assert len(received(httpserver)) == 1
    assert vault.decrypt(vault.encrypt("new")) == "new"


def test_a_secret_that_the_payload_names_and_the_integration_lost_is_said(
    penguins: Cast, httpserver: HTTPServer, hook: Any
) -> None:
    httpserver.expect_request("/hook").respond_with_data("")
    met(penguins, cast.sends(hook, PAYLOAD))
    hook.access_token = cast.secret(penguins.team, "ANOTHER", "other")
    targets.save_integration(hook)
    cast.deliver()
    assert received(httpserver) == []
    delivery = Delivery.objects.get()
    assert delivery.state == "failed", "no other try brings the name back"
    assert "TOKEN" in delivery.attempts.get().error


def test_a_message_that_grows_too_large_fails_alone_and_stops_nothing(
    penguins: Cast, httpserver: HTTPServer, hook: Any
) -> None:
    httpserver.expect_request("/hook").respond_with_data("")
    payload = {"text": "${run_name}" * 20_000}
    actions = [*cast.sends(hook, payload), *cast.sends(hook, {"small": "${run_name}"})]
    automation = rule(penguins.project, "run_metric_threshold", threshold(), actions=actions)
    run = new_run(penguins.project, name="n" * 250)
    log(run, "loss", [0.9])
    log(run, "loss", [0.1])
    cast.decide()
    cast.deliver()
    states = list(Delivery.objects.order_by("pk").values_list("state", flat=True))
    assert states == ["failed", "succeeded"]
    assert "characters" in Delivery.objects.earliest("pk").attempts.get().error
    assert automation.executions.get().state == "failed"
    assert json.loads(received(httpserver)[0].data) == {"small": "n" * 250}

    requeue(Delivery.objects.all())
    cast.deliver()
    assert len(received(httpserver)) == 1, "there is nothing to send"
    assert Delivery.objects.earliest("pk").state == "failed"


def test_several_actions_are_sent_each_for_itself(penguins: Cast, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/good").respond_with_data("")
    httpserver.expect_request("/bad").respond_with_data("", status=400)
    good, bad = (
        cast.webhook(penguins.team, httpserver.url_for(f"/{name}"), name=name) for name in ("good", "bad")
    )
    execution = met(penguins, [*cast.sends(bad), *cast.sends(good), ActionDraft("noop")])
    assert execution.state == "pending"
    cast.deliver()
    states = execution.deliveries.order_by("pk").values_list("type", "state")
    assert list(states) == [("webhook", "failed"), ("webhook", "succeeded"), ("noop", "succeeded")]
    execution.refresh_from_db()
    assert execution.state == "failed"


def test_an_execution_waits_for_its_last_delivery(penguins: Cast, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/good").respond_with_data("")
    httpserver.expect_request("/later").respond_with_data("", status=500)
    actions = [
        *cast.sends(cast.webhook(penguins.team, httpserver.url_for("/good"), name="good")),
        *cast.sends(cast.webhook(penguins.team, httpserver.url_for("/later"), name="later")),
    ]
    execution = met(penguins, actions)
    cast.deliver()
    execution.refresh_from_db()
    assert (execution.state, execution.finished_at) == ("pending", None)


def test_a_rule_without_actions_is_finished_when_it_is_decided(penguins: Cast) -> None:
    execution = met(penguins, [])
    assert execution.state == "finished"
    assert execution.finished_at == execution.created_at


def test_an_error_inside_an_action_is_an_outcome_and_not_the_end(
    penguins: Cast, hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from automations.actions.base import ACTIONS

    def broken(_delivery: Delivery) -> None:
        raise ZeroDivisionError("with a secret in it")

    met(penguins, cast.sends(hook))
    monkeypatch.setattr(ACTIONS["webhook"], "send", broken)
    cast.deliver()
    delivery = Delivery.objects.get()
    assert delivery.state == "pending"
    error = delivery.attempts.get().error
    assert "ZeroDivisionError" in error
    assert "secret" not in error


def test_a_private_target_is_refused_before_any_connection(
    penguins: Cast, httpserver: HTTPServer, hook: Any, settings: Settings
) -> None:
    httpserver.expect_request("/hook").respond_with_data("")
    met(penguins, cast.sends(hook))
    settings.TRIPLINE_ALLOW_PRIVATE_TARGETS = []
    cast.deliver()
    assert received(httpserver) == []
    assert Delivery.objects.get().attempts.get().error
