from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from runs import ingest
from runs.api import runs as runs_api
from runs.models import MetricBatch, Run
from tests.api.house import Api, rows
from tests.cast import Cast, Clock, at_once, log, new_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(penguins: Cast) -> Run:
    return new_run(penguins.project)


def test_points_are_accepted_with_202_and_read_back(run: Run, max_: Api) -> None:
    path = f"runs/{run.pk}/metrics/"
    points = [
        {"step": 1, "timestamp": 1790000000.0, "values": {"loss": 0.5, "val/acc": 1}},
        {"step": 2, "timestamp": 1790000001.5, "values": {"loss": 0.25}},
    ]
    accepted = max_.post(path, {"points": points, "source": "history"})
    assert (accepted.status, accepted.json) == (202, {"accepted": 3, "duplicate": False})
    assert max_.get(f"{path}?name=loss&source=history").json == {
        "name": "loss",
        "source": "history",
        "count": 2,
        "steps": [1, 2],
        "timestamps": [1790000000.0, 1790000001.5],
        "values": [0.5, 0.25],
    }
    assert max_.get(f"{path}?name=val/acc").json["values"] == [1.0]
    names = {row["name"]: row for row in max_.get(path).json}
    assert {"last": 0.25, "min": 0.25, "max": 0.5, "count": 2, "source": "history"}.items() <= (
        names["loss"].items()
    )
    assert max_.get(f"runs/{run.pk}/").json["summary"] == {"loss": 0.25, "val/acc": 1.0}


def test_step_and_time_may_be_left_out(run: Run, max_: Api, clock: Clock) -> None:
    path = f"runs/{run.pk}/metrics/"
    max_.post(path, {"points": [{"values": {"loss": 1}}, {"values": {"loss": 2}}]})
    max_.post(path, {"points": [{"step": 10, "values": {"loss": 3}}, {"values": {"loss": 4}}]})
    max_.post(path, {"points": [{"step": None, "timestamp": None, "values": {"loss": 5}}]})
    series = max_.get(f"{path}?name=loss").json
    assert series["steps"] == [0, 1, 10, 11, 12]
    assert all(time > 1_700_000_000 for time in series["timestamps"])


def test_values_that_are_no_numbers_are_written_as_words(run: Run, max_: Api) -> None:
    path = f"runs/{run.pk}/metrics/"
    words = [1.0, "NaN", "Infinity", "-Infinity"]
    assert max_.post(path, {"points": [{"values": {"loss": word}} for word in words]}).status == 202
    assert max_.get(f"{path}?name=loss").json["values"] == words
    [row] = max_.get(path).json
    assert (row["last"], row["min"], row["max"], row["count"]) == ("-Infinity", 1.0, 1.0, 4)
    assert max_.get(f"runs/{run.pk}/").json["summary"] == {"loss": "-Infinity"}


def test_nested_values_are_flattened_with_dots(run: Run, max_: Api) -> None:
    path = f"runs/{run.pk}/metrics/"
    values = {"gpu": {"0": {"temp": 60}, "1": {"temp": 61}}}
    assert max_.post(path, {"points": [{"values": values}], "source": "system"}).json["accepted"] == 2
    assert [row["name"] for row in max_.get(f"{path}?source=system").json] == ["gpu.0.temp", "gpu.1.temp"]
    assert max_.get(f"{path}?source=history").json == []
    assert max_.get(f"{path}?name=gpu.0.temp&source=system").json["values"] == [60.0]
    assert max_.get(f"{path}?name=gpu.0.temp").status == 404
    # System metrics are no summary.
    assert max_.get(f"runs/{run.pk}/").json["summary"] == {}


def test_a_call_repeated_with_its_key_changes_nothing(run: Run, max_: Api) -> None:
    path = f"runs/{run.pk}/metrics/"
    body = {"points": [{"values": {"loss": 1, "acc": 0}}]}
    assert max_.post(path, body, Idempotency_Key="a").json == {"accepted": 2, "duplicate": False}
    before = rows()
    again = max_.post(path, body, Idempotency_Key="a")
    assert (again.status, again.json) == (202, {"accepted": 2, "duplicate": True})
    assert rows() == before
    assert max_.post(path, body, Idempotency_Key="b").json["duplicate"] is False
    assert max_.post(path, body).json["duplicate"] is False
    assert max_.get(f"{path}?name=loss").json["count"] == 3


@pytest.mark.parametrize("key", ["", "x" * 251])
def test_a_key_that_cannot_be_is_named(run: Run, max_: Api, key: str) -> None:
    refused = max_.post(f"runs/{run.pk}/metrics/", {"points": []}, Idempotency_Key=key)
    assert (refused.status, list(refused.json)) == (400, ["Idempotency-Key"])


def test_a_long_series_is_thinned_and_keeps_its_extremes(run: Run, vera: Api) -> None:
    values = [float(number % 10) for number in range(1000)]
    values[500], values[700] = 99.0, -99.0
    log(run, "loss", values)
    series = vera.get(f"runs/{run.pk}/metrics/?name=loss&max_points=40").json
    assert series["count"] == 1000
    assert len(series["values"]) <= 40
    assert {99.0, -99.0} <= set(series["values"])
    part = vera.get(f"runs/{run.pk}/metrics/?name=loss&step_min=499&step_max=501").json
    assert (part["steps"], part["values"]) == ([499, 500, 501], [9.0, 99.0, 1.0])
    nothing = vera.get(f"runs/{run.pk}/metrics/?name=loss&step_min=5000").json
    assert (nothing["steps"], nothing["count"]) == ([], 1000)


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("name=nothing", 404, "name"),
        ("name=loss&source=both", 400, "source"),
        ("name=loss&max_points=0", 400, "max_points"),
        ("name=loss&max_points=x", 400, "max_points"),
        ("name=loss&max_points=99999999999999999999", 400, "max_points"),
        ("name=loss&step_min=9223372036854775808", 400, "step_min"),
        ("name=loss&step_max=-9223372036854775809", 400, "step_max"),
        ("name=" + "x" * 251, 400, "name"),
        ("nonsense=1", 400, "nonsense"),
    ],
)
def test_a_question_that_cannot_be_is_named(run: Run, vera: Api, query: str, status: int, field: str) -> None:
    log(run, "loss", [1.0])
    refused = vera.get(f"runs/{run.pk}/metrics/?{query}")
    assert (refused.status, list(refused.json)) == (status, [field])


POINT = '{"values": {"loss": 1}}'


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("", "points"),
        ("null", "points"),
        ("[]", "points"),
        ("{}", "points"),
        ("7", "points"),
        ('{"points"', "points"),
        ('{"points": null}', "points"),
        ('{"points": {}}', "points"),
        ('{"points": [1]}', "points"),
        ('{"points": [{}]}', "points"),
        ('{"points": [{"values": []}]}', "points"),
        ('{"points": [{"values": {"loss": null}}]}', "points"),
        ('{"points": [{"values": {"loss": "high"}}]}', "points"),
        ('{"points": [{"values": {"loss": "nan"}}]}', "points"),
        ('{"points": [{"values": {"loss": true}}]}', "points"),
        ('{"points": [{"values": {"loss": []}}]}', "points"),
        ('{"points": [{"values": {"loss": NaN}}]}', "points"),
        ('{"points": [{"values": {"loss": 1e400}}]}', "points"),
        ('{"points": [{"values": {"loss": {"a": null}}}]}', "points"),
        ('{"points": [{"values": {"": 1}}]}', "points"),
        ('{"points": [{"values": {"a\\u0000b": 1}}]}', "points"),
        ('{"points": [{"values": {"a\\ud800b": 1}}]}', "points"),
        ('{"points": [{"values": {"a\\u0000": {"b": 1}}}]}', "points"),
        ('{"points": [{"values": {"' + "x" * 251 + '": 1}}]}', "points"),
        ('{"points": [{"values": {"loss": 1}, "step": 9223372036854775808}]}', "points"),
        ('{"points": [{"values": {"loss": 1}, "step": -9223372036854775809}]}', "points"),
        ('{"points": [{"values": {"loss": 1}, "step": 1.5}]}', "points"),
        ('{"points": [{"values": {"loss": 1}, "step": "1"}]}', "points"),
        ('{"points": [{"values": {"loss": 1}, "timestamp": "now"}]}', "points"),
        ('{"points": [{"values": {"loss": 1}, "timestamp": 1e400}]}', "points"),
        ('{"points": [{"values": {"loss": 1}, "nonsense": 1}]}', "points"),
        ('{"points": [POINT, {"values": {"loss": "x"}}]}', "points"),
        ('{"points": [POINT], "source": "both"}', "source"),
        ('{"points": [POINT], "source": 1}', "source"),
        ('{"points": [POINT], "nonsense": 1}', "points"),
        ('{"points": [{"values": ' + '{"a":' * 5000 + "1" + "}" * 5000 + "}]}", "points"),
        ('{"points": [{"step": 9223372036854775807, "values": {"a": 1}}, {"values": {"a": 1}}]}', "points"),
        ('{"points": [{"values": {"loss": 1' + "0" * 5000 + "}}]}", "points"),
    ],
)
def test_a_call_that_cannot_be_is_refused_whole(run: Run, max_: Api, body: str, field: str) -> None:
    before = rows()
    refused = max_.ask("POST", f"runs/{run.pk}/metrics/", raw=body.replace("POINT", POINT).encode())
    assert refused.status == 400, refused
    assert list(refused.json) == [field]
    assert rows() == before


@pytest.mark.parametrize("raw", [b"\xff\xfe", b'{"points": [{"values": {"\xff": 1}}]}', b"\x00"])
def test_bytes_that_are_no_utf_8_are_refused(run: Run, max_: Api, raw: bytes) -> None:
    refused = max_.ask("POST", f"runs/{run.pk}/metrics/", raw=raw)
    assert (refused.status, list(refused.json)) == (400, ["points"])


def test_the_largest_numbers_are_kept_as_they_are(run: Run, max_: Api) -> None:
    path = f"runs/{run.pk}/metrics/"
    points: list[dict[str, Any]] = [
        {"step": -(2**63), "timestamp": -1e300, "values": {"loss": 1.7976931348623157e308}},
        {"step": 2**63 - 1, "timestamp": 0, "values": {"loss": -1.7976931348623157e308}},
        {"step": 0, "timestamp": 1, "values": {"loss": 5e-324}},
    ]
    assert max_.post(path, {"points": points}).status == 202
    series = json.loads(max_.get(f"{path}?name=loss").content)
    assert series["steps"] == [point["step"] for point in points]
    assert series["values"] == [point["values"]["loss"] for point in points]


def test_an_empty_call_is_accepted_and_leaves_nothing(run: Run, max_: Api) -> None:
    for body in ({"points": []}, {"points": [{"values": {}}]}):
        assert max_.post(f"runs/{run.pk}/metrics/", body).json == {"accepted": 0, "duplicate": False}
    assert not MetricBatch.objects.exists()


def test_a_heartbeat_is_noted_and_brings_a_crashed_run_back(run: Run, max_: Api, clock: Clock) -> None:
    path = f"runs/{run.pk}/"
    beat = max_.post(f"{path}heartbeat/")
    assert (beat.status, beat.content) == (204, b"")
    assert max_.get(path).json["heartbeat_at"] == "2026-09-01T12:00:00Z"
    max_.patch(path, {"status": "crashed"})
    clock.move(minutes=5)
    assert max_.post(f"{path}heartbeat/", {}).status == 204
    seen = max_.get(path).json
    assert (seen["status"], seen["heartbeat_at"]) == ("running", "2026-09-01T12:05:00Z")


class Counting:
    """Decodes calls, and knows how many it decoded at the same moment."""

    def __init__(self, together: int, patience: float) -> None:
        self.most = self._now = 0
        self._patience = patience
        self._lock = threading.Lock()
        self._meeting = threading.Barrier(together)

    def parse(self, body: bytes) -> ingest.Call:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            self._meeting.wait(self._patience)
        except threading.BrokenBarrierError:
            self._meeting.reset()
        with self._lock:
            self._now -= 1
        return ingest._decoder.decode(body)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("limit", "most", "patience"), [(10, 1, 0.3), (1_000_000, 3, 20.0)])
def test_large_bodies_are_taken_in_one_at_a_time(
    run: Run, penguins: Cast, monkeypatch: pytest.MonkeyPatch, limit: int, most: int, patience: float
) -> None:
    counting = Counting(together=3, patience=patience)
    monkeypatch.setattr(runs_api, "LARGE_BODY", limit)
    monkeypatch.setattr(ingest, "parse", counting.parse)
    body = {"points": [{"values": {"loss": 1}}]}
    found = at_once(3, lambda _number: Api(penguins.max).post(f"runs/{run.pk}/metrics/", body).status)
    assert found == [202] * 3
    assert counting.most == most
