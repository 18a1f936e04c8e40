"""Messages of one action about one thing: as soon as they can, one after the other, or only the latest."""

from __future__ import annotations

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from automations import claims, delivery, evaluation
from automations.models import Automation, Delivery, Event, Execution, Integration
from automations.services import targets
from automations.services.rules import ActionDraft, save_automation
from automations.testfire import fire_by_hand
from registry.models import ArtifactVersion, Collection
from registry.services.collections import set_alias
from registry.services.versions import create_version
from runs.models import RunStatus
from runs.services.runs import set_status
from tests import cast
from tests.cast import Cast, Clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback")]


class Receiver:
    """Answers each message as told by what it says ("production v2"), by default with 200."""

    def __init__(self, server: HTTPServer) -> None:
        self.answers: dict[str, int] = {}
        self.accepted: list[str] = []
        self.asked: list[str] = []
        server.expect_request("/hook").respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        text = request.get_json()["text"]
        status = self.answers.get(text, 200)
        self.asked.append(text)
        if status < 300:
            self.accepted.append(text)
        return Response("", status=status)


@pytest.fixture
def receiver(httpserver: HTTPServer) -> Receiver:
    return Receiver(httpserver)


@pytest.fixture
def hook(penguins: Cast, httpserver: HTTPServer) -> Integration:
    return cast.webhook(penguins.team, httpserver.url_for("/hook"))


def says(hook: Integration, order: str, text: str = "${alias} ${artifact_version_string}") -> ActionDraft:
    return ActionDraft("webhook", hook, {"payload": {"text": text}, "order": order})


def watches_moves(who: Cast, hook: Integration, order: str) -> Automation:
    return cast.rule(
        who.project, "alias_added", {"alias": "^(production|staging)$"}, actions=[says(hook, order)]
    )


def fish_with_versions(who: Cast, *, count: int = 4, name: str = "fish") -> list[ArtifactVersion]:
    fish = cast.collection(who.project, name)
    return [create_version(fish, actor=None)[0] for _number in range(count)]


def move(alias: str, *versions: ArtifactVersion) -> None:
    """The alias goes to each of these versions in turn, and each time is decided."""
    for version in versions:
        set_alias(Collection.objects.get(pk=version.home_id), alias, version, actor=None)
        cast.decide()


def deliver(clock: Clock, *, rounds: int = 1, seconds: float = 0) -> None:
    for _round in range(rounds):
        clock.move(seconds=seconds)
        cast.deliver()


def states() -> dict[str, str]:
    """The state of each message by what it says."""
    rows = Delivery.objects.order_by("pk")
    return {row.body.split('"')[3]: row.state for row in rows}


class TestAny:
    def test_a_message_that_fails_holds_up_none_behind_it(
        self, penguins: Cast, hook: Integration, receiver: Receiver, clock: Clock
    ) -> None:
        watches_moves(penguins, hook, "any")
        v0, v1, v2, _v3 = fish_with_versions(penguins)
        receiver.answers["production v0"] = 500
        move("production", v0, v1, v2)
        deliver(clock)
        assert receiver.accepted == ["production v1", "production v2"]
        receiver.answers.clear()
        deliver(clock, seconds=6)
        assert receiver.accepted[-1] == "production v0", "that is why there are other orders"

    def test_it_is_the_default(self, penguins: Cast, hook: Integration) -> None:
        made = cast.rule(penguins.project, "alias_added", {"alias": "x"}, actions=cast.sends(hook))
        assert made.actions.get().config["order"] == "any"


class TestOrdered:
    @pytest.fixture
    def moved(
        self, penguins: Cast, hook: Integration, receiver: Receiver, clock: Clock
    ) -> list[ArtifactVersion]:
        """v0, v1, v2 were production, and the receiver has trouble with the first."""
        watches_moves(penguins, hook, "ordered")
        versions = fish_with_versions(penguins)
        receiver.answers["production v0"] = 500
        move("production", *versions[:3])
        return versions

    def test_each_waits_until_the_one_before_it_has_arrived(
        self, moved: list[ArtifactVersion], receiver: Receiver, clock: Clock
    ) -> None:
        deliver(clock)
        assert receiver.asked == ["production v0"]
        deliver(clock, rounds=3, seconds=1)
        assert receiver.asked == ["production v0"], "nobody overtakes what is tried again later"
        receiver.answers.clear()
        deliver(clock, seconds=6)
        assert receiver.accepted == ["production v0", "production v1", "production v2"]
        assert set(Execution.objects.values_list("state", flat=True)) == {"finished"}

    def test_or_has_finally_failed(
        self, moved: list[ArtifactVersion], receiver: Receiver, clock: Clock
    ) -> None:
        receiver.answers["production v0"] = 400
        deliver(clock)
        assert receiver.accepted == ["production v1", "production v2"]
        assert states()["production v0"] == "failed"

    def test_another_collection_does_not_wait(
        self, penguins: Cast, moved: list[ArtifactVersion], receiver: Receiver, clock: Clock
    ) -> None:
        move("staging", moved[3])
        krill = fish_with_versions(penguins, name="krill")
        move("production", krill[3])
        deliver(clock)
        assert receiver.asked == ["production v0", "production v3"]
        assert states()["staging v3"] == "pending", "it is of the same collection"

    def test_one_that_is_sent_again_takes_its_place_before_those_that_wait(
        self, moved: list[ArtifactVersion], receiver: Receiver, clock: Clock
    ) -> None:
        receiver.answers["production v0"] = 400
        receiver.answers["production v1"] = 500
        deliver(clock)
        receiver.answers.clear()
        assert states() == {
            "production v0": "failed",
            "production v1": "pending",
            "production v2": "pending",
        }
        delivery.requeue(Delivery.objects.all())
        deliver(clock, rounds=2, seconds=6)
        assert receiver.accepted == ["production v0", "production v1", "production v2"]


class TestLatestOnly:
    @pytest.fixture
    def versions(self, penguins: Cast, hook: Integration, clock: Clock) -> list[ArtifactVersion]:
        watches_moves(penguins, hook, "latest_only")
        return fish_with_versions(penguins)

    def test_what_is_overtaken_before_it_goes_out_is_not_sent(
        self, versions: list[ArtifactVersion], receiver: Receiver, clock: Clock
    ) -> None:
        move("production", *versions)
        deliver(clock)
        assert receiver.asked == ["production v3"]
        assert list(states().values()) == ["superseded"] * 3 + ["succeeded"]
        assert set(Execution.objects.values_list("state", flat=True)) == {"finished"}

    def test_what_is_overtaken_while_it_waits_for_its_next_try_is_not_tried_again(
        self, versions: list[ArtifactVersion], receiver: Receiver, clock: Clock
    ) -> None:
        receiver.answers["production v0"] = 500
        move("production", versions[0])
        deliver(clock)
        move("production", versions[1])
        deliver(clock)
        receiver.answers.clear()
        deliver(clock, rounds=5, seconds=3600)
        assert receiver.asked == ["production v0", "production v1"]
        assert states() == {"production v0": "superseded", "production v1": "succeeded"}

    def test_it_waits_for_the_one_in_flight_and_goes_out_behind_it(
        self, versions: list[ArtifactVersion], hook: Integration, receiver: Receiver, clock: Clock
    ) -> None:
        move("production", versions[0])
        in_flight = claims.take(hook.pk)
        assert in_flight is not None
        hook.outlet.window = 4
        hook.outlet.save()
        move("production", versions[1])
        deliver(clock)
        assert receiver.asked == []
        delivery._settle(in_flight, delivery._tried(in_flight))
        deliver(clock)
        assert receiver.accepted == ["production v0", "production v1"]

    def test_a_sender_that_dies_with_the_older_one_leaves_the_newer_its_turn(
        self, versions: list[ArtifactVersion], hook: Integration, receiver: Receiver, clock: Clock
    ) -> None:
        move("production", versions[0])
        assert claims.take(hook.pk) is not None
        move("production", versions[1])
        deliver(clock)
        assert receiver.asked == []
        deliver(clock, seconds=41)
        assert receiver.asked == ["production v1"]
        assert states() == {"production v0": "superseded", "production v1": "succeeded"}

    def test_one_that_is_made_late_does_not_overtake(
        self, versions: list[ArtifactVersion], receiver: Receiver, clock: Clock
    ) -> None:
        """As if its worker had slept between deciding and writing."""
        move("production", versions[0], versions[1])
        late = Delivery.objects.get(body__contains="v0")
        Delivery.objects.filter(pk=late.pk).update(next_at=None)
        deliver(clock)
        Delivery.objects.filter(pk=late.pk).update(state="pending", next_at=clock())
        deliver(clock)
        assert receiver.asked == ["production v1"]
        assert states()["production v0"] == "superseded"

    def test_a_newer_one_that_failed_for_good_still_stops_the_older(
        self, versions: list[ArtifactVersion], receiver: Receiver, clock: Clock
    ) -> None:
        """The receiver refused what the database holds: sending what it held before would be a lie."""
        receiver.answers = {"production v0": 400, "production v1": 400}
        move("production", versions[0])
        deliver(clock)
        move("production", versions[1])
        deliver(clock)
        receiver.answers.clear()
        delivery.requeue(Delivery.objects.filter(body__contains="v0"))
        deliver(clock)
        assert receiver.accepted == []
        delivery.requeue(Delivery.objects.filter(body__contains="v1"))
        deliver(clock)
        assert receiver.accepted == ["production v1"]

    def test_who_edits_the_rule_meanwhile_lets_no_old_one_slip_through(
        self,
        penguins: Cast,
        versions: list[ArtifactVersion],
        hook: Integration,
        receiver: Receiver,
        clock: Clock,
    ) -> None:
        receiver.answers["production v0"] = 500
        move("production", versions[0])
        deliver(clock)
        automation = Automation.objects.get()
        edited = [ActionDraft("noop"), says(hook, "latest_only")]
        save_automation(automation, scope=automation.scope, actions=edited)
        move("production", versions[1])
        deliver(clock)
        receiver.answers.clear()
        deliver(clock, rounds=3, seconds=3600)
        assert receiver.accepted == ["production v1"]

    def test_a_test_is_no_news(
        self, penguins: Cast, versions: list[ArtifactVersion], receiver: Receiver, clock: Clock
    ) -> None:
        """Neither does it overtake what is real, nor is it overtaken."""
        receiver.answers["production v0"] = 500
        move("production", versions[0])
        deliver(clock)
        automation = Automation.objects.get()
        latest = Event.objects.filter(type="alias_added").latest("sequence")
        fire_by_hand(automation, actor=penguins.ada, event=latest)
        receiver.answers.clear()
        deliver(clock, seconds=6)
        assert receiver.accepted == ["production v0", "production v0"]
        move("production", versions[1])
        fire_by_hand(automation, actor=penguins.ada, event=latest)
        deliver(clock)
        assert sorted(receiver.accepted[2:]) == ["production v0", "production v1"]

    def test_each_alias_counts_alone(
        self, versions: list[ArtifactVersion], receiver: Receiver, clock: Clock
    ) -> None:
        move("production", versions[0])
        move("staging", versions[1])
        move("production", versions[2])
        deliver(clock)
        assert sorted(receiver.accepted) == ["production v2", "staging v1"]

    def test_what_was_held_goes_out_as_its_latest(
        self, versions: list[ArtifactVersion], hook: Integration, receiver: Receiver, clock: Clock
    ) -> None:
        targets.set_integration_enabled(hook, enabled=False)
        move("production", *versions)
        deliver(clock)
        targets.set_integration_enabled(hook, enabled=True)
        deliver(clock)
        assert receiver.asked == ["production v3"]
        assert list(states().values()) == ["superseded"] * 3 + ["succeeded"]

    def test_of_a_run_the_latest_state_is_told(
        self, penguins: Cast, hook: Integration, receiver: Receiver, clock: Clock
    ) -> None:
        cast.rule(
            penguins.project,
            "run_status",
            {"statuses": ["running", "finished"]},
            period=0,
            actions=[says(hook, "latest_only", "${run_name} ${run_status}")],
        )
        first, second = (cast.new_run(penguins.project, name=name) for name in ("one", "two"))
        cast.decide()
        set_status(first, RunStatus.FINISHED, actor=None)
        cast.decide()
        deliver(clock)
        assert second.name == "two"
        assert sorted(receiver.accepted) == ["one finished", "two running"]


@pytest.mark.parametrize("order", ["ordered", "latest_only"])
def test_two_rules_that_send_to_the_same_place_do_not_wait_for_each_other(
    penguins: Cast, hook: Integration, receiver: Receiver, clock: Clock, order: str
) -> None:
    for name in ("first", "second"):
        cast.rule(
            penguins.project,
            "alias_added",
            {"alias": "^production$"},
            name=name,
            actions=[says(hook, order, "${automation_name}")],
        )
    receiver.answers["first"] = 500
    move("production", *fish_with_versions(penguins, count=1))
    deliver(clock)
    assert receiver.accepted == ["second"]


def test_an_order_that_does_not_exist_is_refused(penguins: Cast, hook: Integration) -> None:
    from django.core.exceptions import ValidationError

    with pytest.raises(ValidationError, match="order"):
        watches_moves(penguins, hook, "sorted")


def test_events_of_a_collection_are_decided_in_their_order_whichever_bell_rings_first(
    penguins: Cast, hook: Integration
) -> None:
    watches_moves(penguins, hook, "any")
    versions = fish_with_versions(penguins)
    cast.decide()
    for version in versions:
        set_alias(Collection.objects.get(pk=version.home_id), "production", version, actor=None)
    waiting = Event.objects.filter(decided_at=None).order_by("sequence")
    last = waiting.last()
    assert waiting.count() == 4
    assert last is not None
    evaluation.evaluate_event(last.pk)
    assert waiting.count() == 0
    numbers = Delivery.objects.order_by("pk").values_list("order_seq", flat=True)
    assert list(numbers) == sorted(numbers)
    assert len(numbers) == 4


@pytest.mark.django_db(transaction=True)
def test_racing_workers_make_the_messages_of_a_collection_in_order(penguins: Cast, hook: Integration) -> None:
    watches_moves(penguins, hook, "any")
    versions = fish_with_versions(penguins, count=12)
    cast.decide()
    for version in versions:
        set_alias(Collection.objects.get(pk=version.home_id), "production", version, actor=None)
    waiting = list(Event.objects.filter(decided_at=None).order_by("-sequence").values_list("pk", flat=True))

    def decide(worker: int) -> None:
        for event_id in waiting[worker::4]:
            evaluation.evaluate_event(event_id)

    cast.at_once(4, decide)
    rows = Delivery.objects.order_by("pk").values_list("order_seq", flat=True)
    assert list(rows) == sorted(set(rows))
    assert len(rows) == 12
