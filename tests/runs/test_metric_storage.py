from __future__ import annotations

import math
from array import array

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st

from runs import ingest, metrics
from runs.ingest import Column
from runs.models import MetricBatch, MetricChunk, Run
from tests.cast import Cast, log, log_points, new_run

pytestmark = pytest.mark.django_db

LAST = 2**63 - 1
FIRST = -(2**63)


@pytest.fixture
def run(penguins: Cast) -> Run:
    return new_run(penguins.project)


def stored(run: Run, metric: str = "loss", source: str = "history") -> tuple[list[int], list[str]]:
    series = metrics.series(run, source, metric)
    assert series is not None
    return list(series.steps), [repr(value) for value in series.values]


def test_a_series_comes_back_as_it_was_logged(run: Run) -> None:
    log(run, "loss", [0.1, "NaN", 1e-320, -0.0], first_step=5)
    log(run, "loss", ["-Infinity", 1.7976931348623157e308])
    assert stored(run) == (
        [5, 6, 7, 8, 9, 10],
        ["0.1", "nan", "1e-320", "-0.0", "-inf", "1.7976931348623157e+308"],
    )


def test_one_call_is_one_chunk_per_metric(run: Run) -> None:
    log_points(run, [{"values": {"loss": 1, "acc": 2}}, {"values": {"loss": 3}}])
    chunks = {chunk.name: chunk for chunk in MetricChunk.objects.filter(run=run)}
    assert {name: chunk.count for name, chunk in chunks.items()} == {"loss": 2, "acc": 1}
    assert len(chunks["loss"].values) == len(chunks["loss"].steps) == len(chunks["loss"].timestamps) == 16
    assert MetricBatch.objects.get(run=run).count == 3


def test_steps_reach_both_ends_of_int64(run: Run) -> None:
    log_points(run, [{"step": step, "values": {"loss": 1}} for step in (FIRST, 0, LAST)])
    assert stored(run)[0] == [FIRST, 0, LAST]
    chunk = MetricChunk.objects.get(run=run)
    assert (chunk.min_step, chunk.max_step) == (FIRST, LAST)


def test_a_step_left_out_goes_on_from_the_calls_before(run: Run) -> None:
    log(run, "loss", [1])
    log(run, "acc", [1], first_step=10)
    log(run, "loss", [2])
    log(run, "cpu", [3], source="system")
    assert stored(run)[0] == [0, 11]
    assert stored(run, "cpu", "system")[0] == [0], "each source counts its own steps"


def test_history_and_system_are_two_series(run: Run) -> None:
    log(run, "cpu", [1])
    log(run, "cpu", [2], source="system")
    assert stored(run, "cpu") == ([0], ["1.0"])
    assert stored(run, "cpu", "system") == ([0], ["2.0"])


def test_a_call_resent_with_its_key_changes_nothing(run: Run) -> None:
    first = log(run, "loss", [1, 2], key="k1")
    again = log(run, "loss", [1, 2], key="k1")
    assert (first.count, first.duplicate) == (2, False)
    assert (again.count, again.duplicate) == (2, True)
    assert stored(run) == ([0, 1], ["1.0", "2.0"])
    assert MetricBatch.objects.filter(run=run).count() == 1


def test_without_a_key_two_equal_calls_are_two_calls(run: Run) -> None:
    for _again in range(2):
        log(run, "loss", [1], first_step=0)
    assert stored(run) == ([0, 0], ["1.0", "1.0"])


def test_a_key_counts_for_its_run_alone(run: Run, penguins: Cast) -> None:
    log(run, "loss", [1], key="k1")
    assert not log(new_run(penguins.project), "loss", [1], key="k1").duplicate


@pytest.mark.parametrize("key", ["", "x" * 251, "nul\x00", "lone\ud800"])
def test_a_bad_key_is_refused_by_field(run: Run, key: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        log(run, "loss", [1], key=key)
    assert list(refusal.value.message_dict) == ["Idempotency-Key"]
    assert not MetricBatch.objects.filter(run=run).exists()


def test_a_call_without_values_is_accepted_and_leaves_nothing(run: Run) -> None:
    assert log_points(run, []).count == 0
    assert log_points(run, [{"values": {}}, {"step": 3, "values": {"empty": {}}}]).count == 0
    assert not MetricBatch.objects.filter(run=run).exists()


def test_a_call_with_very_many_metrics_is_stored(run: Run) -> None:
    values = {f"layer.{number}": number for number in range(ingest.MAX_METRICS)}
    assert log_points(run, [{"values": values}]).count == ingest.MAX_METRICS
    assert run.summaries.count() == ingest.MAX_METRICS


# --- Summaries ------------------------------------------------------------------------------------


def summary(run: Run) -> dict[str, object]:
    row = run.summaries.get(name="loss")
    return {
        "last": row.last,
        "last_step": row.last_step,
        "count": row.count,
        "finite": row.finite_count,
        "min": row.minimum,
        "max": row.maximum,
        "last_finite": row.last_finite,
    }


def test_a_summary_follows_the_series(run: Run) -> None:
    log(run, "loss", [3, 1, 2])
    assert summary(run) == {
        "last": 2.0, "last_step": 2, "count": 3, "finite": 3, "min": 1.0, "max": 3.0, "last_finite": 2.0,
    }  # fmt: skip
    log(run, "loss", [0])
    assert summary(run) == {
        "last": 0.0, "last_step": 3, "count": 4, "finite": 4, "min": 0.0, "max": 3.0, "last_finite": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("batches", "expected"),
    [
        ([["NaN"]], ("NaN", 0, None, None, None)),
        ([["Infinity", "-Infinity"]], ("-Infinity", 0, None, None, None)),
        ([[2, "NaN"]], ("NaN", 1, 2.0, 2.0, 2.0)),
        ([[2], ["NaN"]], ("NaN", 1, 2.0, 2.0, 2.0)),
        ([["NaN"], [2]], (2.0, 1, 2.0, 2.0, 2.0)),
        ([["Infinity"], [2, 1], ["NaN", 3, "NaN"]], ("NaN", 3, 1.0, 3.0, 3.0)),
    ],
)
def test_a_summary_names_a_last_value_that_is_no_number(
    run: Run,
    batches: list[list[float | str]],
    expected: tuple[object, int, float | None, float | None, float | None],
) -> None:
    for values in batches:
        log(run, "loss", values)
    found = summary(run)
    assert (found["last"], found["finite"], found["min"], found["max"], found["last_finite"]) == expected


# --- The tail that windows are filled from --------------------------------------------------------


def test_the_tail_reaches_over_many_chunks_and_past_what_is_no_number(run: Run) -> None:
    """150 finite values in single calls, one in five calls bringing a NaN before them."""
    for number in range(150):
        log(run, "loss", ["NaN", number] if number % 5 == 0 else [number])
    before = run.batches.latest("seq").seq + 1
    whole = [float(number) for number in range(150)]
    for count in (0, 1, 4, 5, 63, 64, 65, 149, 150, 500):
        expected = whole[-count:] if count else []
        for each in (1, 2, 1000):  # however many values a batch is thought to have
            tail = metrics.tail(run.pk, "history", "loss", count=count, before=before, each=each)
            assert tail == expected


def test_the_tail_ends_before_the_batch_it_is_asked_for(run: Run) -> None:
    for values in ([1, 2], [3, 4], [5]):
        log(run, "loss", values)
    second = run.batches.order_by("seq")[1]
    assert metrics.tail(run.pk, "history", "loss", count=9, before=second.seq) == [1.0, 2.0]
    assert metrics.tail(run.pk, "history", "loss", count=1, before=second.seq) == [2.0]
    found = metrics.in_batches([second], ["loss", "accuracy"])
    loss = found[second.seq]["loss"]
    assert (list(loss.values), loss.first_index, loss.finite_before) == ([3.0, 4.0], 2, 2)


def test_a_long_stretch_without_a_number_does_not_end_the_tail(run: Run) -> None:
    log(run, "loss", [1])
    for _number in range(70):
        log(run, "loss", ["NaN"])
    assert metrics.tail(run.pk, "history", "loss", count=1, before=10_000) == [1.0]


@hypothesis_settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    batches=st.lists(
        st.lists(st.tuples(st.integers(FIRST, LAST), st.floats()), min_size=1, max_size=8), max_size=8
    ),
    count=st.integers(0, 40),
)
def test_any_series_is_stored_bit_by_bit(
    penguins: Cast, batches: list[list[tuple[int, float]]], count: int
) -> None:
    run = new_run(penguins.project)
    for seq, batch in enumerate(batches, start=2):
        column = Column(
            array("q", [step for step, _value in batch]),
            array("d", [0.5] * len(batch)),
            array("d", [value for _step, value in batch]),
        )
        metrics.append(run, {"loss": column}, source="history", seq=seq, received_at=timezone.now())

    logged = [pair for batch in batches for pair in batch]
    series = metrics.series(run, "history", "loss")
    if not logged:
        assert series is None
        return
    assert series is not None
    assert list(series.steps) == [step for step, _value in logged]
    assert array("d", series.values).tobytes() == array("d", [value for _step, value in logged]).tobytes()
    finite = [value for _step, value in logged if math.isfinite(value)]
    tail = metrics.tail(run.pk, "history", "loss", count=count, before=99)
    assert tail == finite[max(0, len(finite) - count) :]
    row = run.summaries.get()
    assert (row.count, row.finite_count) == (len(logged), len(finite))
    assert (row.minimum, row.maximum) == ((min(finite), max(finite)) if finite else (None, None))
