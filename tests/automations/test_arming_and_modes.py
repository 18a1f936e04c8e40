from __future__ import annotations

import pytest

from automations.models import Delivery, Mode
from automations.services.rules import delete_automation, save_automation
from registry.services.collections import set_alias
from registry.services.versions import create_version
from tests import cast
from tests.cast import Cast, Clock, fired, log, new_run, rule, skipped, steps, threshold

pytestmark = pytest.mark.django_db


def test_a_rule_sees_what_was_accepted_since_it_was_armed(penguins: Cast, clock: Clock) -> None:
    """The first value waits in the lane because another rule watches it; it is not the new rule's."""
    older = rule(penguins.project, "run_metric_threshold", threshold(), period=0)
    run = new_run(penguins.project)
    log(run, "loss", [0.9])
    clock.move(seconds=1)
    newer = rule(penguins.project, "run_metric_threshold", threshold(), period=0)
    assert newer.armed_at == clock()
    log(run, "loss", [0.9])
    cast.decide()
    assert (steps(older), steps(newer)) == ([0, 1], [1])


def test_an_artifact_event_from_before_a_rule_is_not_the_rules(penguins: Cast, clock: Clock) -> None:
    fish = cast.collection(penguins.project)
    version, _created = create_version(fish, actor=None)
    set_alias(fish, "production", version, actor=None)
    clock.move(seconds=1)
    automation = rule(penguins.project, "alias_added", {"alias": "production"})
    cast.decide()
    assert fired(automation) == 0
    set_alias(fish, "production-2", version, actor=None)
    cast.decide()
    assert fired(automation) == 1


@pytest.mark.parametrize(
    ("edit", "rearmed"),
    [("name", False), ("period", False), ("mode", False), ("config", True), ("enabled", True)],
)
def test_editing_the_condition_or_enabling_arms_a_rule_anew(
    penguins: Cast, clock: Clock, edit: str, rearmed: bool
) -> None:
    automation = rule(
        penguins.project,
        "run_metric_threshold",
        threshold(),
        mode=Mode.DISABLED if edit == "enabled" else Mode.ACTIVE,
    )
    before = automation.armed_at
    clock.move(hours=1)
    match edit:
        case "name":
            automation.name = "renamed"
        case "period":
            automation.period = 60
        case "mode":
            automation.mode = Mode.SHADOW
        case "config":
            automation.config = threshold(value=0.1)
        case "enabled":
            automation.mode = Mode.ACTIVE
    save_automation(automation, scope=penguins.project)
    automation.refresh_from_db()
    assert automation.armed_at == (clock() if rearmed else before)


def test_saving_the_same_condition_again_does_not_arm_anew(penguins: Cast, clock: Clock) -> None:
    """Written without its defaults, the condition is the same."""
    automation = rule(penguins.project, "run_metric_threshold", threshold())
    before = automation.armed_at
    clock.move(hours=1)
    automation.config = threshold()
    assert save_automation(automation, scope=penguins.project).armed_at == before


def test_moving_a_rule_to_another_scope_arms_it_anew(penguins: Cast, clock: Clock) -> None:
    automation = rule(penguins.project, "run_metric_threshold", threshold())
    clock.move(hours=1)
    save_automation(automation, scope=penguins.team)
    automation.refresh_from_db()
    assert (automation.armed_at, automation.project, automation.team) == (clock(), None, penguins.team)
    log(new_run(penguins.project), "loss", [0.9])
    cast.decide()
    assert fired(automation) == 1


def test_a_disabled_rule_triggers_nothing(penguins: Cast) -> None:
    automation = rule(penguins.project, "run_metric_threshold", threshold(), mode=Mode.DISABLED)
    control = rule(penguins.project, "run_metric_threshold", threshold())
    log(new_run(penguins.project), "loss", [0.9])
    cast.decide()
    assert not automation.executions.exists()
    assert fired(control) == 1


def test_a_shadow_rule_records_and_sends_nothing(penguins: Cast) -> None:
    automation = rule(penguins.project, "run_metric_threshold", threshold(), mode=Mode.SHADOW)
    log(new_run(penguins.project), "loss", [0.9, 0.9])
    cast.decide()
    execution = automation.executions.get(state="shadow")
    assert execution.finished_at is not None
    assert not Delivery.objects.exists()
    assert [row.count for row in skipped(automation)] == [1], "it counts as a real one would"


def test_a_muted_rule_counts_and_speaks_again_afterwards(penguins: Cast, clock: Clock) -> None:
    until = clock() + (clock.move(hours=2) - clock.move(hours=-2))
    automation = rule(
        penguins.project, "run_metric_threshold", threshold(), mode=Mode.MUTED, muted_until=until
    )
    run = new_run(penguins.project)
    log(run, "loss", [0.9, 0.9])
    clock.move(seconds=2 * 3600 - 1)
    log(run, "loss", [0.9])
    clock.move(seconds=1)
    log(run, "loss", [0.9])
    cast.decide()
    (row,) = skipped(automation)
    assert (row.count, row.explanation["code"]) == (3, "muted")
    assert row.explanation["data"]["first_step"] == 0
    assert steps(automation) == [3], "what was muted does not use up the day"


def test_a_rule_muted_for_good_never_fires(penguins: Cast, clock: Clock) -> None:
    automation = rule(penguins.project, "alias_added", {"alias": "."}, mode=Mode.MUTED)
    clock.move(hours=10_000)
    create_version(cast.collection(penguins.project), actor=None)
    cast.decide()
    assert fired(automation) == 0
    assert [row.count for row in skipped(automation)] == [1]


def test_a_deleted_rule_leaves_its_history(penguins: Cast) -> None:
    from automations.models import Execution

    automation = rule(penguins.project, "run_metric_threshold", threshold(), name="the watchman")
    run = new_run(penguins.project)
    log(run, "loss", [0.9])
    cast.decide()
    delete_automation(automation)
    execution = Execution.objects.get()
    assert (execution.automation, execution.automation_name) == (None, "the watchman")
    assert execution.deliveries.count() == 1

    log(run, "loss", [0.9])
    cast.decide()
    assert Execution.objects.count() == 1
