"""`explain` names the one thing that kept a rule from firing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from automations import explain
from automations.events.base import EVENTS
from runs.models import Run
from runs.services.runs import update_run
from tests import cast
from tests.automations import planted
from tests.automations.planted import KINDS, METRIC_KINDS, Plot, Watched, scene_of
from tests.cast import Cast, Clock, log, new_run, rule, threshold

pytestmark = pytest.mark.django_db

WINDOWED = ["threshold", "change", "values", "runs"]
# The plot, for which kinds of rule, the code of the answer, and whether it fired.
PLOTS: list[tuple[Plot, list[str], str, bool]] = [
    (planted.disabled, [*KINDS], "disabled", False),
    (planted.other_scope, [*KINDS], "other_scope", False),
    (planted.user_filter, [*KINDS], "user_differs", False),
    (planted.name_filter, [*KINDS], "run_name_differs", False),
    (planted.never_logged, METRIC_KINDS, "never_logged", False),
    (planted.nothing_logged, METRIC_KINDS, "nothing_logged", False),
    (planted.other_source, METRIC_KINDS, "only_other_source", False),
    (planted.named_source, METRIC_KINDS, "only_other_source", False),
    (planted.window_not_full, ["threshold", "change", "values"], "window_not_full", False),
    (planted.warming_up, WINDOWED, "window_not_full", False),
    (planted.warming_up, ["nonfinite"], "never_nonfinite", False),
    (planted.no_number, WINDOWED, "no_finite_value", False),
    (planted.condition_false, WINDOWED, "closest", False),
    (planted.condition_false, ["nonfinite"], "never_nonfinite", False),
    (planted.not_held, ["threshold"], "closest", False),
    (planted.not_held, ["runs"], "not_evaluated", False),
    (planted.not_held, ["nonfinite"], "never_nonfinite", False),
    (planted.killed, METRIC_KINDS, "killed", False),
    (planted.killed_meanwhile, METRIC_KINDS, "killed", False),
    (planted.armed_later, [*KINDS], "not_since_armed", False),
    (planted.limited, [*WINDOWED, "status"], "limited", False),
    (planted.muted, [*KINDS], "muted", False),
    (planted.delivery_failed, [*KINDS], "delivery_failed", False),
    (planted.too_few_runs, ["runs"], "too_few_runs", False),
    (planted.no_deviation, ["runs"], "no_deviation", False),
    (planted.diverged_before, ["nonfinite"], "seen_before", False),
    (planted.other_state, ["status"], "status_differs", False),
    (planted.shadow, [*KINDS], "", True),
    (planted.fired, [*KINDS], "", True),
    (planted.disabled_after_it_fired, [*KINDS], "", True),
]


@pytest.mark.parametrize(
    ("plot", "kinds", "code", "fires"),
    [pytest.param(*each, id=f"{each[0].__name__} {each[2]}") for each in PLOTS],
)
def test_the_planted_cause_is_named(
    penguins: Cast, clock: Clock, plot: Plot, kinds: list[str], code: str, fires: bool
) -> None:
    for kind in kinds:
        automation, run = plot(scene_of(penguins, clock, kind))
        cast.decide()
        answer = explain.why_run(automation, Run.objects.get(pk=run.pk))
        as_json = answer.as_json(EVENTS[automation.event_type])
        assert answer.fired == fires, (kind, as_json)
        assert answer.reason.code == (code or REASONS[kind]), (kind, as_json)
        assert len(as_json["text"]) > 10, kind
        assert "%" not in as_json["text"], (kind, as_json)
        assert (as_json["execution"] is not None) == (
            fires or code in {"limited", "muted", "delivery_failed"}
        ), kind
        check = DETAILS.get(plot.__name__)
        assert check is None or check(as_json, KINDS[kind], clock), (kind, as_json)


REASONS = {
    "threshold": "threshold_average",
    "change": "change_relative",
    "values": "zscore_values",
    "runs": "zscore_runs",
    "nonfinite": "nonfinite",
    "status": "status_changed",
}

# What the answer must say beside its code.
DETAILS: dict[str, Callable[[dict[str, Any], Watched, Clock], bool]] = {
    "user_filter": lambda said, _kind, _clock: (said["user"], said["wanted"]) == ("ada", "max"),
    "name_filter": lambda said, _kind, _clock: (said["name"], said["pattern"]) == ("night-7", "^day-"),
    "never_logged": lambda said, _kind, _clock: said["nearest"] == ["loss"] and "“loss”" in said["text"],
    "other_source": lambda said, _kind, _clock: (said["logged"], said["wanted"]) == ("System", "History"),
    "window_not_full": lambda said, kind, _clock: (said["have"], said["need"]) == (kind.need - 1, kind.need),
    "delivery_failed": lambda said, _kind, _clock: said["problem"] == "HTTP 502",
    "limited": lambda said, _kind, clock: said["until"] > clock().isoformat(),
    "shadow": lambda said, _kind, _clock: said["state"] == "shadow",
    "fired": lambda said, _kind, _clock: said["state"] == "finished" or said["state"] == "pending",
    "too_few_runs": lambda said, _kind, _clock: (said["have"], said["need"]) == (2, 10),
}


def test_what_waits_for_its_worker_is_said_to_match(penguins: Cast, clock: Clock) -> None:
    for kind in KINDS:
        automation, run = planted.fired(scene_of(penguins, clock, kind))
        answer = explain.why_run(automation, run)
        assert (answer.fired, answer.reason.code) == (False, "matches_now"), kind
        cast.decide()
        assert explain.why_run(automation, run).fired


def test_only_values_that_the_filters_let_through_are_the_closest(penguins: Cast, clock: Clock) -> None:
    automation = rule(penguins.project, "run_metric_threshold", threshold(value=1, run_name="^exp-"))
    run = new_run(penguins.project, name="exp-1")
    for name, value in [("exp-1", 0.5), ("foo", 0.8), ("exp-2", 0.6), ("foo", 0.9)]:
        update_run(run, name=name)
        log(run, "loss", [value])
    cast.decide()
    reason = explain.why_run(automation, run).reason
    assert (reason.code, reason.data["value"], reason.data["step"]) == ("closest", 0.6, 2)

    log(run, "loss", [1.5])
    cast.decide()
    reason = explain.why_run(automation, run).reason
    assert (reason.code, reason.data["name"]) == ("run_name_differs", "foo")


def test_an_answer_costs_as_many_queries_for_many_batches_as_for_few(penguins: Cast, clock: Clock) -> None:
    for kind in METRIC_KINDS:
        scene = scene_of(penguins, clock, kind)
        automation, run = scene.rule(), scene.run(scene.watched.cold)
        counts = []
        for _turn in range(2):
            cast.decide()
            with CaptureQueriesContext(connection) as queries:
                explain.why_run(automation, Run.objects.get(pk=run.pk))
            counts.append(len(queries))
            for _batch in range(5):
                scene.log(run, scene.watched.cold)
        assert counts[0] == counts[1], kind
