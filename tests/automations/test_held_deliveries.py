"""What is meant for a disabled integration is held, and goes out when it is enabled again."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from pytest_django import DjangoCaptureOnCommitCallbacks
from pytest_httpserver import HTTPServer

from automations import claims, delivery, evaluation
from automations.actions.base import ACTIONS, Outcome
from automations.models import Delivery, Execution, Integration
from automations.services.rules import delete_automation
from automations.services.targets import delete_target, set_integration_enabled
from automations.sweep import sweep
from runs.errors import Conflict
from tests import cast
from tests.cast import Cast, Clock, at_once, log, new_run, rule, threshold

pytestmark = pytest.mark.usefixtures("loopback")


@pytest.fixture
def hook(penguins: Cast, httpserver: HTTPServer) -> Integration:
    httpserver.expect_request("/hook").respond_with_data("")
    return cast.webhook(penguins.team, httpserver.url_for("/hook"))


@pytest.mark.django_db
class TestHolding:
    def test_a_disabled_integration_holds_and_enabling_it_releases(
        self,
        penguins: Cast,
        hook: Integration,
        httpserver: HTTPServer,
        clock: Clock,
        rings: list[tuple[str, int | None]],
        django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    ) -> None:
        rule(penguins.project, "run_metric_threshold", threshold(), actions=cast.sends(hook))
        set_integration_enabled(hook, enabled=False, reason="It was gone for a week.")
        log(new_run(penguins.project), "loss", [0.9])
        cast.decide()
        cast.deliver()
        assert Delivery.objects.get().state == "held"
        clock.move(hours=100)
        cast.deliver()
        sweep()
        assert len(httpserver.log) == 0
        assert Execution.objects.get().state == "pending"

        rings.clear()
        with django_capture_on_commit_callbacks(execute=True):
            set_integration_enabled(hook, enabled=True)
        assert rings == [("drain", hook.pk)]
        cast.deliver()
        assert len(httpserver.log) == 1
        assert Execution.objects.get().state == "finished"

    def test_what_already_waited_stays_until_it_is_enabled(
        self, penguins: Cast, hook: Integration, httpserver: HTTPServer
    ) -> None:
        rule(penguins.project, "run_metric_threshold", threshold(), actions=cast.sends(hook))
        log(new_run(penguins.project), "loss", [0.9])
        cast.decide()
        set_integration_enabled(hook, enabled=False)
        cast.deliver()
        assert len(httpserver.log) == 0
        set_integration_enabled(hook, enabled=True)
        cast.deliver()
        assert len(httpserver.log) == 1

    def test_the_integrations_beside_it_go_on(
        self, penguins: Cast, hook: Integration, httpserver: HTTPServer
    ) -> None:
        other = cast.webhook(penguins.team, httpserver.url_for("/hook"), name="other")
        rule(
            penguins.project,
            "run_metric_threshold",
            threshold(),
            actions=[*cast.sends(hook), *cast.sends(other)],
        )
        set_integration_enabled(hook, enabled=False)
        log(new_run(penguins.project), "loss", [0.9])
        cast.decide()
        cast.deliver()
        assert list(Delivery.objects.order_by("pk").values_list("state", flat=True)) == ["held", "succeeded"]

    def test_an_integration_in_use_is_not_deleted(self, penguins: Cast, hook: Integration) -> None:
        rule(penguins.project, "run_metric_threshold", threshold(), name="user", actions=cast.sends(hook))
        with pytest.raises(Conflict):
            delete_target(hook)
        assert Integration.objects.filter(pk=hook.pk).exists()

    @pytest.mark.parametrize("enabled", [True, False])
    def test_what_waits_for_an_integration_that_is_deleted_fails_and_says_so(
        self, penguins: Cast, hook: Integration, httpserver: HTTPServer, enabled: bool
    ) -> None:
        automation = rule(penguins.project, "run_metric_threshold", threshold(), actions=cast.sends(hook))
        set_integration_enabled(hook, enabled=enabled)
        log(new_run(penguins.project), "loss", [0.9])
        cast.decide()
        delete_automation(automation)
        delete_target(hook)
        cast.deliver()
        lost = Delivery.objects.get()
        assert lost.state == "failed"
        assert "deleted" in lost.attempts.get().error
        assert Execution.objects.get().state == "failed"
        assert len(httpserver.log) == 0


@pytest.mark.django_db(transaction=True)
def test_a_delivery_that_is_held_while_somebody_enables_is_not_forgotten(
    penguins: Cast, hook: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule fires and has seen the integration disabled; before that is committed, it is enabled."""
    rule(penguins.project, "run_metric_threshold", threshold(), actions=cast.sends(hook))
    set_integration_enabled(hook, enabled=False)
    run = new_run(penguins.project)
    log(run, "loss", [0.9])
    rendering, enabling = threading.Event(), threading.Event()
    render = ACTIONS["webhook"].render

    def slow_render(*arguments: Any) -> str:
        rendering.set()
        enabling.wait(10)
        # Long enough for the other's statement to reach the database.
        threading.Event().wait(0.3)
        return render(*arguments)

    monkeypatch.setattr(ACTIONS["webhook"], "render", slow_render)

    def work(who: int) -> None:
        if who == 0:
            evaluation.evaluate_lane(run.pk)
        else:
            rendering.wait(10)
            enabling.set()
            set_integration_enabled(Integration.objects.get(pk=hook.pk), enabled=True)

    at_once(2, work)
    assert rendering.is_set()
    assert Delivery.objects.get().state == "pending"


@pytest.mark.django_db(transaction=True)
def test_an_attempt_that_ends_while_somebody_enables_leaves_nothing_held(
    penguins: Cast, hook: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sender waits for the outlet and must not judge by what it saw before it waited."""
    rule(penguins.project, "run_metric_threshold", threshold(), period=0, actions=cast.sends(hook))
    run = new_run(penguins.project)
    for _round in range(5):
        log(run, "loss", [0.9])
        cast.decide()
        claim = claims.take(hook.pk)
        assert claim is not None
        set_integration_enabled(Integration.objects.get(pk=hook.pk), enabled=False)
        refused = Outcome(ok=False, status=500)

        def work(who: int, claim: claims.Claim = claim, refused: Outcome = refused) -> None:
            if who == 0:
                set_integration_enabled(Integration.objects.get(pk=hook.pk), enabled=True)
            else:
                delivery._settle(claim, refused)

        at_once(2, work)
        assert not Delivery.objects.filter(state="held").exists()
        Delivery.objects.update(state="succeeded", next_at=None)


@pytest.mark.django_db
def test_the_sweep_releases_what_somebody_left_held(
    penguins: Cast, hook: Integration, clock: Clock, httpserver: HTTPServer
) -> None:
    """As if whoever enabled it had died between two portions."""
    rule(penguins.project, "run_metric_threshold", threshold(), actions=cast.sends(hook))
    log(new_run(penguins.project), "loss", [0.9])
    cast.decide()
    Delivery.objects.update(state="held", next_at=None)
    sweep()
    cast.deliver()
    assert len(httpserver.log) == 1
