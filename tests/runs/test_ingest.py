"""From the bytes of a call to columns: what is taken, and what is refused by the name of its field."""

from __future__ import annotations

import json
import math
import tracemalloc
from array import array
from typing import Any
from unittest import mock

import msgspec
import pytest
from django.core.exceptions import ValidationError
from hypothesis import given, strategies as st

from runs import ingest

LAST = 2**63 - 1
FIRST = -(2**63)


def columns(points: Any, *, last_step: int = -1) -> dict[str, tuple[list[int], list[float]]]:
    call = ingest.parse(json.dumps({"points": points}).encode())
    found = ingest.columns(call, last_step=last_step, now=0.0)
    return {name: (list(column.steps), list(column.values)) for name, column in found.items()}


def test_several_metrics_share_a_step_and_one_may_come_twice() -> None:
    points = [
        {"step": 1, "values": {"loss": 0.5, "acc": 1}},
        {"step": 1, "values": {"loss": 0.25}},
    ]
    assert columns(points) == {"loss": ([1, 1], [0.5, 0.25]), "acc": ([1], [1.0])}


def test_nested_keys_are_joined_by_dots() -> None:
    assert columns([{"values": {"val": {"loss": 1, "top": {"5": 2}}, "gpu.0.temp": 3}}]) == {
        "val.loss": ([0], [1.0]),
        "val.top.5": ([0], [2.0]),
        "gpu.0.temp": ([0], [3.0]),
    }


@pytest.mark.parametrize(
    ("given_steps", "last_step", "expected"),
    [
        ([None, None], -1, [0, 1]),
        ([None, None], 41, [42, 43]),
        ([7, None, 3, None], 41, [7, 8, 3, 4]),
        ([None, 7, 7, None], -1, [0, 7, 7, 8]),
        ([FIRST, None, LAST], -1, [FIRST, FIRST + 1, LAST]),
    ],
)
def test_a_point_without_a_step_follows_the_one_before_it(
    given_steps: list[int | None], last_step: int, expected: list[int]
) -> None:
    points = [{"step": step, "values": {"loss": 1}} for step in given_steps]
    assert columns(points, last_step=last_step)["loss"][0] == expected


def test_a_time_is_that_of_the_client_or_else_now() -> None:
    body = b'{"points":[{"timestamp":1790000000.25,"values":{"a":1}},{"values":{"a":2}}]}'
    found = ingest.columns(ingest.parse(body), last_step=-1, now=5.0)
    assert list(found["a"].timestamps) == [1790000000.25, 5.0]


@pytest.mark.parametrize(
    ("spelling", "value"), [("NaN", math.nan), ("Infinity", math.inf), ("-Infinity", -math.inf)]
)
def test_the_three_values_that_are_no_number_come_as_strings(spelling: str, value: float) -> None:
    for values in ({"a": spelling}, {"deep": {"a": spelling}}):
        ((_steps, (found,)),) = columns([{"values": values}]).values()
        assert found == value or (math.isnan(found) and math.isnan(value))


def nested(depth: int) -> bytes:
    return b'{"points":[{"values":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}]}"


@pytest.fixture(params=[False, True], ids=["whole", "in pieces"])
def _decoded(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a call of the usual size, and as a large one of which two points are decoded at once."""
    if request.param:
        monkeypatch.setattr(ingest, "LARGE", 0)
        monkeypatch.setattr(ingest, "_PIECE", 2)


@pytest.mark.usefixtures("_decoded")
@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        (b"", "points", "JSON"),
        (b"{", "points", "JSON"),
        (b"\xff", "points", "JSON"),
        (b"[]", "points", "object"),
        (b"{}", "points", "points"),
        (b'{"points":{}}', "points", "array"),
        (b'{"points":[],"sauce":1}', "points", "sauce"),
        (b'{"points":[],"source":"hearsay"}', "source", "hearsay"),
        (b'{"points":[],"source":null}', "source", "null"),
        (b'{"points":[{}]}', "points", "values"),
        (b'{"points":[{"values":{},"stage":1}]}', "points", "stage"),
        (b'{"points":[{"values":[]}]}', "points", "points[0].values"),
        (b'{"points":[{"values":{}},{"step":"1","values":{}}]}', "points", "points[1].step"),
        (b'{"points":[' + b'{"values":{}},' * 5 + b'{"step":"1","values":{}}]}', "points", "points[5].step"),
        (
            b'{"points":[' + b'{"values":{"a":1}},' * 5 + b'{"values":{"a":[]}}]}',
            "points",
            "points[5].values",
        ),
        (b'{"points":[{"values":{"` - at `$[x].":1},"` - at `$[x].":1}]}', "points", "unknown"),
        (b'{"points":[{"step":1.5,"values":{}}]}', "points", "points[0].step"),
        (b'{"points":[{"step":true,"values":{}}]}', "points", "points[0].step"),
        (b'{"points":[{"step":9223372036854775808,"values":{}}]}', "points", "9223372036854775807"),
        (b'{"points":[{"step":-9223372036854775809,"values":{}}]}', "points", "points[0].step"),
        (b'{"points":[{"step":1' + b"0" * 5000 + b',"values":{}}]}', "points", "points[0].step"),
        (b'{"points":[{"timestamp":"now","values":{}}]}', "points", "points[0].timestamp"),
        (b'{"points":[{"timestamp":1e999,"values":{}}]}', "points", "points[0].timestamp"),
        (b'{"points":[{"values":{"a":NaN}}]}', "points", "JSON"),
        (b'{"points":[{"values":{"a":"nan"}}]}', "points", "nan"),
        (b'{"points":[{"values":{"a":null}}]}', "points", "values.a is null"),
        (b'{"points":[{"values":{"a":{"b":null}}}]}', "points", "values.a.b is null"),
        (b'{"points":[{"values":{"a":true}}]}', "points", "bool"),
        (b'{"points":[{"values":{"a":[1]}}]}', "points", "array"),
        (b'{"points":[{"values":{"a":{"b":"high"}}}]}', "points", "values.a"),
        (b'{"points":[{"values":{"a":1e999}}]}', "points", "range"),
        (b'{"points":[{"values":{"a":1' + b"0" * 400 + b"}}]}", "points", "range"),
        (b'{"points":[{"values":{"":1}}]}', "points", "250"),
        (b'{"points":[{"values":{"' + b"x" * 251 + b'":1}}]}', "points", "250"),
        (b'{"points":[{"values":{"' + b"x" * 250 + b'":{"y":1}}}]}', "points", "250"),
        (b'{"points":[{"values":{"a\\u0000":1}}]}', "points", "NUL"),
        (b'{"points":[{"values":{"a\\ud800":1}}]}', "points", "malformed"),
        (
            b'{"points":[{"step":9223372036854775807,"values":{"a":1}},{"values":{"a":1}}]}',
            "points",
            "no step",
        ),
    ],
)
def test_a_bad_call_is_refused_by_the_name_of_its_field(body: bytes, field: str, said: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        ingest.columns(ingest.parse(body), last_step=-1)
    assert list(refusal.value.message_dict) == [field]
    assert said in refusal.value.message_dict[field][0]


def test_a_call_holds_as_many_different_metrics_as_a_statement_can_name() -> None:
    values = {f"m{number}": number for number in range(ingest.MAX_METRICS)}
    assert len(columns([{"values": values}, {"values": values}])) == ingest.MAX_METRICS
    with pytest.raises(ValidationError) as refusal:
        columns([{"values": values}, {"values": {"one more": 1}}])
    assert "10000" in refusal.value.message_dict["points"][0]


DEPTHS = [1, 125, *range(126, 130), *range(300, 1100, 50), *range(930, 940), 10_000, 100_000]


@pytest.mark.parametrize("depth", DEPTHS)
def test_no_depth_of_nesting_gets_past_a_name_of_250_characters(depth: int) -> None:
    name_length = 2 * depth - 1
    if name_length <= 250:
        found = ingest.columns(ingest.parse(nested(depth)), last_step=-1)
        assert [len(name) for name in found] == [name_length]
        return
    with pytest.raises(ValidationError) as refusal:
        ingest.columns(ingest.parse(nested(depth)), last_step=-1)
    assert list(refusal.value.message_dict) == ["points"]


@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(FIRST, LAST - 20),
            st.dictionaries(
                st.text(
                    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=9
                ),
                st.floats(),
                max_size=3,
            ),
        ),
        max_size=20,
    )
)
def test_whatever_a_client_logs_comes_out_as_it_went_in(
    logged: list[tuple[int | None, dict[str, float]]],
) -> None:
    points = [
        {"step": step, "values": {name: spelled(value) for name, value in values.items()}}
        for step, values in logged
    ]
    found = ingest.columns(ingest.parse(json.dumps({"points": points}).encode()), last_step=-1, now=0.0)
    expected: dict[str, array[float]] = {}
    for _step, values in logged:
        for name, value in values.items():
            expected.setdefault(name, array("d")).append(value)
    assert list(found) == list(expected), "in the order in which they were first seen"
    for name, column in found.items():
        assert [repr(value) for value in column.values] == [repr(value) for value in expected[name]]
        assert len(column.steps) == len(column.timestamps) == len(column.values)


def spelled(value: float) -> float | str:
    if math.isnan(value):
        return "NaN"
    return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")


# --- Two ways to the same columns -----------------------------------------------------------------

NUMBERS = st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False)
ODD = st.sampled_from(["NaN", "Infinity", {"a": 1}, {"a": {"b": "-Infinity"}}, {}, {"a": None}, None])
NAMES = st.sampled_from(["loss", "acc", "a.b", "", "x" * 251, "nul\0"])
PLAIN_NAMES = st.sampled_from(["loss", "acc", "a.b"])
STEPS = st.none() | st.integers(-3, 3) | st.sampled_from([FIRST, LAST])


def points_of(names: st.SearchStrategy[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Points with the same metrics, as a loop logs them, or with any."""

    def point(metrics: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        times = st.none() | st.floats(0, 2e9)
        return st.fixed_dictionaries({"step": STEPS, "timestamp": times, "values": metrics})

    alike = st.lists(names, unique=True, max_size=3).flatmap(
        lambda chosen: st.lists(point(st.fixed_dictionaries(dict.fromkeys(chosen, values))), max_size=6)
    )
    return alike | st.lists(point(st.dictionaries(names, values, max_size=3)), max_size=4)


Outcome = dict[str, Any] | list[str]


def outcome(found: Any) -> Outcome:
    """Columns bit by bit, or what was said."""
    try:
        return {
            name: (column.steps.tolist(), column.timestamps.tobytes(), column.values.tobytes())
            for name, column in found().items()
        }
    except ValidationError as refusal:
        return refusal.messages


@given(
    points=points_of(PLAIN_NAMES, NUMBERS) | points_of(NAMES, NUMBERS | ODD),
    last_step=st.sampled_from([-1, 7, LAST]),
)
def test_points_that_are_alike_give_what_they_would_give_one_by_one(points: Any, last_step: int) -> None:
    call = ingest.parse(json.dumps({"points": points}).encode())
    expected = outcome(lambda: ingest._of_any_points(call.pieces(), last_step=last_step, accepted=5.0))
    assert outcome(lambda: ingest.columns(call, last_step=last_step, now=5.0)) == expected
    large = msgspec.json.decode(json.dumps({"points": points}), type=ingest.LargeCall)
    with mock.patch.object(ingest, "_PIECE", 2):
        assert outcome(lambda: ingest.columns(large, last_step=last_step, now=5.0)) == expected
        assert ingest.needs_last_step(large) == ingest.needs_last_step(call)
    short = ingest._of_equal_points(call.pieces(), last_step=last_step, accepted=5.0)
    assert short is None or outcome(lambda: short) == expected


def test_the_short_way_is_taken_by_what_a_loop_logs_and_by_nothing_odd() -> None:
    def is_short(points: Any) -> bool:
        call = ingest.parse(json.dumps({"points": points}).encode())
        return ingest._of_equal_points(call.pieces(), last_step=-1, accepted=0.0) is not None

    assert is_short([{"step": step, "values": {"loss": 1, "acc": 0.5}} for step in range(2500)])
    assert is_short([{"values": {"loss": 1}}])
    assert not is_short([{"values": {"loss": 1}}, {"values": {"acc": 1}}])
    assert not is_short([{"values": {"loss": "NaN"}}])
    assert not is_short([{"values": {"val": {"loss": 1}}}])


def test_a_large_call_of_tiny_points_takes_not_many_times_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"points":[' + b",".join([b'{"values":{"a":1}}'] * 60_000) + b"]}"

    def times_its_size() -> float:
        tracemalloc.start()
        try:
            found = ingest.columns(ingest.parse(body), last_step=-1)
            assert ingest.count(found.values()) == 60_000
            return tracemalloc.get_traced_memory()[1] / len(body)
        finally:
            tracemalloc.stop()

    assert len(body) > ingest.LARGE
    assert times_its_size() < 7
    monkeypatch.setattr(ingest, "LARGE", len(body) + 1)
    assert times_its_size() > 12, "decoded as a whole"


def test_a_long_call_keeps_every_value() -> None:
    points = [{"step": number, "values": {"loss": number, "acc": -number}} for number in range(2501)]
    found = columns(points)
    assert found["loss"] == (list(range(2501)), [float(number) for number in range(2501)])
    assert found["acc"][1] == [-float(number) for number in range(2501)]
