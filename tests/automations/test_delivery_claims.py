"""Any number of senders: each delivery is sent by one of them, and a dead one is replaced."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from automations import claims, delivery
from automations.actions.base import ACTIONS, Outcome
from automations.models import Attempt, Delivery, Execution, Outlet
from automations.services.rules import ActionDraft
from tests import cast
from tests.cast import Cast, Clock, at_once, log, new_run, rule, threshold

pytestmark = pytest.mark.usefixtures("noop_is_sent")


class Sender:
    """Stands in for the action that needs no target: notes what it is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[str] = []
        monkeypatch.setattr(ACTIONS["noop"], "send", self)

    def __call__(self, row: Delivery) -> Outcome:
        self.sent.append(row.webhook_id)
        return Outcome(ok=True)


@pytest.mark.django_db(transaction=True)
def test_many_senders_send_each_delivery_once(
    penguins: Cast, monkeypatch: pytest.MonkeyPatch, rings: list[tuple[str, int | None]]
) -> None:
    rule(penguins.project, "run_metric_threshold", threshold(), period=0)
    log(new_run(penguins.project), "loss", [0.9] * 60)
    cast.decide()
    sender = Sender(monkeypatch)
    while rings:  # who has sent for a while rings for the next, and leaves
        rings.clear()
        at_once(8, lambda _worker: delivery.drain(None))
    assert len(sender.sent) == len(set(sender.sent)) == 60
    assert Counter(Delivery.objects.values_list("state", "attempt_count")) == {("succeeded", 1): 60}
    assert Attempt.objects.count() == 60
    assert set(Execution.objects.values_list("state", flat=True)) == {"finished"}


@pytest.mark.django_db(transaction=True)
def test_two_last_deliveries_that_end_together_finish_their_execution(
    penguins: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(2)

    def send(_row: Delivery) -> Outcome:
        together.wait(10)
        return Outcome(ok=True)

    actions = [ActionDraft("noop"), ActionDraft("noop")]
    rule(penguins.project, "run_metric_threshold", threshold(), actions=actions)
    log(new_run(penguins.project), "loss", [0.9])
    cast.decide()
    monkeypatch.setattr(ACTIONS["noop"], "send", send)
    Outlet.objects.create(window=2)
    at_once(2, lambda _worker: delivery.drain(None))
    assert Execution.objects.get().state == "finished"


@pytest.mark.django_db
class TestLeases:
    @pytest.fixture
    def waiting(self, penguins: Cast, clock: Clock) -> Delivery:
        rule(penguins.project, "run_metric_threshold", threshold())
        log(new_run(penguins.project), "loss", [0.9])
        cast.decide()
        return Delivery.objects.get()

    def test_a_claimed_delivery_is_nobody_elses_until_its_lease_runs_out(
        self, waiting: Delivery, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sender = Sender(monkeypatch)
        dead = claims.take(None)
        assert dead is not None
        assert dead.deliveries == [waiting]
        delivery.drain(None)
        assert sender.sent == []
        clock.move(seconds=39)
        delivery.drain(None)
        assert sender.sent == []
        clock.move(seconds=1)
        delivery.drain(None)
        assert sender.sent == [waiting.webhook_id]

    def test_the_result_of_a_lease_that_was_lost_is_thrown_away(
        self, waiting: Delivery, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first sender was taken to be dead, and comes back after the second one is done."""
        Sender(monkeypatch)
        slow = claims.take(None)
        assert slow is not None
        clock.move(minutes=5)
        delivery.drain(None)
        delivery._settle(slow, Outcome(ok=False, status=500, error="too late"))
        waiting.refresh_from_db()
        assert (waiting.state, waiting.attempt_count, waiting.tries) == ("succeeded", 1, 1)
        assert [attempt.error for attempt in waiting.attempts.all()] == [""]
        assert Execution.objects.get().state == "finished"

    def test_the_result_of_a_lease_that_is_somebody_elses_now_is_thrown_away(
        self, waiting: Delivery, clock: Clock
    ) -> None:
        slow = claims.take(None)
        clock.move(minutes=5)
        second = claims.take(None)
        assert slow is not None
        assert second is not None
        delivery._settle(slow, Outcome(ok=True))
        waiting.refresh_from_db()
        assert (waiting.state, waiting.lease) == ("pending", second.lease)
        delivery._settle(second, Outcome(ok=True))
        waiting.refresh_from_db()
        assert (waiting.state, waiting.attempt_count) == ("succeeded", 1)

    def test_a_process_that_is_alone_frees_what_its_predecessor_had_claimed(
        self, waiting: Delivery, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sender = Sender(monkeypatch)
        assert claims.take(None) is not None
        assert claims.release_leases() == 1
        delivery.drain(None)
        assert sender.sent == [waiting.webhook_id]

    def test_the_oldest_goes_first(
        self, waiting: Delivery, penguins: Cast, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock.move(seconds=1)
        log(new_run(penguins.project), "loss", [0.9])
        cast.decide()
        order = list(Delivery.objects.order_by("created_at").values_list("webhook_id", flat=True))
        sender = Sender(monkeypatch)
        delivery.drain(None)
        assert sender.sent == order
        assert len(order) == 2
