"""One receiver's pace, silence and end: what goes out when, and what is held for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from pytest_httpserver import HTTPServer

from automations import backoff, claims, delivery, outlets
from automations.actions.base import ACTIONS, Outcome
from automations.models import Delivery, DeliveryState, Execution, Integration, Outlet
from automations.services import targets
from automations.services.rules import ActionDraft
from runs.models import Run
from tests import cast
from tests.api.house import Api
from tests.automations.stories import bodies, integration
from tests.cast import Cast, Clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback")]

Rings = list[tuple[str, int | None]]


@pytest.fixture
def hook(penguins: Cast, httpserver: HTTPServer, clock: Clock) -> Integration:
    return cast.webhook(penguins.team, httpserver.url_for("/hook"))


@pytest.fixture
def run(penguins: Cast, hook: Integration) -> Run:
    """Every value of its loss makes a message to the hook."""
    actions = cast.sends(hook, {"step": "${step}"})
    cast.rule(penguins.project, "run_metric_threshold", cast.threshold(), period=0, actions=actions)
    return cast.new_run(penguins.project)


def messages(run: Run, count: int) -> None:
    cast.log(run, "loss", [0.9] * count)
    cast.decide()


def answers(server: HTTPServer, status: int, **headers: str) -> None:
    server.clear()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    server.expect_request("/hook").respond_with_data("", status=status, headers=named)


def dead(monkeypatch: pytest.MonkeyPatch, times: list[Any]) -> None:
    """The receiver takes connections and says nothing; `times` notes each try."""

    def send(row: Delivery) -> Outcome:
        times.append(row.pk)
        return Outcome(ok=False, error="no answer", silent=True)

    monkeypatch.setattr(ACTIONS["webhook"], "send", send)


def outlet(hook: Integration) -> Outlet:
    return Outlet.objects.get(integration=hook)


def is_healthy(hook: Integration) -> bool:
    return Integration.objects.get(pk=hook.pk).healthy


def states() -> list[str]:
    """Of the messages; those to the team's admins are another matter."""
    return list(Delivery.objects.exclude(type="email").order_by("pk").values_list("state", flat=True))


class TestWindow:
    def test_a_new_receiver_gets_one_message_and_more_with_every_answer(
        self, hook: Integration, run: Run, httpserver: HTTPServer
    ) -> None:
        answers(httpserver, 200)
        messages(run, 6)
        first = claims.take(hook.pk)
        assert first is not None
        assert claims.take(hook.pk) is None
        delivery._settle(first, delivery._tried(first))
        assert [claims.take(hook.pk) is not None for _try in range(3)] == [True, True, False]

    def test_never_more_than_the_integration_allows(
        self, hook: Integration, run: Run, httpserver: HTTPServer
    ) -> None:
        answers(httpserver, 200)
        hook.concurrency = 2
        targets.save_integration(hook)
        messages(run, 10)
        for _message in range(5):
            claim = claims.take(hook.pk)
            assert claim is not None
            delivery._settle(claim, delivery._tried(claim))
        assert outlet(hook).window == 2
        assert [claims.take(hook.pk) is not None for _try in range(3)] == [True, True, False]

    def test_a_lease_that_ran_out_makes_room(self, hook: Integration, run: Run, clock: Clock) -> None:
        messages(run, 2)
        assert claims.take(hook.pk) is not None
        assert claims.take(hook.pk) is None
        clock.move(seconds=41)
        assert claims.take(hook.pk) is not None

    def test_who_takes_one_of_many_calls_for_help(
        self, hook: Integration, run: Run, rings: Rings, django_capture_on_commit_callbacks: Any
    ) -> None:
        messages(run, 3)
        Outlet.objects.create(integration=hook, window=2)
        rings.clear()
        with django_capture_on_commit_callbacks(execute=True):
            claims.take(hook.pk)
        assert rings == [("drain", hook.pk)]
        rings.clear()
        with django_capture_on_commit_callbacks(execute=True):
            claims.take(hook.pk)
        assert rings == [], "there is one more, but no room"


class TestSilence:
    @pytest.fixture
    def tries(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        noted: list[Any] = []
        dead(monkeypatch, noted)
        return noted

    def test_after_a_silence_one_message_at_a_time_asks_with_growing_pauses(
        self, hook: Integration, run: Run, tries: list[Any], clock: Clock
    ) -> None:
        messages(run, 50)
        Outlet.objects.create(integration=hook, window=4)
        asked = []
        for _second in range(130):
            delivery.drain(hook.pk)
            asked.append(len(tries))
            clock.move(seconds=1)
        moments = [second for second, count in enumerate(asked) if second == 0 or count > asked[second - 1]]
        assert moments == [0, 1, 3, 7, 15, 31, 63, 123]
        assert len(tries) == len(moments), "fifty wait, and one of them asks for all"

    def test_one_bell_rings_for_each_pause(
        self,
        hook: Integration,
        run: Run,
        tries: list[Any],
        rings: Rings,
        django_capture_on_commit_callbacks: Any,
    ) -> None:
        messages(run, 20)
        with django_capture_on_commit_callbacks(execute=True):
            delivery.drain(hook.pk)
        rings.clear()
        with django_capture_on_commit_callbacks(execute=True):
            for _ring in range(10):
                delivery.drain(hook.pk)
        assert rings in ([("drain later", hook.pk)], []), "at most one, however many come too early"

    def test_an_answer_ends_it_whatever_it_says(
        self, hook: Integration, run: Run, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        dead(monkeypatch, [])
        messages(run, 3)
        delivery.drain(hook.pk)
        assert (outlet(hook).silences, outlet(hook).window) == (1, 1)
        monkeypatch.setattr(ACTIONS["webhook"], "send", lambda _row: Outcome(ok=False, status=500))
        clock.move(seconds=2)
        delivery.drain(hook.pk)
        assert outlet(hook).silences == 0
        assert outlet(hook).window > 1

    def test_pauses_are_shorter_than_the_delays_of_the_schedule(self) -> None:
        tries = range(1, len(backoff.DEFAULT_SCHEDULE))
        assert all(backoff.pause(n) < backoff.DEFAULT_SCHEDULE[n] * 0.9 for n in tries)
        assert backoff.pause(1000) == 60


class TestBusy:
    @pytest.mark.parametrize("status", [429, 503])
    def test_a_receiver_that_asks_for_time_is_left_alone(
        self, hook: Integration, run: Run, httpserver: HTTPServer, clock: Clock, status: int
    ) -> None:
        answers(httpserver, status, Retry_After="20")
        messages(run, 2)
        cast.deliver()
        assert len(httpserver.log) == 1
        clock.move(seconds=19)
        cast.deliver()
        assert len(httpserver.log) == 1
        answers(httpserver, 200)
        clock.move(seconds=2)
        cast.deliver()
        assert states() == ["succeeded", "succeeded"]

    def test_a_silence_does_not_cut_the_pause_short(
        self, hook: Integration, run: Run, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two were in flight: one was asked to wait, the other got no answer."""
        messages(run, 3)
        Outlet.objects.create(integration=hook, window=2)
        first, second = claims.take(hook.pk), claims.take(hook.pk)
        assert first is not None
        assert second is not None
        delivery._settle(first, Outcome(ok=False, status=503, retry_after=200))
        delivery._settle(second, Outcome(ok=False, error="no answer", silent=True))
        clock.move(seconds=199)
        assert claims.take(hook.pk) is None
        clock.move(seconds=2)
        assert claims.take(hook.pk) is not None

    def test_but_not_for_longer_than_five_minutes(
        self, hook: Integration, run: Run, httpserver: HTTPServer, clock: Clock
    ) -> None:
        """The message itself waits as long as it was told; the others ask whether it was meant so."""
        answers(httpserver, 429, Retry_After="7200")
        messages(run, 2)
        cast.deliver()
        answers(httpserver, 200)
        clock.move(minutes=5)
        cast.deliver()
        assert states() == ["pending", "succeeded"]
        clock.move(minutes=115)
        cast.deliver()
        assert states() == ["succeeded", "succeeded"]


class TestPace:
    def test_a_rate_is_kept(self, hook: Integration, run: Run, httpserver: HTTPServer, clock: Clock) -> None:
        answers(httpserver, 200)
        hook.rate = 2
        targets.save_integration(hook)
        messages(run, 12)
        sent = []
        for _tenth in range(31):
            cast.deliver()
            sent.append(len(httpserver.log))
            clock.move(seconds=0.1)
        assert [sent[0], sent[9], sent[10], sent[30]] == [1, 2, 3, 7]

    def test_pauses_grow_under_a_rate_too(
        self, hook: Integration, run: Run, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        tries: list[Any] = []
        dead(monkeypatch, tries)
        hook.rate = 0.5
        targets.save_integration(hook)
        messages(run, 12)
        asked = []
        for _second in range(40):
            delivery.drain(hook.pk)
            asked.append(len(tries))
            clock.move(seconds=1)
        moments = [second for second, count in enumerate(asked) if second == 0 or count > asked[second - 1]]
        assert moments == [0, 2, 4, 8, 16, 32]

    def test_without_one_there_is_no_limit(self, hook: Integration, run: Run, httpserver: HTTPServer) -> None:
        answers(httpserver, 200)
        messages(run, 12)
        cast.deliver()
        assert len(httpserver.log) == 12


class TestSlack:
    @pytest.fixture
    def channel(self, penguins: Cast, httpserver: HTTPServer, clock: Clock) -> Integration:
        httpserver.expect_request("/chat").respond_with_data("ok")
        return integration(penguins.team, "slack", url=httpserver.url_for("/chat"))

    @pytest.fixture
    def chatty(self, penguins: Cast, channel: Integration) -> Run:
        draft = ActionDraft("slack", channel, {"title": "step ${step} <!channel>", "severity": "warn"})
        config = cast.threshold()
        cast.rule(penguins.project, "run_metric_threshold", config, period=0, actions=[draft])
        return cast.new_run(penguins.project)

    def test_one_message_per_second_and_the_overflow_is_merged(
        self, chatty: Run, httpserver: HTTPServer, clock: Clock
    ) -> None:
        messages(chatty, 1)
        cast.deliver()
        messages(chatty, 3)
        cast.deliver()
        assert len(bodies(httpserver)) == 1
        clock.move(seconds=1)
        cast.deliver()
        first, second = bodies(httpserver)
        assert second["text"].startswith("3 messages")
        for step in (1, 2, 3):
            assert f"step {step} " in second["text"]
        assert len(second["blocks"]) <= 50
        assert len(second["blocks"]) > 3 * (len(first["blocks"]) - 1), "they keep all their blocks"
        assert states() == ["succeeded"] * 4

    def test_a_hundred_become_a_list_and_none_is_dropped(
        self, chatty: Run, httpserver: HTTPServer, clock: Clock
    ) -> None:
        for _batch in range(3):
            messages(chatty, 100)
        for _second in range(3):
            cast.deliver()
            clock.move(seconds=1)
        assert len(bodies(httpserver)) == 3
        listed = "\n".join(text["text"]["text"] for body in bodies(httpserver) for text in body["blocks"][1:])
        assert all(f"step {step} " in listed for step in range(300))
        assert "<!channel>" not in listed
        for body in bodies(httpserver):
            assert len(body["text"]) <= 40_000
            assert len(body["blocks"]) <= 50
            assert all(len(block["text"]["text"]) <= 3000 for block in body["blocks"])
        assert set(states()) == {"succeeded"}

    def test_what_was_sent_together_is_tried_again_and_recorded_for_each(
        self, chatty: Run, httpserver: HTTPServer, clock: Clock
    ) -> None:
        messages(chatty, 2)
        httpserver.clear()
        httpserver.expect_request("/chat").respond_with_data("", status=500)
        cast.deliver()
        assert states() == ["pending", "pending"]
        rows = Delivery.objects.order_by("pk")
        requests = [row.attempts.get().request["body"] for row in rows]
        assert requests[0] == requests[1]
        assert "2 messages" in requests[0]
        httpserver.clear()
        httpserver.expect_request("/chat").respond_with_data("ok")
        clock.move(seconds=6)
        cast.deliver()
        assert states() == ["succeeded", "succeeded"]
        assert len(httpserver.log) == 1

    def test_it_gives_up_earlier_than_a_webhook(
        self, chatty: Run, httpserver: HTTPServer, clock: Clock
    ) -> None:
        httpserver.clear()
        httpserver.expect_request("/chat").respond_with_data("", status=500)
        messages(chatty, 1)
        for _try in range(12):
            cast.deliver()
            clock.move(hours=3)
        assert len(httpserver.log) == len(backoff.CHAT_SCHEDULE) < len(backoff.DEFAULT_SCHEDULE)
        assert states() == ["failed"]


class TestTheEnd:
    def test_gone_disables_at_once_and_holds_everything(
        self, hook: Integration, run: Run, httpserver: HTTPServer, clock: Clock
    ) -> None:
        answers(httpserver, 410)
        messages(run, 3)
        cast.deliver()
        hook.refresh_from_db()
        assert not is_healthy(hook)
        assert "410" in hook.why_disabled
        assert len(httpserver.log) == 1
        assert states() == ["held", "held", "held"]
        assert Delivery.objects.order_by("pk")[0].attempts.get().status_code == 410

        answers(httpserver, 200)
        targets.set_integration_enabled(hook, enabled=True)
        cast.deliver()
        assert states() == ["succeeded", "succeeded", "succeeded"]

    def failing(self, run: Run, clock: Clock, *, days: float) -> None:
        """Messages that fail, one every six hours."""
        for _quarter in range(int(days * 4)):
            messages(run, 1)
            cast.deliver()
            clock.move(hours=6)

    def test_five_days_without_a_success_disable_it(
        self, hook: Integration, run: Run, httpserver: HTTPServer, clock: Clock
    ) -> None:
        answers(httpserver, 500)
        self.failing(run, clock, days=5)
        assert is_healthy(hook)
        messages(run, 1)
        cast.deliver()
        hook.refresh_from_db()
        assert not is_healthy(hook)
        assert "5 days" in hook.why_disabled
        assert "held" in states()
        assert "pending" not in states()

    def test_two_failures_with_days_between_them_do_not(
        self, hook: Integration, run: Run, httpserver: HTTPServer, clock: Clock
    ) -> None:
        """A message a week, and the first and the second were refused."""
        answers(httpserver, 400)
        for _week in range(2):
            messages(run, 1)
            cast.deliver()
            clock.move(hours=7 * 24)
        assert outlet(hook).failures == 2
        assert is_healthy(hook)

    def test_one_success_in_between_starts_the_count_anew(
        self, hook: Integration, run: Run, httpserver: HTTPServer, clock: Clock
    ) -> None:
        answers(httpserver, 400)
        self.failing(run, clock, days=4)
        answers(httpserver, 200)
        self.failing(run, clock, days=0.25)
        answers(httpserver, 400)
        self.failing(run, clock, days=4.75)
        assert is_healthy(hook)

    def test_who_enables_it_gives_it_five_more_days(
        self, hook: Integration, run: Run, httpserver: HTTPServer, clock: Clock
    ) -> None:
        answers(httpserver, 400)
        self.failing(run, clock, days=5.5)
        assert not is_healthy(hook)
        targets.set_integration_enabled(hook, enabled=True)
        self.failing(run, clock, days=1)
        assert is_healthy(hook)
        assert outlet(hook).failing_since is not None

    @pytest.fixture
    def disabled(self, hook: Integration, run: Run, httpserver: HTTPServer, clock: Clock) -> Integration:
        answers(httpserver, 410)
        messages(run, 1)
        cast.deliver()
        hook.refresh_from_db()
        return hook

    def test_the_teams_admins_are_told_by_e_mail(self, disabled: Integration) -> None:
        delivery.drain(None)
        (letter,) = mail.outbox
        assert letter.to == ["ada@example.com"], "max is a member, and vera only looks"
        assert "hook" in letter.subject
        assert "410" in letter.body
        assert f"/admin/automations/integration/{disabled.pk}/change/" in letter.body

    def test_and_it_stands_in_the_history_and_on_the_integration(
        self, penguins: Cast, disabled: Integration
    ) -> None:
        api = Api(penguins.vera)
        (newest, *_others) = api.listed("executions/")
        assert newest["event_type"] == "integration_disabled"
        assert "410" in newest["explanation"]["text"]
        shown = api.get(f"integrations/{disabled.pk}/").json
        assert shown["healthy"] is False
        assert "410" in shown["disabled_reason"]
        assert shown["failing_since"] is not None

    def test_once_however_many_are_in_flight(
        self, hook: Integration, run: Run, httpserver: HTTPServer, clock: Clock
    ) -> None:
        answers(httpserver, 410)
        messages(run, 3)
        Outlet.objects.create(integration=hook, window=4)
        in_flight = [claims.take(hook.pk) for _message in range(3)]
        for claim in in_flight:
            assert claim is not None
            delivery._settle(claim, delivery._tried(claim))
        assert Execution.objects.filter(event_type="integration_disabled").count() == 1
        assert states()[:3] == ["held"] * 3

    def test_where_nobody_can_be_told_the_history_has_it_all_the_same(
        self, penguins: Cast, hook: Integration, run: Run, httpserver: HTTPServer
    ) -> None:
        penguins.ada.email = ""
        penguins.ada.save()
        answers(httpserver, 410)
        messages(run, 1)
        cast.deliver()
        told = Execution.objects.get(event_type="integration_disabled")
        assert (told.state, told.deliveries.count()) == ("finished", 0)

    def test_what_an_admin_has_open_meanwhile_does_not_enable_it_again(
        self, penguins: Cast, hook: Integration, run: Run, httpserver: HTTPServer, clock: Clock
    ) -> None:
        stale = Integration.objects.get(pk=hook.pk)
        answers(httpserver, 410)
        messages(run, 1)
        cast.deliver()
        stale.name = "renamed"
        targets.save_integration(stale)
        hook.refresh_from_db()
        assert (hook.name, hook.healthy) == ("renamed", False)


def test_an_outlet_of_a_deleted_integration_is_nobody(hook: Integration, run: Run) -> None:
    messages(run, 1)
    number = hook.pk
    Delivery.objects.update(integration=None)
    run.project.automations.all().delete()
    targets.delete_target(hook)
    assert claims.take(number) is None
    assert outlets.lock(number) is None


def test_recovering_thousands_leaves_others_room_between_portions(
    penguins: Cast,
    hook: Integration,
    run: Run,
    rings: Rings,
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
    django_capture_on_commit_callbacks: Any,
) -> None:
    monkeypatch.setattr(outlets, "PORTION", 10)
    messages(run, 35)
    Delivery.objects.update(state=DeliveryState.FAILED, next_at=None, tries=10)
    Execution.objects.update(state="failed")
    rings.clear()
    with django_capture_on_commit_callbacks(execute=True):
        assert delivery.requeue(Delivery.objects.filter(integration=hook)) == 35
    assert rings == [("drain", hook.pk)] * 4
    assert set(states()) == {"pending"}
    assert set(Execution.objects.values_list("state", flat=True)) == {"pending"}
    assert Delivery.objects.filter(next_at=clock(), tries=0).count() == 35
    assert claims.due(clock() + timedelta(seconds=1)).count() == 35


def test_what_arrived_meanwhile_is_not_recovered(hook: Integration, run: Run) -> None:
    """Two people recover the same; the second saw it failed, and it has arrived by now."""
    messages(run, 2)
    arrived, failed = Delivery.objects.order_by("pk")
    Delivery.objects.filter(pk=arrived.pk).update(state="succeeded", next_at=None)
    Delivery.objects.filter(pk=failed.pk).update(state="failed", next_at=None)
    Execution.objects.filter(pk=arrived.execution_id).update(state="finished")
    assert delivery._requeue([arrived.pk, failed.pk], {hook.pk}) == 1
    assert states() == ["succeeded", "pending"]
    assert Execution.objects.get(pk=arrived.execution_id).state == "finished"


def test_a_kind_of_action_that_is_gone_holds_up_nobody(
    hook: Integration, run: Run, httpserver: HTTPServer
) -> None:
    """An extension was removed while its messages waited."""
    answers(httpserver, 200)
    messages(run, 2)
    gone = Delivery.objects.order_by("pk")[0]
    Delivery.objects.filter(pk=gone.pk).update(type="chime")
    cast.deliver()
    assert states() == ["failed", "succeeded"]
    assert "not installed" in gone.attempts.get().error


def test_a_mail_that_takes_its_time_is_not_sent_twice(penguins: Cast, clock: Clock) -> None:
    """A hundred recipients at a slow server: longer than any webhook may take."""
    cast.rule(
        penguins.project,
        "run_metric_threshold",
        cast.threshold(),
        actions=[ActionDraft("email", None, {"to": ["ada"]})],
    )
    messages(cast.new_run(penguins.project), 1)
    slow = claims.take(None)
    assert slow is not None
    clock.move(minutes=4)
    delivery.drain(None)
    assert mail.outbox == []
    delivery._settle(slow, Outcome(ok=True))
    assert list(Delivery.objects.values_list("state", "attempt_count")) == [("succeeded", 1)]
