"""The presets of rules on a corpus of 200 runs: what was planted is caught, the healthy are left in peace."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from automations.backtests.engine import Replays
from automations.backtests.replay import Replay
from automations.events.base import EVENTS
from automations.models import Automation
from automations.rulepresets import RULE_PRESETS
from automations.services.rules import check_automation
from runs.models import Project, RunStatus
from runs.models.metrics import spelled
from runs.services.runs import set_status
from tests import cast
from tests.automations import corpus
from tests.cast import Cast, Clock, log, new_run, rule

PRESETS = {preset.key: preset for preset in RULE_PRESETS}
# 200 runs: so many healthy ones, and so many of each divergence.
HEALTHY, EACH = 150, 10
CATCHES = {
    "nonfinite": {"nan", "infinite"},
    "spike": {"spike", "explosion"},
    "plateau": {"plateau"},
}


def replays(project: Project, key: str) -> list[Replay]:
    preset = PRESETS[key]
    draft = Automation(event_type=preset.event_type, config=preset.event())
    check_automation(draft, scope=project)
    return list(Replays(draft, since=datetime(2026, 1, 1, tzinfo=UTC), limit=1000))


@pytest.mark.django_db
def test_nan_and_spikes_are_all_caught_and_of_a_hundred_healthy_runs_one_is_disturbed_at_most(
    penguins: Cast,
) -> None:
    dice = random.Random(2026)
    kinds = [corpus.healthy] * HEALTHY + [kind for kind in corpus.DIVERGENCES for _run in range(EACH)]
    dice.shuffle(kinds)
    assert len(kinds) == 200
    for kind in kinds:
        run = new_run(penguins.project, name=kind.__name__)
        losses = kind(dice)
        for start in range(0, len(losses), 500):
            log(run, "loss", [spelled(value) for value in losses[start : start + 500]])
    found = {key: replays(penguins.project, key) for key in CATCHES}
    caught = {key: [replay.run.name for replay in runs if replay.count] for key, runs in found.items()}
    for key, runs in found.items():  # nobody was left in peace for want of being looked at
        healthy = [replay for replay in runs if replay.run.name == "healthy"]
        reasons = {replay.reason.code for replay in healthy if replay.reason is not None}
        assert len(healthy) == HEALTHY
        assert reasons == {"all_finite" if key == "nonfinite" else "condition_not_met"}, key
    for key, planted in CATCHES.items():
        assert {name: caught[key].count(name) for name in planted} == dict.fromkeys(planted, EACH), key
    disturbed = {key: names.count("healthy") for key, names in caught.items()}
    assert disturbed["nonfinite"] + disturbed["spike"] <= HEALTHY // 100, disturbed
    assert disturbed["plateau"] <= HEALTHY // 100, disturbed


@pytest.mark.parametrize("key", PRESETS)
def test_a_preset_is_a_rule_that_can_be_saved(key: str) -> None:
    preset = PRESETS[key]
    config = preset.event("val/loss" if preset.metric else "")
    complete = EVENTS[preset.event_type].config_form.parse(config)
    assert complete.get("metric") == ("val/loss" if preset.metric else None)
    assert {name: complete[name] for name in preset.config} == dict(preset.config)
    assert str(preset.label)
    assert str(preset.hint)


def fires(penguins: Cast, key: str, tell: Any) -> int:
    preset = PRESETS[key]
    automation = rule(penguins.project, preset.event_type, preset.event(), name=key)
    tell()
    cast.decide()
    return cast.fired(automation)


@pytest.mark.django_db
def test_a_failed_run_is_told_of_and_a_finished_one_not(penguins: Cast) -> None:
    def tell() -> None:
        for status in (RunStatus.FINISHED, RunStatus.FAILED, RunStatus.CRASHED, RunStatus.KILLED):
            set_status(new_run(penguins.project), status, actor=None)

    assert fires(penguins, "failed", tell) == 2


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("used", "expected"),
    [([90.0] * 40, 0), ([90.0] * 10 + [0.0, 40.0] * 20, 0), ([90.0] * 10 + [1.0] * 20, 1)],
)
def test_an_idle_gpu_is_told_of_and_one_that_waits_now_and_then_not(
    penguins: Cast, clock: Clock, used: list[float], expected: int
) -> None:
    def tell() -> None:
        run = new_run(penguins.project)
        for value in used:
            clock.move(seconds=15)
            log(run, "gpu.0.gpu", [value], source="system")

    assert fires(penguins, "gpu_idle", tell) == expected
