"""Small chunks are joined, and whoever reads metrics finds everything as it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from django.conf import settings
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st

from automations import evaluation, explain, tasks
from automations.models import Automation
from runs import metrics
from runs.metrics import compaction
from runs.models import Lane, MetricBatch, MetricChunk, Run
from runs.services.projects import create_project
from tests import cast
from tests.cast import Cast, Clock, at_once, log, log_points, new_run, rule, steps, threshold

STRETCH = 4
SERIES = [("history", "loss"), ("history", "acc"), ("system", "loss")]


@pytest.fixture
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four numbers, and no more than ten values in a row."""
    monkeypatch.setattr("runs.metrics.chunks.STRETCH", STRETCH)
    monkeypatch.setattr(compaction, "STRETCH", STRETCH)
    monkeypatch.setattr(compaction, "MAX_VALUES", 10)


def rows(run: Run) -> int:
    return MetricChunk.objects.filter(run=run).count()


def told(series: metrics.Series | None) -> Any:
    """To be compared: NaN is not equal to itself."""
    if series is None:
        return None
    values = [repr(value) for value in series.values]
    return list(series.steps), list(series.timestamps), values, series.first_index, series.finite_before


# --- Everything that can be asked -----------------------------------------------------------------


def everything(run: Run, other: Run) -> dict[str, Any]:
    """What every function says of a run, and of it as a neighbour of another one."""
    batches = list(MetricBatch.objects.filter(run=run).order_by("seq"))
    numbers = [0, *(batch.seq for batch in batches), Lane.objects.get(run=run).head + 1]
    return {
        "series": [asked_series(run, *place) for place in SERIES],
        "before": [asked_before(run, *place, seq=seq) for place, seq in product(SERIES, numbers)],
        "batches": [asked_batches(batches, source) for source in ("history", "system")],
        "spans": [metrics.spans(run.pk, *place) for place in SERIES],
        "nonfinite": [metrics.has_nonfinite(run.pk, seq=seq) for seq in numbers],
        "pieces": [pieces(run, up_to, *place) for up_to in (None, *numbers) for place in ANY],
        "neighbour": list(as_neighbour(run, other, batches)),
    }


ANY = [("", ""), ("history", ""), ("", "loss"), *SERIES]


def asked_series(run: Run, source: str, name: str) -> list[Any]:
    bounds: list[dict[str, int]] = [{}, {"max_points": 5}, {"step_min": 3}, {"step_max": 6}]
    bounds += [{"step_min": 2, "step_max": 7}, {"step_min": 1, "step_max": 90, "max_points": 6}]
    return [told(metrics.series(run, source, name, **each)) for each in bounds]


def asked_before(run: Run, source: str, name: str, *, seq: int) -> list[Any]:
    counts = (0, 1, 4, 70)
    tails = [metrics.tail(run.pk, source, name, count=count, before=seq) for count in counts]
    moments = [metrics.acceptances(run.pk, source, name, count=count, before=seq) for count in counts]
    return [tails, moments, metrics.logged_before(run.pk, source, name, seq=seq)]


def asked_batches(batches: Sequence[MetricBatch], source: str) -> list[Any]:
    own = [batch for batch in batches if batch.source == source]
    stretches = [own[start:end] for start in range(len(own)) for end in range(start + 1, len(own) + 1)]
    found = [metrics.in_batches(stretch, {"loss", "acc"}) for stretch in stretches]
    return [
        {seq: {name: told(series) for name, series in sorted(of.items())} for seq, of in sorted(each.items())}
        for each in found
    ]


def pieces(run: Run, up_to: int | None, source: str, name: str) -> list[Any]:
    found = list(metrics.with_nonfinite(run.pk, up_to=up_to, source=source, name=name))
    assert [piece.seq for piece in found] == sorted(piece.seq for piece in found)
    return sorted((piece.seq, piece.source, piece.name, told(piece.series)) for piece in found)


def as_neighbour(run: Run, other: Run, batches: Sequence[MetricBatch]) -> Iterator[Any]:
    project, moments = run.project_id, [batch.received_at for batch in batches]
    moments += [moments[0] - timedelta(seconds=1), moments[-1] + timedelta(seconds=1)]
    for (source, name), moment in product(SERIES, moments):
        place = (project, source, name)
        yield metrics.latest_finite(*place, as_of=moment, leave_out=other.pk, limit=9)
        yield metrics.others_changed(*place, leave_out=other.pk, since=moment)
        for until in moments[::2]:
            yield metrics.latest_finite_since(*place, since=moment, until=until, leave_out=other.pk)


values = st.sampled_from([0.5, -1.0, 2.0, "NaN", "Infinity"])
point = st.dictionaries(st.sampled_from(["loss", "acc"]), values, min_size=1)
call = st.tuples(st.sampled_from(["history", "history", "system"]), st.lists(point, min_size=1, max_size=4))


@pytest.mark.django_db
@pytest.mark.usefixtures("short_stretches")
@hypothesis_settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    calls=st.lists(call, min_size=2, max_size=9),
    waits=st.lists(st.integers(0, 2), min_size=9, max_size=9),
    stop=st.integers(0, 8),
    deleted=st.booleans(),
)
def test_everything_that_can_be_asked_is_answered_as_before(
    penguins: Cast, clock: Clock, calls: list[Any], waits: list[int], stop: int, deleted: bool
) -> None:
    """Joined at two moments, so that joined rows are joined again; some calls came at the same moment.

    A run may have been deleted between two of its calls, to those who look back.
    """
    run, other = new_run(penguins.project), new_run(penguins.project)
    for number, ((source, points), wait) in enumerate(zip(calls, waits, strict=False)):
        clock.move(seconds=wait)
        log_points(run, [{"values": each} for each in points], source=source)
        if number == stop:
            compact_all(clock, back=True)
    if deleted:
        run.deleted_at = MetricBatch.objects.filter(run=run).order_by("seq")[len(calls) // 2].received_at
        run.save()
    before, had = everything(run, other), rows(run)
    compact_all(clock, back=True)
    assert everything(run, other) == before
    assert rows(run) <= had
    assert Lane.objects.get(run=run).compacted == 1 + len(calls)


def compact_all(clock: Clock, *, back: bool = False) -> int:
    """As if all lanes had been quiet for a while."""
    cast.decide()
    moment = clock()
    clock.move(hours=2)
    gone = metrics.compact()
    if back:
        clock.moment = moment
    return gone


@pytest.mark.django_db
def test_a_thousand_calls_of_one_value_become_one_row(penguins: Cast, clock: Clock) -> None:
    run, other = new_run(penguins.project), new_run(penguins.project)
    for _number in range(60):
        log(run, "loss", [0.5])
    log(run, "loss", range(2000))
    before = told(metrics.series(run, "history", "loss"))
    assert (rows(run), compact_all(clock)) == (61, 59)
    assert (rows(run), rows(other)) == (2, 0), "the large call has no room in the row of the small ones"
    assert told(metrics.series(run, "history", "loss")) == before
    assert metrics.compact() == 0, "there is nothing left to do"


@pytest.mark.django_db
@pytest.mark.usefixtures("short_stretches")
def test_whole_stretches_below_the_cursor_are_joined_at_once_and_nothing_beyond(
    penguins: Cast, clock: Clock
) -> None:
    rule(penguins.project, "run_metric_threshold", threshold("loss", "above", 9))
    run = new_run(penguins.project)  # takes number 1
    for _number in range(9):
        log(run, "loss", [0.5])  # 2 to 10
    evaluation.evaluate_lane(run.pk)
    log(run, "loss", [0.5])  # 11, which waits and would complete the third stretch
    assert metrics.compact() == (2 - 1) + (4 - 1)
    assert sorted(MetricChunk.objects.values_list("seq", flat=True)) == [2, 4, 8, 9, 10, 11]
    evaluation.evaluate_lane(run.pk)
    assert metrics.compact() == 4 - 1
    assert sorted(MetricChunk.objects.values_list("seq", flat=True)) == [2, 4, 8]


@pytest.mark.django_db
@pytest.mark.usefixtures("short_stretches")
def test_what_one_call_leaves_the_next_one_does(penguins: Cast, clock: Clock) -> None:
    run = new_run(penguins.project)
    for _number in range(14):
        log(run, "loss", [0.5])  # 2 to 15
    cast.decide()
    assert [metrics.compact(most=1) for _call in range(6)] == [1, 3, 3, 3, 0, 0]
    assert rows(run) == 4


@pytest.mark.django_db
@pytest.mark.usefixtures("short_stretches")
def test_it_is_done_every_ten_minutes(penguins: Cast) -> None:
    schedule: dict[str, Any] = settings.CELERY_BEAT_SCHEDULE["compact"]
    run = new_run(penguins.project)
    for _number in range(7):
        log(run, "loss", [0.5])  # 2 to 8
    cast.decide()
    tasks.compact()
    assert (schedule["task"], schedule["schedule"], rows(run)) == (tasks.compact.name, 600.0, 3)


# --- Rules ----------------------------------------------------------------------------------------


def rules(who: Cast) -> list[Automation]:
    own = {"metric": "loss", "direction": "any"}
    z = {"metric": "loss", "direction": "either"}
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("run_metric_threshold", threshold(value=1.5, aggregation="average", window=3)),
        ("run_metric_change", {**own, "window": 2, "prior_window": 3, "threshold": 0.9}),
        ("run_metric_zscore", {**z, "baseline": "runs", "threshold": 1.5}),
        ("run_metric_zscore", {**z, "baseline": "values", "window": 5, "threshold": 2}),
        ("run_metric_nonfinite", {"metric": "", "hold": 2}),
        ("run_metric_threshold", threshold(value=1e9)),
    ]
    return [rule(who.team, key, config, period=0) for key, config in kinds]


SERIES_OF_A_RUN: list[float | str] = [
    0.5,
    1.0,
    "NaN",
    2.0,
    3.0,
    "NaN",
    "NaN",
    0.1,
    9.0,
    0.2,
    0.3,
    0.2,
    0.1,
    4.0,
]


@pytest.mark.django_db
@pytest.mark.usefixtures("short_stretches")
def test_rules_fire_and_explain_the_same_whether_rows_were_joined_or_not(
    penguins: Cast, clock: Clock
) -> None:
    """Twins: in one project rows are joined after every fifth call, in the other one never."""
    projects = (penguins.project, create_project(penguins.team, "swim"))
    for number in range(12):
        for project in projects:
            log(new_run(project), "loss", [number / 10])
    asked = rules(penguins)
    joined, plain = map(new_run, projects)
    gone = 0
    for number, value in enumerate(SERIES_OF_A_RUN):
        clock.move(seconds=1)
        for run in (joined, plain):
            log_points(run, [{"values": {"loss": value}, "timestamp": number}] * 2)
        cast.decide()
        if number % 5 == 4:
            Lane.objects.filter(run__project=plain.project).update(compacted=999)
            gone += metrics.compact()
    assert gone > 0
    assert rows(joined) < rows(plain) == len(SERIES_OF_A_RUN)
    fired = {run: [fired_in(each, run) for each in asked] for run in (joined, plain)}
    assert fired[joined] == fired[plain]
    assert [bool(each) for each in fired[plain]] == [True, True, True, True, True, False]
    assert [why(each, joined) for each in asked] == [why(each, plain) for each in asked]


def fired_in(automation: Automation, run: Run) -> list[Any]:
    found = automation.executions.filter(run=run).exclude(state="skipped").order_by("pk")
    return [without_ids(execution.explanation["data"]) for execution in found]


def without_ids(data: Any) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in {"runs", "armed_at"}}


def why(automation: Automation, run: Run) -> Any:
    """What explain says of a copy that has not fired: it must look at the whole series."""
    armed = run.batches.order_by("seq")[2].received_at
    copy = rule(run.project, automation.event_type, automation.config)
    Automation.objects.filter(pk=copy.pk).update(armed_at=armed)
    copy.refresh_from_db()
    reason = explain.why_run(copy, run).reason
    return reason.code, without_ids(reason.data)


# --- At the same time -----------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("short_stretches")
def test_whoever_logs_decides_or_reads_meanwhile_misses_nothing(penguins: Cast) -> None:
    """One logs and decides, two join, one reads, until everything is logged."""
    automation = rule(penguins.project, "run_metric_threshold", threshold("loss", "above", -1), period=0)
    run = new_run(penguins.project)
    count, over = 150, threading.Event()
    gone: list[int] = []

    def write() -> None:
        try:
            for number in range(count):
                log(run, "loss", [number], first_step=number)
                evaluation.evaluate_lane(run.pk)
        finally:
            over.set()

    def join() -> None:
        while not over.is_set():
            gone.append(metrics.compact())

    def read() -> None:
        while not over.is_set():
            found = metrics.series(run, "history", "loss")
            seen = [] if found is None else list(found.values)
            assert seen == [float(number) for number in range(len(seen))]
            before = len(metrics.spans(run.pk, "history", "loss"))
            tail = metrics.tail(run.pk, "history", "loss", count=30, before=10_000)
            assert tail == [tail[0] + number for number in range(len(tail))] if tail else before == 0
            assert len(tail) >= min(before, 30)

    at_once(4, lambda who: [write, join, join, read][who](), within=90)
    while metrics.compact():
        pass
    assert sum(gone) > 0, "rows were joined while others worked"
    assert rows(run) <= count / STRETCH + STRETCH
    assert steps(automation) == list(range(count))
    assert told(metrics.series(run, "history", "loss"))[2] == [repr(float(number)) for number in range(count)]
