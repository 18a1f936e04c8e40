"""Windows, warm-up, hold, and which of two metrics of one name is meant (semantics, section 4)."""

from __future__ import annotations

import random
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from tests import cast
from tests.cast import Cast, fired, log, log_points, new_run, rule, steps, threshold

pytestmark = pytest.mark.django_db


def steps_of(who: Cast, values: list[float | str], **options: Any) -> list[int]:
    """Where a rule `loss > 0.5` with these options fires; the first value has step 0."""
    automation = rule(
        who.project, "run_metric_threshold", threshold("loss", "above", 0.5, **options), period=0
    )
    run = new_run(who.project)
    for value in values:
        log(run, "loss", [value])
    cast.decide()
    at_once = new_run(who.project)
    log(at_once, "loss", values)
    cast.decide()
    found = steps(automation)
    assert found[: len(found) // 2] == found[len(found) // 2 :], "one call or many"
    return found[: len(found) // 2]


@pytest.mark.parametrize(
    ("comparison", "value", "fires"),
    [
        ("above", 0.6, False), ("above", 0.59, True),
        ("above_or_equal", 0.6, True), ("above_or_equal", 0.61, False),
        ("below", 0.6, False), ("below", 0.61, True),
        ("below_or_equal", 0.6, True), ("below_or_equal", 0.59, False),
        ("equal", 0.6, True), ("equal", 0.61, False),
        ("not_equal", 0.6, False), ("not_equal", 0.61, True),
    ],
)  # fmt: skip
def test_the_six_comparisons(penguins: Cast, comparison: str, value: float, fires: bool) -> None:
    automation = rule(penguins.project, "run_metric_threshold", threshold("loss", comparison, value))
    log(new_run(penguins.project), "loss", [0.6])
    cast.decide()
    assert fired(automation) == fires


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, 2, 4, 5, 6]),
        ({"warmup": 2}, [2, 4, 5, 6]),
        ({"warmup": 7}, []),
        ({"hold": 2}, [2, 5, 6]),
        ({"hold": 3}, [6]),
        ({"hold": 4}, []),
        ({"warmup": 5, "hold": 2}, [6]),
        ({"aggregation": "min", "window": 2}, [2, 5, 6]),
        ({"aggregation": "max", "window": 2}, [1, 2, 3, 4, 5, 6]),
        ({"aggregation": "max", "window": 2, "warmup": 3}, [4, 5, 6]),
        ({"aggregation": "max", "window": 2, "warmup": 3, "hold": 3}, [6]),
        ({"aggregation": "none", "window": 99}, [1, 2, 4, 5, 6]),
    ],
)
def test_warm_up_hold_and_window(penguins: Cast, options: dict[str, Any], expected: list[int]) -> None:
    assert steps_of(penguins, [0.1, 0.9, 0.9, 0.1, 0.9, 0.9, 0.9], **options) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0, 3, 5]),
        ({"hold": 2}, [3, 5]),
        ({"aggregation": "average", "window": 3}, [5]),
        ({"warmup": 1}, [3, 5]),
    ],
)
def test_what_is_no_number_fills_no_window_and_breaks_no_streak(
    penguins: Cast, options: dict[str, Any], expected: list[int]
) -> None:
    values: list[float | str] = [0.9, "NaN", "Infinity", 0.9, "-Infinity", 0.9]
    assert steps_of(penguins, values, **options) == expected


def test_a_crossing_in_the_middle_of_a_batch_is_seen_at_its_own_step(penguins: Cast) -> None:
    automation = rule(penguins.project, "run_metric_threshold", threshold("loss", "above", 0.5))
    values = [0.1] * 1000
    values[437:440] = [0.9] * 3
    log(new_run(penguins.project), "loss", values, first_step=1000)
    cast.decide()
    assert steps(automation) == [1437]
    execution = automation.executions.exclude(state="skipped").get()
    assert execution.event is not None
    assert execution.event.data["step"] == 1437


def test_rules_that_look_back_differently_see_the_same_values_before_a_batch(penguins: Cast) -> None:
    """The first rule looks at nothing before the batch, the second at two values more."""
    latest = threshold("loss", "above", 0.5)
    average = threshold("loss", "above", 0.5, aggregation="average", window=3)
    rules = [rule(penguins.project, "run_metric_threshold", config, period=0) for config in (latest, average)]
    run = new_run(penguins.project)
    log(run, "loss", [0.1, 0.1, 0.1], first_step=0)
    cast.decide()
    log(run, "loss", [0.1, 0.1, 0.9, 0.9], first_step=3)
    cast.decide()
    assert [steps(one) for one in rules] == [[5, 6], [6]]


def test_values_logged_before_the_rule_fill_its_windows_and_never_fire(penguins: Cast) -> None:
    run = new_run(penguins.project)
    log(run, "loss", [0.9] * 6)
    cast.decide()
    automation = rule(
        penguins.project, "run_metric_threshold", threshold("loss", aggregation="average", window=5), period=0
    )
    cast.decide()
    assert fired(automation) == 0
    log(run, "loss", [0.9])
    cast.decide()
    assert steps(automation) == [6]


def test_the_order_of_acceptance_counts_not_the_step(penguins: Cast) -> None:
    condition = threshold("loss", "above", 0.5, aggregation="max", window=2)
    automation = rule(penguins.project, "run_metric_threshold", condition, period=0)
    run = new_run(penguins.project)
    for step, value in [(10, 0.9), (2, 0.1), (1, 0.1)]:
        log_points(run, [{"step": step, "values": {"loss": value}}])
    cast.decide()
    assert steps(automation) == [2]


# --- Which metric ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "source", "logged", "fires"),
    [
        ("cpu", "auto", [("history", 0.9)], 1),
        ("cpu", "auto", [("system", 0.9)], 1),
        ("cpu", "auto", [("history", 0.1), ("system", 0.9)], 0),
        ("cpu", "auto", [("system", 0.9), ("history", 0.1), ("system", 0.9)], 1),
        ("cpu", "history", [("system", 0.9)], 0),
        ("cpu", "history", [("history", 0.9)], 1),
        ("cpu", "system", [("history", 0.9)], 0),
        ("cpu", "system", [("history", 0.1), ("system", 0.9)], 1),
        ("system.cpu", "auto", [("history", 0.1), ("system", 0.9)], 1),
        ("system.cpu", "auto", [("history", 0.9)], 0),
        ("system.cpu", "history", [("history", 0.9)], 0),
    ],
)
def test_history_comes_first_and_system_when_it_is_named(
    penguins: Cast, metric: str, source: str, logged: list[tuple[str, float]], fires: int
) -> None:
    automation = rule(
        penguins.project, "run_metric_threshold", threshold(metric, "above", 0.5, source=source), period=0
    )
    run = new_run(penguins.project)
    for kind, value in logged:
        log(run, "cpu", [value], source=kind)
    cast.decide()
    assert fired(automation) == fires


def test_nested_keys_are_watched_by_their_dotted_name(penguins: Cast) -> None:
    automation = rule(penguins.project, "run_metric_threshold", threshold("val.top.5", "above", 0.5))
    log_points(new_run(penguins.project), [{"values": {"val": {"top": {"5": 0.9}}}}])
    cast.decide()
    assert fired(automation) == 1


def test_one_metric_twice_in_a_step_is_two_values(penguins: Cast) -> None:
    condition = threshold("loss", "above", 0.5, aggregation="min", window=2)
    automation = rule(penguins.project, "run_metric_threshold", condition)
    log_points(new_run(penguins.project), [{"step": 4, "values": {"loss": 0.9}}] * 2)
    cast.decide()
    assert steps(automation) == [4]


def test_any_options_agree_with_looking_at_each_value_by_hand(penguins: Cast) -> None:
    """What the rule found, against the definition, for forty random rules on one random series."""
    dice = random.Random(11)
    values: list[float | str] = [
        "NaN" if dice.random() < 0.1 else round(dice.uniform(0, 1), 1) for _value in range(40)
    ]
    cases = []
    for number in range(40):
        options: dict[str, Any] = {
            "aggregation": dice.choice(["average", "min", "max", "none"]),
            "window": dice.randint(1, 8),
            "warmup": dice.choice([0, 0, 3, 20]),
            "hold": dice.choice([1, 1, 2, 4]),
        }
        condition = threshold("loss", dice.choice(["above", "below_or_equal"]), 0.5, **options)
        automation = rule(penguins.project, "run_metric_threshold", condition, name=str(number), period=0)
        cases.append((automation, condition))
    run = new_run(penguins.project)
    start = 0
    while start < len(values):
        size = dice.choice([1, 1, 7, 13])
        log(run, "loss", values[start : start + size])
        start += size
    cast.decide()
    found = {automation.pk: steps(automation) for automation, _condition in cases}
    assert found == {automation.pk: by_hand(values, condition) for automation, condition in cases}
    assert sum(map(len, found.values())) > 200


def by_hand(values: list[float | str], condition: dict[str, Any]) -> list[int]:
    finite = [(step, value) for step, value in enumerate(values) if not isinstance(value, str)]
    counted = finite[condition["warmup"] :]
    window = 1 if condition["aggregation"] == "none" else condition["window"]
    aggregate: Any = {"average": lambda seen: sum(seen) / len(seen), "min": min, "max": max}.get(
        condition["aggregation"], lambda seen: seen[-1]
    )
    streak, found = 0, []
    for end in range(window, len(counted) + 1):
        # Tenths summed as integers: no rounding to argue about.
        tenths = [round(value * 10) for _step, value in counted[end - window : end]]
        level = aggregate(tenths) > 5 if condition["comparison"] == "above" else aggregate(tenths) <= 5
        streak = streak + 1 if level else 0
        if streak >= condition["hold"]:
            found.append(counted[end - 1][0])
    return found


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metric": ""}, "metric"),
        ({"metric": None}, "metric"),
        ({"metric": "x" * 251}, "metric"),
        ({"metric": "nul\x00"}, "NUL"),
        ({"metric": "lone\ud800"}, "surrogate"),
        ({"metric": 5}, "metric"),
        ({"comparison": "around"}, "around"),
        ({"comparison": None}, "comparison"),
        ({"threshold": None}, "threshold"),
        ({"threshold": "0.6"}, "threshold"),
        ({"threshold": True}, "threshold"),
        ({"threshold": float("nan")}, "finite"),
        ({"threshold": float("inf")}, "finite"),
        ({"threshold": 10**400}, "too large"),
        ({"aggregation": "median"}, "median"),
        ({"window": 0}, "window"),
        ({"window": 10_001}, "window"),
        ({"window": 2.5}, "window"),
        ({"window": 2**63}, "window"),
        ({"window": True}, "window"),
        ({"warmup": -1}, "warmup"),
        ({"hold": 0}, "hold"),
        ({"source": "hearsay"}, "hearsay"),
        ({"treshold": 1}, "Unknown field"),
    ],
)
def test_nonsense_is_refused_when_saved(penguins: Cast, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        rule(penguins.project, "run_metric_threshold", {**threshold(), **change})
    assert list(refusal.value.message_dict) == ["event"]
    assert said in refusal.value.message_dict["event"][0]
    assert not penguins.project.automations.exists()


def test_what_is_left_out_is_stored_as_the_documented_default(penguins: Cast) -> None:
    automation = rule(
        penguins.project,
        "run_metric_threshold",
        {"metric": "loss", "comparison": "above", "threshold": 1},
    )
    assert automation.config == {
        "metric": "loss", "source": "auto", "aggregation": "average", "window": 5, "comparison": "above",
        "threshold": 1.0, "warmup": 0, "hold": 1, "user": None, "run_name": None,
    }  # fmt: skip
