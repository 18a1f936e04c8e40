"""Which of two metrics of one name a rule watches (R21)."""

from __future__ import annotations

from typing import Any

import pytest

from automations.models import Event
from tests import cast
from tests.cast import Cast, fired, log, log_points, new_run, rule, steps, threshold

pytestmark = pytest.mark.django_db

HISTORY, SYSTEM = "history", "system"
SPELLINGS = [("cpu", "auto"), ("cpu", HISTORY), ("cpu", SYSTEM), ("system.cpu", "auto")]
SPELLINGS += [("system.cpu", HISTORY), ("system.cpu", SYSTEM)]

# What a run logs as `cpu`, in order (source, value), and the steps at which each spelling fires, in the
# order above. Steps are counted in each source alone.
TABLE: list[tuple[list[tuple[str, float]], list[list[int]]]] = [
    ([(SYSTEM, 9)], [[0], [], [0], [0], [0], [0]]),
    ([(HISTORY, 9)], [[0], [0], [], [], [], []]),
    ([(HISTORY, 1), (SYSTEM, 9)], [[], [], [0], [0], [0], [0]]),
    ([(HISTORY, 9), (SYSTEM, 9)], [[0], [0], [0], [0], [0], [0]]),
    # Until the run logs a history metric of that name, `auto` is the system one.
    ([(SYSTEM, 9), (HISTORY, 1), (SYSTEM, 9)], [[0], [], [0, 1], [0, 1], [0, 1], [0, 1]]),
    ([(SYSTEM, 9), (HISTORY, 9), (SYSTEM, 9)], [[0, 0], [0], [0, 1], [0, 1], [0, 1], [0, 1]]),
]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(("logged", "expected"), TABLE)
def test_a_name_is_resolved_as_of_each_values_acceptance(
    penguins: Cast, logged: list[tuple[str, float]], expected: list[list[int]], late: bool
) -> None:
    rules = [
        rule(penguins.project, "run_metric_threshold", threshold(metric, value=5, source=source), period=0)
        for metric, source in SPELLINGS
    ]
    run = new_run(penguins.project)
    for source, value in logged:
        log(run, "cpu", [value], source=source)
        if not late:
            cast.decide()
    cast.decide()
    assert [steps(automation) for automation in rules] == expected


@pytest.mark.parametrize(
    ("event_type", "condition"),
    [
        ("run_metric_threshold", {"comparison": "above", "threshold": 5, "aggregation": "none"}),
        ("run_metric_change", {"direction": "increase", "threshold": 1, "aggregation": "none"}),
        ("run_metric_zscore", {"direction": "above", "threshold": 1, "baseline": "values", "window": 2}),
        ("run_metric_nonfinite", {}),
    ],
)
def test_every_metric_rule_can_watch_a_system_metric_by_its_prefix(
    penguins: Cast, event_type: str, condition: dict[str, Any]
) -> None:
    config = {"metric": "system.gpu.0.temp", **condition}
    automation = rule(penguins.project, event_type, config, period=0)
    run = new_run(penguins.project)
    for source in (HISTORY, SYSTEM):
        log(run, "gpu.0.temp", [1, 2, 99, "NaN"], source=source)
        cast.decide()
        assert (fired(automation) > 0) == (source == SYSTEM)
    names = set(Event.objects.filter(type=event_type).values_list("data__metric_name", flat=True))
    assert names == {"system.gpu.0.temp"}


def test_windows_are_never_filled_from_both_sources(penguins: Cast) -> None:
    condition = threshold("cpu", value=5, aggregation="average", window=2)
    auto = rule(penguins.project, "run_metric_threshold", condition, name="auto", period=0)
    system = rule(
        penguins.project, "run_metric_threshold", {**condition, "source": SYSTEM}, name="system", period=0
    )
    run = new_run(penguins.project)
    for source in (SYSTEM, HISTORY, SYSTEM, HISTORY):
        log(run, "cpu", [9], source=source)
    cast.decide()
    assert (steps(auto), steps(system)) == ([1], [1])


def test_nested_keys_are_one_name_with_dots_in_both_sources(penguins: Cast) -> None:
    automation = rule(
        penguins.project, "run_metric_threshold", threshold("system.gpu.0.temp", value=80), period=0
    )
    run = new_run(penguins.project)
    log_points(run, [{"values": {"gpu": {"0": {"temp": 90.0}, "1": {"temp": 70.0}}}}], source=SYSTEM)
    log_points(run, [{"values": {"gpu.0": {"temp": 91.0}}}], source=SYSTEM)
    cast.decide()
    assert steps(automation) == [0, 1]


def test_a_history_metric_whose_name_begins_with_system_is_not_the_prefixed_one(penguins: Cast) -> None:
    """`system.x` is always the system metric x; a history metric of that very name cannot be watched."""
    rules = [
        rule(
            penguins.project, "run_metric_threshold", threshold("system.x", value=5, source=source), period=0
        )
        for source in ("auto", HISTORY, SYSTEM)
    ]
    deeper = rule(penguins.project, "run_metric_threshold", threshold("system.system.x", value=5), period=0)
    run = new_run(penguins.project)
    log(run, "system.x", [9])
    log_points(run, [{"values": {"system": {"x": 9}}}])
    cast.decide()
    assert [fired(automation) for automation in (*rules, deeper)] == [0, 0, 0, 0]
    log(run, "system.x", [9], source=SYSTEM)
    cast.decide()
    assert [fired(automation) for automation in (*rules, deeper)] == [0, 0, 0, 1]
    log(run, "x", [9], source=SYSTEM)
    cast.decide()
    assert [fired(automation) for automation in (*rules, deeper)] == [1, 1, 1, 1]
