"""What a backtest warns of: each by a rule and runs that are made for it, and by a neighbour that is not."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from automations.backtests.engine import Replays
from automations.backtests.report import Report, in_words
from automations.models import Automation
from automations.services.rules import check_automation
from runs.models import RunStatus
from runs.services.runs import set_status
from tests.cast import Cast, log, new_run, threshold

pytestmark = pytest.mark.django_db


def report(
    who: Cast, event_type: str, config: dict[str, Any], *, period: int | None = 86_400, **fields: Any
) -> dict[str, Any]:
    draft = Automation(event_type=event_type, config=config, period=period, **fields)
    check_automation(draft, scope=who.project)
    found = Report(Replays(draft, since=datetime(2020, 1, 1, tzinfo=UTC), limit=1000))
    found.work()
    return in_words(found.as_json(), event_type)


def warned(who: Cast, event_type: str, config: dict[str, Any], **fields: Any) -> dict[str, str]:
    """The sentences by code."""
    return {one["code"]: one["text"] for one in report(who, event_type, config, **fields)["warnings"]}


def a_week(who: Cast) -> None:
    """Six runs of Ada's, of which two are high for a moment."""
    for number in range(6):
        run = new_run(who.project, user=who.ada, name=f"night-{number}")
        for value in (0.5, 0.4, 0.9 if number < 2 else 0.3, 0.2):
            log(run, "train/loss", [value])
        set_status(run, RunStatus.FINISHED, actor=None)


HIGH = threshold("train/loss", "above", 0.8)
CHANGE = {"metric": "train/loss", "aggregation": "none", "change_type": "relative", "direction": "decrease"}

# The rule that is warned of with this code and sentence, and the one beside it that is not.
Rules = tuple[str, dict[str, Any], dict[str, Any], str, str]
CASES: list[Rules] = [
    (
        "run_metric_threshold",
        {**HIGH, "metric": "train/los"},
        HIGH,
        "never_logged",
        "It never fires: no run logged “train/los”. Runs did log “train/loss”.",
    ),
    (
        "run_metric_threshold",
        {**HIGH, "metric": "zzz"},
        HIGH,
        "never_logged",
        "It never fires: no run logged “zzz”, nor anything like it.",
    ),
    (
        "run_metric_nonfinite",
        {"metric": "train/los"},
        {},
        "never_logged",
        "It never fires: no run logged “train/los”. Runs did log “train/loss”.",
    ),
    (
        "run_metric_threshold",
        {**HIGH, "threshold": 0.1},
        HIGH,
        "always",
        "It fires on nearly every run: 6 of 6.",
    ),
    (
        "run_status",
        {"statuses": ["finished"]},
        {"statuses": ["failed"]},
        "always",
        "It fires on nearly every run: 6 of 6.",
    ),
    (
        "run_metric_threshold",
        {**HIGH, "aggregation": "max", "window": 5},
        {**HIGH, "aggregation": "max", "window": 4},
        "window_too_long",
        "It never fires: it looks at 5 values, and no run logged more than 4.",
    ),
    (
        "run_metric_zscore",
        {"metric": "train/loss", "baseline": "values", "window": 4, "direction": "above", "threshold": 1},
        {"metric": "train/loss", "baseline": "values", "window": 3, "direction": "above", "threshold": 1},
        "window_too_long",
        "It never fires: it looks at 5 values, and no run logged more than 4.",
    ),
    (
        "run_metric_threshold",
        {**HIGH, "run_name": "^exp-"},
        {**HIGH, "run_name": "^night-"},
        "no_such_name",
        "It never fires: no run has a name that matches ^exp-.",
    ),
    (
        "run_status",
        {"statuses": ["finished"], "run_name": "^exp-"},
        {"statuses": ["failed"], "run_name": "^night-"},
        "no_such_name",
        "It never fires: no run has a name that matches ^exp-.",
    ),
    (
        "run_metric_threshold",
        {**HIGH, "user": "adaa"},
        {**HIGH, "user": "ada"},
        "no_run_of_user",
        "It never fires: no run here is by “adaa”.",
    ),
    (
        "run_metric_threshold",
        {**HIGH, "threshold": sys.float_info.max},
        {**HIGH, "comparison": "above_or_equal", "threshold": sys.float_info.max},
        "impossible",
        "It can never be true: no number is above 1.79769313486e+308.",
    ),
    (
        "run_metric_change",
        {**CHANGE, "threshold": 1.5},
        {**CHANGE, "threshold": 1.0},
        "negative_only",
        "It can never be true here: train/loss is never below 0, and what is not negative never decreases by "
        "more than 100 %.",
    ),
    (
        "run_metric_threshold",
        {**HIGH, "metric": "system.cpu", "source": "history"},
        {**HIGH, "metric": "system.cpu"},
        "source_ignored",
        "“system.cpu” is always the system metric; the source “History” is ignored.",
    ),
    (
        "run_status",
        {"statuses": ["running", "finished"]},
        {"statuses": ["finished", "failed"]},
        "second_skipped",
        "A run that fires when it starts is not reported again when it ends, within the period; count each "
        "status alone, or leave out “running”.",
    ),
]


@pytest.mark.parametrize(
    ("event_type", "doubtful", "sound", "code", "text"),
    [pytest.param(*case, id=f"{case[3]} {number}") for number, case in enumerate(CASES)],
)
def test_a_doubtful_rule_is_warned_of_and_the_one_beside_it_not(
    penguins: Cast, event_type: str, doubtful: dict[str, Any], sound: dict[str, Any], code: str, text: str
) -> None:
    a_week(penguins)
    assert warned(penguins, event_type, doubtful)[code] == text
    assert code not in warned(penguins, event_type, sound)


def test_a_sound_rule_is_not_warned_of_at_all(penguins: Cast) -> None:
    a_week(penguins)
    assert warned(penguins, "run_metric_threshold", HIGH) == {}
    told = report(penguins, "run_metric_threshold", HIGH)["summary"]
    assert (told["evaluated"], told["fired"]) == (6, 2), "it was looked at"


def test_each_status_counted_alone_or_without_a_period_is_no_reason_to_warn(penguins: Cast) -> None:
    a_week(penguins)
    both = {"statuses": ["running", "finished"]}
    assert "second_skipped" in warned(penguins, "run_status", both)
    assert "second_skipped" not in warned(penguins, "run_status", both, per_status=True)
    assert "second_skipped" not in warned(penguins, "run_status", both, period=0)


def test_a_metric_that_was_ever_negative_may_fall_by_more_than_all_of_it(penguins: Cast) -> None:
    a_week(penguins)
    assert "negative_only" in warned(penguins, "run_metric_change", {**CHANGE, "threshold": 1.5})
    log(new_run(penguins.project), "train/loss", [-0.1])
    assert "negative_only" not in warned(penguins, "run_metric_change", {**CHANGE, "threshold": 1.5})


def test_without_a_run_it_is_said_that_there_was_none_and_nothing_else(penguins: Cast) -> None:
    assert warned(penguins, "run_metric_threshold", {**HIGH, "run_name": "^exp-", "user": "ada"}) == {
        "no_runs": "There was no run in this time to try the rule on."
    }


# --- Why a run was not evaluated ------------------------------------------------------------------

ZSCORE = {"metric": "loss", "window": 2, "direction": "either", "threshold": 1}


def reasons(told: dict[str, Any]) -> dict[str, int]:
    return {one["code"]: one["runs"] for one in told["summary"]["not_evaluated"]}


def test_every_run_that_was_not_evaluated_has_its_reason(penguins: Cast) -> None:
    new_run(penguins.project)
    log(new_run(penguins.project), "loss", [0.1], source="system")
    log(new_run(penguins.project), "loss", [0.1, 0.2])
    log(new_run(penguins.project), "loss", ["NaN", "Infinity"])
    log(new_run(penguins.project), "loss", [0.1, 0.2, 0.3])
    killed = new_run(penguins.project)
    set_status(killed, RunStatus.KILLED, actor=None)
    log(killed, "loss", [9, 9, 9])
    config = threshold("loss", "above", 0.6, aggregation="average", window=3, source="history")
    told = report(penguins, "run_metric_threshold", config)
    assert reasons(told) == {
        "never_logged": 1,
        "only_other_source": 1,
        "window_not_full": 1,
        "no_finite_value": 1,
        "killed": 1,
    }
    assert (told["summary"]["evaluated"], told["summary"]["runs"]) == (1, 6)


def test_runs_without_others_to_compare_with_are_told_apart_from_equal_ones(penguins: Cast) -> None:
    log(new_run(penguins.project), "loss", [0.5])
    assert reasons(report(penguins, "run_metric_zscore", ZSCORE)) == {"too_few_runs": 1}
    for _run in range(3):
        log(new_run(penguins.project), "loss", [0.5])
    assert reasons(report(penguins, "run_metric_zscore", ZSCORE)) == {"too_few_runs": 2, "no_deviation": 2}


def test_runs_that_a_filter_leaves_out_are_told_by_filter(penguins: Cast) -> None:
    for user, name in ((penguins.ada, "exp-1"), (penguins.max, "exp-2"), (penguins.ada, "base")):
        log(new_run(penguins.project, user=user, name=name), "loss", [0.1])
    told = report(penguins, "run_metric_threshold", threshold(user="ada", run_name="^exp"))
    assert reasons(told) == {"user_differs": 1, "run_name_differs": 1}
    assert told["summary"]["evaluated"] == 1
