"""The one-file client against a real HTTP server that misbehaves on demand."""

from __future__ import annotations

import ast
import contextlib
import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from runs import client as tripline

KEY = "tl-" + "k3Y" * 13
PATIENCE = 10.0  # seconds a test waits for a condition before it fails


@dataclass
class Seen:
    """A request as it came in; `status` is what it was answered with, 0 for none."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)
    status: int = 0

    @property
    def data(self) -> Any:
        return json.loads(self.body)


@dataclass
class Trouble:
    """What happens to the next request whose path holds `where`, instead of an answer."""

    where: str
    status: int = 0  # 0: the connection is closed without an answer
    body: dict[str, Any] | str = ""
    headers: dict[str, str] = field(default_factory=dict)
    until: threading.Event | None = None  # silence before the answer


class Harbor(ThreadingHTTPServer):
    """A Tripline server as small as the client needs it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.seen: list[Seen] = []
        self.troubles: list[Trouble] = []
        self.changed = threading.Condition()
        self.largest_batch = 10**9  # points; more is a 413
        self.run_exists = self.collection_exists = self.version_exists = False
        self.uploads: dict[str, bytes] = {}

    def requests(self, where: str, method: str = "") -> list[Seen]:
        return [r for r in self.seen if where in r.path and method in r.method]

    def points(self, source: str = "history") -> list[dict[str, Any]]:
        """The accepted points, each batch counted once by its key."""
        batches = {
            r.headers["Idempotency-Key"]: r.data for r in self.requests("/metrics/") if r.status == 202
        }
        return [p for batch in batches.values() if batch["source"] == source for p in batch["points"]]

    def statuses(self) -> list[str]:
        return [r.data["status"] for r in self.requests("/runs/7/", "PATCH")]

    def wait(self, condition: Callable[[], object]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE), f"it did not happen; seen: {self.seen[-5:]}"

    def trouble_for(self, path: str) -> Trouble | None:
        found = next((t for t in self.troubles if t.where in path), None)
        if found:
            self.troubles.remove(found)
        return found

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away in the middle is what these tests are about."""


class Handler(BaseHTTPRequestHandler):
    server: Harbor

    def log_message(self, format: str, *args: object) -> None:
        pass

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        seen = Seen(self.command, self.path, dict(self.headers), body)
        with self.server.changed:
            self.server.seen.append(seen)
            trouble = self.server.trouble_for(self.path)
            self.server.changed.notify_all()
        if trouble and trouble.until:
            trouble.until.wait(PATIENCE)
        if trouble and not trouble.status:
            self.close_connection = True
            return
        status, answer = (trouble.status, trouble.body) if trouble else self.answer(seen)
        with self.server.changed:
            seen.status = status
            self.server.changed.notify_all()
        self.reply(status, answer, trouble.headers if trouble else {})

    do_GET = do_POST = do_PUT = do_PATCH = handle_any

    def reply(self, status: int, answer: dict[str, Any] | str, headers: dict[str, str]) -> None:
        payload = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(payload))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def answer(self, seen: Seen) -> tuple[int, dict[str, Any]]:
        harbor, path = self.server, urlsplit(seen.path).path.removeprefix("/api/v1/")
        if path == "runs/":
            status = 200 if harbor.run_exists else 201
            order = seen.data
            return status, {
                "id": 7,
                "run_id": order["run_id"],
                "name": order.get("name") or "calm-otter-1",
                "project": 3,
            }
        if path.endswith("/metrics/"):
            count = len(seen.data["points"])
            return (
                (202, {"accepted": count})
                if count <= harbor.largest_batch
                else (413, {"detail": "too large"})
            )
        if path == "collections/":
            found = [{"id": 5, "type": "model", "name": "digits"}] if harbor.collection_exists else []
            return (200, {"results": found}) if seen.method == "GET" else (201, {"id": 5, **seen.data})
        if path == "registries/":
            return 200, {"results": [{"id": 4, "name": "models"}]}
        if path == "versions/":
            if harbor.version_exists:
                return 200, {"id": 9, "version": "v4", "state": "committed", "aliases": ["latest"]}
            return 201, {"id": 9, "version": "v5", "state": "pending", "aliases": seen.data["aliases"]}
        if "/files/" in path:
            harbor.uploads[path.split("/files/")[1]] = seen.body
        if path.endswith("/commit/"):
            return 200, {"id": 9, "version": "v5", "state": "committed", "aliases": ["latest", "candidate"]}
        return 200, {"version": 9} if "/aliases/" in path else {}


@contextlib.contextmanager
def open_harbor() -> Iterator[Harbor]:
    server = Harbor()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(PATIENCE)


@pytest.fixture
def harbor() -> Iterator[Harbor]:
    with open_harbor() as server:
        yield server


@pytest.fixture(autouse=True)
def quiet_client(monkeypatch: pytest.MonkeyPatch, harbor: Harbor) -> Iterator[None]:
    """Fast tries, no machine figures, and no trace of the client left in the test process."""
    for name, value in {
        "FLUSH_EVERY": 0.02,
        "FIRST_PAUSE": 0.02,
        "LONGEST_PAUSE": 0.1,
        "ARTIFACT_PATIENCE": 3.0,
    }.items():
        monkeypatch.setattr(tripline, name, value)
    for name, text in {"URL": harbor.url, "API_KEY": KEY, "SYSTEM_METRICS": "0"}.items():
        monkeypatch.setenv(f"TRIPLINE_{name}", text)
    process = tripline._Process()
    process._watching = True  # only the scripts in subprocesses have their end watched
    monkeypatch.setattr(tripline, "_process", process)
    yield
    if process.run is not None:
        process.run.finish(deadline=0.1)


def begin(**options: Any) -> tripline.Run:
    return tripline.init("crew/digits", **options)


def values_of(points: list[dict[str, Any]], name: str) -> list[Any]:
    return [point["values"][name] for point in points]


# ---- what a point looks like -----------------------------------------------------------------------


def test_values_steps_and_times_arrive_as_logged(harbor: Harbor) -> None:
    before = time.time()
    with begin() as run:
        run.log({"loss": 0.5, "val": {"acc": 1, "deep": {"er": True}}}, step=10)
        run.log({"loss": math.nan, "up": math.inf, "down": -math.inf})
        run.log({"loss": 2}, step=3)
        run.log({"loss": 3})
    points = harbor.points()
    assert [p["step"] for p in points] == [10, 11, 3, 4]
    assert points[0]["values"] == {"loss": 0.5, "val.acc": 1, "val.deep.er": 1}
    assert points[1]["values"] == {"loss": "NaN", "up": "Infinity", "down": "-Infinity"}
    assert all(before <= p["timestamp"] <= time.time() for p in points)


def test_steps_begin_at_zero_and_count_without_being_told(harbor: Harbor) -> None:
    with begin() as run:
        for value in range(3):
            run.log({"loss": value})
    assert [p["step"] for p in harbor.points()] == [0, 1, 2]


def test_a_resumed_run_lets_the_server_count_until_a_step_is_given(harbor: Harbor) -> None:
    harbor.run_exists = True
    with begin(run_id="abc12345") as run:
        run.log({"loss": 1})
        run.log({"loss": 2}, step=40)
        run.log({"loss": 3})
    assert [p.get("step") for p in harbor.points()] == [None, 40, 41]


class Scalar:
    """What numpy, torch and jax scalars have in common."""

    def __init__(self, *values: object) -> None:
        self.values = values

    def item(self) -> object:
        if len(self.values) != 1:
            raise RuntimeError("a Tensor with 3 elements cannot be converted to Scalar")
        return self.values[0]


def test_scalars_of_number_libraries_are_numbers(harbor: Harbor) -> None:
    numpy = pytest.importorskip("numpy")
    with begin() as run:
        run.log({"a": Scalar(0.25), "b": numpy.float32(0.5), "c": numpy.array(3), "d": numpy.bool_(True)})
        run.log({"e": numpy.float64("nan"), "f": numpy.int64(4)}, step=numpy.int64(8))
    first, second = harbor.points()
    assert first["values"] == {"a": 0.25, "b": 0.5, "c": 3, "d": 1}
    assert (second["step"], second["values"]) == (8, {"e": "NaN", "f": 4})


@pytest.mark.parametrize("value", ["0.5", None, [1, 2], object(), 1j, 10**400, Scalar(1, 2, 3), Scalar("1")])
def test_what_is_no_number_is_named_and_nothing_of_the_call_is_logged(harbor: Harbor, value: object) -> None:
    with begin() as run:
        with pytest.raises(TypeError, match=r"'val\.loss' must be a number"):
            run.log({"fine": 1, "val": {"loss": value}})
        run.log({"after": 2})
    assert [(p["step"], p["values"]) for p in harbor.points()] == [(0, {"after": 2})]


@pytest.mark.parametrize("name", ["", "x" * 251, "nul\0", "lone\ud800"])
def test_a_name_the_server_would_refuse_is_refused_at_once(harbor: Harbor, name: str) -> None:
    with begin() as run, pytest.raises(ValueError, match="1 to 250 characters"):
        run.log({name: 1})


@pytest.mark.parametrize(("step", "error"), [(1.5, TypeError), ("1", TypeError), (2**63, ValueError)])
def test_a_step_is_a_64_bit_integer(harbor: Harbor, step: Any, error: type[Exception]) -> None:
    with begin() as run:
        with pytest.raises(error):
            run.log({"loss": 1}, step=step)
        with pytest.raises(TypeError, match="takes a dict"):
            run.log(step)


# ---- the way to the server ---------------------------------------------------------------------------


def test_the_first_point_leaves_at_once_the_next_wait_for_company(
    harbor: Harbor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tripline, "FLUSH_EVERY", 60.0)
    run = begin()
    run.log({"loss": 0})
    harbor.wait(lambda: len(harbor.points()) == 1)
    for value in range(tripline.BATCH_POINTS):
        run.log({"loss": value})
    harbor.wait(lambda: len(harbor.points()) == 1 + tripline.BATCH_POINTS)  # a full batch does not wait
    assert len(harbor.requests("/metrics/")) == 2
    run.log({"loss": 1})
    start = time.monotonic()
    run.finish()
    assert time.monotonic() - start < 2  # nor does the end
    assert len(harbor.points()) == 2 + tripline.BATCH_POINTS


@pytest.mark.parametrize("status", [0, 500, 503, 429, 408])
def test_a_resend_has_the_same_key_and_the_same_body(harbor: Harbor, status: int) -> None:
    harbor.troubles = [Trouble("/metrics/", status), Trouble("/metrics/", status)]
    with begin() as run:
        run.log({"loss": 1})
        harbor.wait(harbor.points)
        run.log({"loss": 2})
    first, second, third, other = harbor.requests("/metrics/")
    assert (
        first.headers["Idempotency-Key"]
        == second.headers["Idempotency-Key"]
        == third.headers["Idempotency-Key"]
    )
    assert first.body == second.body == third.body
    assert other.headers["Idempotency-Key"] != first.headers["Idempotency-Key"]
    assert values_of(harbor.points(), "loss") == [1, 2]
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", first.headers["Idempotency-Key"])


def test_retry_after_is_waited_for(harbor: Harbor) -> None:
    harbor.troubles = [Trouble("/metrics/", 429, headers={"Retry-After": "1"})]
    run = begin()
    run.log({"loss": 1})
    harbor.wait(harbor.points)
    refused, accepted = harbor.requests("/metrics/")
    assert accepted.at - refused.at >= 0.95


def test_log_does_not_wait_for_a_hanging_server_and_nothing_is_lost(
    harbor: Harbor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tripline, "REQUEST_TIMEOUT", 0.3)
    hang = threading.Event()
    harbor.troubles = [Trouble("/metrics/", 503, until=hang)]
    run = begin()
    run.log({"loss": -1})
    harbor.wait(lambda: harbor.requests("/metrics/"))
    slowest = 0.0
    for value in range(2000):
        start = time.perf_counter()
        run.log({"loss": value})
        slowest = max(slowest, time.perf_counter() - start)
    assert slowest < 0.25, "log() waited for the network"
    run.finish()
    hang.set()
    assert values_of(harbor.points(), "loss") == list(range(-1, 2000))
    assert len({r.body for r in harbor.requests("/metrics/")[:2]}) == 1  # the timed-out one came again


def test_a_full_buffer_makes_log_wait_and_say_so(
    harbor: Harbor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tripline, "BUFFER_BYTES", 2_000)
    away = threading.Event()
    harbor.troubles = [Trouble("/metrics/", 503, until=away)]
    run = begin()
    logged: list[int] = []

    def train() -> None:
        for value in range(300):
            run.log({"loss": value})
            logged.append(value)

    trainer = threading.Thread(target=train)
    trainer.start()
    deadline = time.monotonic() + PATIENCE
    while "buffer is full" not in (said := capsys.readouterr().err) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "log() waits" in said
    assert 20 < len(logged) < 80  # 2,000 bytes of points wait in memory, the rest in log()
    away.set()
    trainer.join(PATIENCE)
    run.finish()
    assert values_of(harbor.points(), "loss") == list(range(300))


def test_a_refused_batch_is_dropped_and_reported_once_with_the_servers_words(
    harbor: Harbor, capsys: pytest.CaptureFixture[str]
) -> None:
    harbor.troubles = [Trouble("/metrics/", 400, {"points": ["step is too large", "try less"]}) for _ in "ab"]
    run = begin()
    for count in (1, 2):
        run.log({"loss": count})
        answered = partial(lambda n: len([r for r in harbor.requests("/metrics/") if r.status]) == n, count)
        harbor.wait(answered)
    run.log({"loss": 3})
    run.finish()
    said = capsys.readouterr().err
    assert values_of(harbor.points(), "loss") == [3]
    assert said.count("1 points are dropped: 400 points: step is too large try less") == 1
    assert "2 points were not delivered: 0 in want of time, 2 refused" in said


def test_a_batch_that_is_too_large_goes_in_halves_in_order(
    harbor: Harbor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tripline, "FLUSH_EVERY", 60.0)
    harbor.largest_batch = 3
    with begin() as run:
        run.log({"loss": 0})
        for value in range(1, 20):
            run.log({"loss": value})
    batches = harbor.requests("/metrics/")
    assert any(r.status == 413 for r in batches)
    assert values_of(harbor.points(), "loss") == list(range(20))
    assert len({r.headers["Idempotency-Key"] for r in batches}) == len(batches)


def test_a_single_point_that_is_too_large_is_dropped_and_said(
    harbor: Harbor, capsys: pytest.CaptureFixture[str]
) -> None:
    harbor.largest_batch = 0
    with begin() as run:
        run.log({"loss": 0})
    assert "413 too large" in capsys.readouterr().err
    assert len(harbor.requests("/metrics/")) == 1
    assert harbor.statuses() == ["finished"]


def test_batches_stay_below_a_megabyte(harbor: Harbor) -> None:
    wide = {f"metric-with-a-long-name-{n}": n for n in range(500)}
    with begin() as run:
        for _step in range(200):
            run.log(wide)
    assert len(harbor.points()) == 200
    assert max(len(r.body) for r in harbor.requests("/metrics/")) < 1_000_000


def test_many_threads_on_a_bad_line_keep_every_point_once_and_in_order(harbor: Harbor) -> None:
    harbor.troubles = [Trouble("/metrics/", status) for status in (0, 503, 0, 0, 429, 502) * 3]
    run = begin()

    def train(who: int) -> None:
        for value in range(500):
            run.log({f"loss{who}": value})

    threads = [threading.Thread(target=train, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.finish()
    points = harbor.points()
    assert [p["step"] for p in points] == list(range(2000))
    assert not harbor.troubles
    for who in range(4):
        assert [p["values"][f"loss{who}"] for p in points if f"loss{who}" in p["values"]] == list(range(500))


# ---- beginning and end -------------------------------------------------------------------------------


def test_init_says_what_is_run_and_where_to_watch_it(
    harbor: Harbor, capsys: pytest.CaptureFixture[str]
) -> None:
    nan, deep = math.nan, {"list": (1, {"x": math.inf}), "path": Path("a/b"), 5: None}
    with begin(
        config={"lr": 0.1, "nan": nan, "deep": deep, "big": 2**70, "nul": "a\0\ud800"}, name="exp-1"
    ) as run:
        assert run.name == "exp-1"
    order = harbor.requests("/runs/", "POST")[0].data
    assert (order["project"], order["status"], order["name"]) == ("crew/digits", "running", "exp-1")
    assert re.fullmatch("[a-z0-9]{8}", order["run_id"])
    assert order["config"] == {
        "lr": 0.1,
        "nan": "NaN",
        "deep": {"list": [1, {"x": "Infinity"}], "path": "a/b", "5": None},
        "big": str(2**70),
        "nul": "a?",
    }
    link = f"run exp-1: {harbor.url}/crew/digits/runs/{order['run_id']}"
    assert [line for line in capsys.readouterr().err.splitlines() if link in line]


def test_the_link_is_the_servers_own_where_it_gives_one(
    harbor: Harbor, capsys: pytest.CaptureFixture[str]
) -> None:
    page = "https://tripline.example.com/crew/digits/runs/abc"
    answer = {"id": 7, "run_id": "abc", "name": "calm-otter-1", "project": 3, "url": page}
    harbor.troubles = [Trouble("/runs/", 201, answer)]
    assert begin().url == page
    assert page in capsys.readouterr().err


def test_init_tries_again_for_the_same_run(harbor: Harbor) -> None:
    harbor.troubles = [Trouble("/runs/"), Trouble("/runs/", 503)]
    begin()
    orders = [r.data["run_id"] for r in harbor.requests("/runs/", "POST") if r.path.endswith("/runs/")]
    assert len(orders) == 3
    assert len(set(orders)) == 1


def test_init_gives_up_on_a_server_that_stays_away(harbor: Harbor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tripline, "INIT_PATIENCE", 0.2)
    harbor.troubles = [Trouble("/runs/", 503, "down for repairs") for _ in range(99)]
    with pytest.raises(tripline.TriplineError, match="503 Service Unavailable"):
        begin()
    assert len(harbor.troubles) < 98  # it tried more than once


def test_a_missing_key_says_how_to_make_one(harbor: Harbor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIPLINE_API_KEY")
    with pytest.raises(tripline.TriplineError, match=r"python3 manage\.py createapikey USERNAME"):
        begin()
    assert not harbor.seen


def test_the_key_goes_into_the_header_and_never_into_a_message(
    harbor: Harbor, capsys: pytest.CaptureFixture[str]
) -> None:
    harbor.troubles = [Trouble("/runs/", 401, {"detail": "Invalid key."})]
    with pytest.raises(tripline.TriplineError, match=r"401 Invalid key\.") as refused:
        begin()
    with pytest.raises(tripline.TriplineError, match="characters that no key has") as misread:
        begin(api_key=f"{KEY}\n{KEY}")
    assert harbor.seen[0].headers["Authorization"] == f"Bearer {KEY}"
    assert KEY not in f"{refused.value!r} {misread.value!r} {capsys.readouterr()}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_to_another_host(harbor: Harbor, status: int) -> None:
    with open_harbor() as other:
        harbor.troubles = [Trouble("/runs/", status, headers={"Location": f"{other.url}/api/v1/runs/"})]
        with pytest.raises(tripline.TriplineError, match=f"redirects to {other.url}"):
            begin()
        assert len(harbor.seen) == 1
        assert not other.seen


@pytest.mark.parametrize("url", ["tripline.example.com", "ftp://127.0.0.1", "http://me:secret@127.0.0.1:1"])
def test_a_url_that_cannot_work_is_refused_without_repeating_it(harbor: Harbor, url: str) -> None:
    with pytest.raises(tripline.TriplineError, match="must look like") as refused:
        begin(url=url)
    assert "secret" not in str(refused.value)


def test_something_else_than_tripline_is_recognized(harbor: Harbor) -> None:
    harbor.troubles = [Trouble("/runs/", 200, "<html>welcome</html>")]
    with pytest.raises(tripline.TriplineError, match="not as a Tripline server"):
        begin()


def test_finish_delivers_everything_before_it_sets_the_status(harbor: Harbor) -> None:
    run = begin()
    for value in range(12_000):
        run.log({"loss": value})
    run.finish("preempted")
    run.finish()
    assert len(harbor.points()) == 12_000
    assert harbor.statuses() == ["preempted"]
    assert "/metrics/" not in harbor.seen[-1].path
    with pytest.raises(RuntimeError, match="is finished"):
        run.log({"loss": 1})
    with pytest.raises(ValueError, match="status must be"):
        run.finish("done")


def test_finish_keeps_its_deadline_and_counts_what_is_left(
    harbor: Harbor, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begin()
    harbor.troubles = [Trouble("/metrics/", 503) for _ in range(10_000)]
    for value in range(10):
        run.log({"loss": value})
    start = time.monotonic()
    run.finish(deadline=2.3)
    assert time.monotonic() - start < 4.0
    said = capsys.readouterr().err
    assert "sending the last 10 points" in said
    assert "10 points were not delivered: 10 in want of time" in said
    assert harbor.statuses() == ["finished"]


def test_finish_does_not_sit_out_the_long_pause_after_a_failure(
    harbor: Harbor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in {"FIRST_PAUSE": 60.0, "LONGEST_PAUSE": 60.0, "LAST_PAUSE": 0.3}.items():
        monkeypatch.setattr(tripline, name, seconds)
    harbor.troubles = [Trouble("/metrics/", 503), Trouble("/metrics/", 503)]
    run = begin()
    run.log({"loss": 1})
    harbor.wait(lambda: harbor.requests("/metrics/"))
    start = time.monotonic()
    run.finish()
    assert 0.25 < time.monotonic() - start < 2
    assert len(harbor.points()) == 1
    assert harbor.statuses() == ["finished"]


def test_the_status_is_the_last_word_even_after_a_slow_heartbeat(harbor: Harbor) -> None:
    release = threading.Event()
    harbor.troubles = [Trouble("/heartbeat/", 200, {}, until=release)]
    run = begin()
    harbor.wait(lambda: harbor.requests("/heartbeat/"))
    timer = threading.Timer(0.3, release.set)
    timer.start()
    run.finish()
    timer.join()
    assert [r.status for r in harbor.requests("/heartbeat/")] == [200]
    assert harbor.requests("/runs/7/", "PATCH")[0].at - harbor.requests("/heartbeat/")[0].at >= 0.25


def test_the_with_form_tells_success_from_failure_from_ctrl_c(harbor: Harbor) -> None:
    for error in (None, ValueError(), KeyboardInterrupt(), SystemExit(0), SystemExit(2)):
        with pytest.raises(type(error)) if error else contextlib.nullcontext(), begin():
            if error:
                raise error
    assert harbor.statuses() == ["finished", "failed", "killed", "finished", "failed"]


def test_a_second_init_finishes_the_former_run(harbor: Harbor) -> None:
    former = begin()
    tripline.log({"loss": 1})
    begin(name="second")
    assert harbor.statuses() == ["finished"]
    assert len(harbor.points()) == 1
    with pytest.raises(RuntimeError, match="is finished"):
        former.log({"loss": 2})
    tripline.finish("failed")
    assert harbor.statuses() == ["finished", "failed"]


def test_logging_before_init_says_what_to_do(harbor: Harbor) -> None:
    with pytest.raises(RuntimeError, match=r"call tripline\.init"):
        tripline.log({"loss": 1})


ENDINGS = {
    "pass": "finished",
    "raise ValueError('diverged')": "failed",
    "import sys; sys.exit(3)": "failed",
    "import sys; sys.exit('no data')": "failed",
    "import sys; sys.exit(0)": "finished",
    "raise KeyboardInterrupt": "killed",
    "import sys; t = tripline.threading.Thread(target=sys.exit, args=(1,)); t.start(); t.join()": "finished",
    "import os; pid = os.fork(); os.waitpid(pid, 0) if pid else None": "finished",
    "import threading; t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()": "finished",
    "import os; pid = os.fork()\nif pid: os.waitpid(pid, 0)\nelse: raise ValueError('child')": "finished",
    "import os; pid = os.fork()\nif pid: assert os.waitpid(pid, 0)[1]\nelse: run.log({'x': 1})": "finished",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_end_of_a_script_is_the_end_of_its_run(harbor: Harbor, tmp_path: Path, ending: str) -> None:
    source = tripline.__file__
    assert source is not None
    shutil.copy(source, tmp_path / "tripline.py")
    script = tmp_path / "train.py"
    script.write_text(
        f"import tripline\nrun = tripline.init('crew/digits')\nrun.log({{'loss': 1}})\n{ending}\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert harbor.statuses() == [ENDINGS[ending]], done.stderr
    assert values_of(harbor.points(), "loss") == [1]
    assert ("Traceback" in done.stderr) == any(word in ending for word in ("raise", "/ 0", "log("))
    assert KEY not in done.stderr


# ---- beside the points -------------------------------------------------------------------------------


def test_heartbeats_begin_at_once_go_on_and_stop_at_the_end(
    harbor: Harbor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tripline, "HEARTBEAT_EVERY", 0.05)
    harbor.troubles = [Trouble("/heartbeat/", status) for status in (503, 0)]
    with begin():
        harbor.wait(lambda: len(harbor.requests("/runs/7/heartbeat/", "POST")) >= 4)
    assert harbor.seen[-1].method == "PATCH"


def test_system_metrics_are_their_own_source(
    harbor: Harbor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho '0, 35, 1024, 4096, 61'\necho '1, [N/A], 0, 4096, 40'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TRIPLINE_SYSTEM_METRICS", "1")
    monkeypatch.setattr(tripline, "SYSTEM_EVERY", 0.1)
    with begin() as run:
        run.log({"loss": 1})
        harbor.wait(lambda: len(harbor.points("system")) >= 3)
    points = harbor.points("system")
    gpus = {name: value for name, value in points[0]["values"].items() if name.startswith("gpu.")}
    assert gpus == {
        "gpu.0.gpu": 35,
        "gpu.0.memory_percent": 25,
        "gpu.0.temp": 61,
        "gpu.1.memory_percent": 0,
        "gpu.1.temp": 40,
    }
    assert [p["step"] for p in points] == list(range(len(points)))
    rates = {"cpu", "proc.cpu", "network.recv", "network.sent"}
    assert {"memory_percent", "disk_percent", "proc.memory_mb"} <= points[0]["values"].keys()
    assert rates <= points[2]["values"].keys()
    for name in ("cpu", "memory_percent", "disk_percent"):
        assert 0 <= points[2]["values"][name] <= 100
    assert values_of(harbor.points(), "loss") == [1]


def test_the_figures_are_shares_and_rates_of_the_whole_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    passing, working = iter((100.0, 100.0, 102.0, 102.0)), iter((7.0, 10.0))
    clock = SimpleNamespace(monotonic=passing.__next__, process_time=working.__next__)
    monkeypatch.setattr(tripline, "time", clock)
    machine = tripline._Machine()
    for busy, idle, received in ((100, 900, 1_000), (190, 970, 5_000)):
        card = [str(received), *["0"] * 7, "600", *["0"] * 7]
        files = {
            "/proc/stat": f"cpu {busy} 0 0 {idle} 40 0 0 0 0 0",
            "/proc/meminfo": "MemTotal: 8000 kB\nMemAvailable: 2000 kB",
            "/proc/self/statm": "900 250 1 1 1 1 1",
            "/proc/net/dev": f"Inter-\n face\n lo: 77 {' '.join(card)}\neth0:{' '.join(card)}",
        }
        monkeypatch.setattr(Path, "read_text", lambda path, encoding, files=files: files[str(path)])
        values = machine.sample()
    del values["disk_percent"]
    assert values == {
        "cpu": pytest.approx(100 * 90 / 160),
        "proc.cpu": 150,
        "memory_percent": 75,
        "proc.memory_mb": 250 * os.sysconf("SC_PAGE_SIZE") / 1e6,
        "network.recv": 2_000,
        "network.sent": 0,
    }


def test_a_machine_that_tells_nothing_costs_nothing(
    harbor: Harbor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_proc(path: str) -> list[list[str]]:
        raise FileNotFoundError(path)

    monkeypatch.setattr(tripline, "_rows", no_proc)
    monkeypatch.setenv("PATH", str(tmp_path))
    machine = tripline._Machine()
    machine.sample()
    assert set(machine.sample()) == {"proc.cpu", "disk_percent"}


@pytest.mark.parametrize(("setting", "argument"), [("0", True), ("1", False)])
def test_system_metrics_can_be_switched_off(
    harbor: Harbor, monkeypatch: pytest.MonkeyPatch, setting: str, argument: bool
) -> None:
    monkeypatch.setenv("TRIPLINE_SYSTEM_METRICS", setting)
    monkeypatch.setattr(tripline, "SYSTEM_EVERY", 0.01)
    sampled: list[object] = []

    def sample(machine: object) -> dict[str, float]:
        sampled.append(machine)
        return {"cpu": 1.0}

    monkeypatch.setattr(tripline._Machine, "sample", sample)
    begin(system_metrics=argument).finish()
    assert not sampled
    monkeypatch.setenv("TRIPLINE_SYSTEM_METRICS", "1")
    begin(system_metrics=True)
    harbor.wait(lambda: harbor.points("system"))  # the same probe does report when it is on


def test_logging_leaves_the_seeded_random_numbers_alone(harbor: Harbor) -> None:
    random.seed(4)
    before = random.getstate()
    harbor.troubles = [Trouble("/metrics/", 503)]
    with begin() as run:
        run.log({"loss": 1})
    assert random.getstate() == before


# ---- artifacts ---------------------------------------------------------------------------------------


def test_an_artifact_is_a_committed_version_with_its_files(harbor: Harbor, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    big = os.urandom(3_000_000)
    (folder / "weights.bin").write_bytes(big)
    (folder / "deep" / "labels 本.txt").write_text("0 1 2")
    (tmp_path / "empty").touch()
    harbor.troubles = [Trouble("/files/"), Trouble("/files/", 503), Trouble("/commit/", 502)]
    with begin() as run:
        made = run.log_artifact(
            [folder, str(tmp_path / "empty")],
            name="digits",
            aliases=["candidate"],
            metadata={"acc": math.nan},
        )
    assert (made.id, made.version, made.name) == (9, "v5", "digits")
    assert harbor.uploads == {"weights.bin": big, "deep/labels%20%E6%9C%AC.txt": b"0 1 2", "empty": b""}
    lookup, collection = harbor.requests("/collections/")
    assert parse_qs(urlsplit(lookup.path).query) == {"project": ["3"], "name": ["digits"]}
    assert collection.data == {"project": 3, "name": "digits", "type": "model"}
    order = harbor.requests("/versions/", "POST")[0].data
    assert order == {
        "collection": 5,
        "run": 7,
        "digest": made.digest,
        "metadata": {"acc": "NaN"},
        "aliases": ["candidate"],
        "state": "pending",
    }
    assert re.fullmatch("[0-9a-f]{64}", made.digest)
    put = harbor.requests("/files/weights.bin", "PUT")[-1]
    assert put.headers["Content-Type"] == "application/octet-stream"
    assert harbor.requests("/commit/")[-1].at > harbor.requests("/files/")[-1].at
    assert not harbor.requests("/aliases/")  # they came with the version


def test_the_same_files_again_are_the_same_version_with_its_new_alias(harbor: Harbor, tmp_path: Path) -> None:
    harbor.collection_exists = harbor.version_exists = True
    (tmp_path / "model.bin").write_bytes(b"weights")
    with begin() as run:
        made = run.log_artifact(tmp_path / "model.bin", name="digits", aliases="production")
    assert made.version == "v4"
    assert not harbor.requests("/collections/", "POST")
    assert not harbor.requests("/files/")
    assert [(r.path, r.data) for r in harbor.requests("/aliases/")] == [
        ("/api/v1/collections/5/aliases/production/", {"version": 9})
    ]


def test_the_digest_is_of_names_and_contents_alone(harbor: Harbor, tmp_path: Path) -> None:
    contents = {"one": {"a": "1", "b": "2"}, "two": {"b": "2", "a": "1"}, "renamed": {"a": "1", "c": "2"}}
    digests = {}
    for place, files in contents.items():
        (tmp_path / place).mkdir()
        for name, text in files.items():
            (tmp_path / place / name).write_text(text)
        digests[place] = tripline._digest(tripline._files([tmp_path / place]))
    assert digests["one"] == digests["two"] != digests["renamed"]


def test_what_cannot_be_uploaded_raises_before_anything_is_made(harbor: Harbor, tmp_path: Path) -> None:
    (tmp_path / "void").mkdir()
    (tmp_path / "file").touch()
    run = begin()
    with pytest.raises(FileNotFoundError):
        run.log_artifact(tmp_path / "missing.bin", name="digits")
    with pytest.raises(ValueError, match="no file to upload"):
        run.log_artifact(tmp_path / "void", name="digits")
    with pytest.raises(ValueError, match="same name"):
        run.log_artifact([tmp_path / "file", tmp_path / "file"], name="digits")
    assert not harbor.requests("/collections/") + harbor.requests("/versions/")


@pytest.mark.parametrize(
    ("named", "places"),
    [
        (9, []),
        (tripline.Artifact(9, "v4", "digits", ""), []),
        (
            "digits:best",
            ["/api/v1/collections/?project=3&name=digits", "/api/v1/collections/5/aliases/best/"],
        ),
        (
            "models/digits",
            [
                "/api/v1/registries/?name=models",
                "/api/v1/collections/?registry=4&name=digits",
                "/api/v1/collections/5/aliases/latest/",
            ],
        ),
    ],
)
def test_a_run_says_which_version_it_reads(harbor: Harbor, named: Any, places: list[str]) -> None:
    harbor.collection_exists = True
    with begin() as run:
        assert run.use_artifact(named) == 9
    assert [seen.path for seen in harbor.requests("", "GET")] == places
    assert len(harbor.requests("/versions/9/uses/7/", "PUT")) == 1


def test_a_version_that_is_nowhere_cannot_be_used(harbor: Harbor) -> None:
    run = begin()
    with pytest.raises(tripline.TriplineError, match="no collection digits") as refused:
        run.use_artifact("digits:best")
    assert refused.value.status == 404
    assert not harbor.requests("/uses/")


def test_a_refused_artifact_raises_with_the_servers_words(harbor: Harbor, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    harbor.troubles = [Trouble("/versions/", 400, {"aliases": ["v3 is a version number, not an alias."]})]
    run = begin()
    with pytest.raises(tripline.TriplineError, match="400 aliases: v3 is a version number") as refused:
        run.log_artifact(tmp_path / "model.bin", name="digits", aliases=["v3"])
    assert refused.value.status == 400


# ---- the file itself ---------------------------------------------------------------------------------


def test_the_file_is_for_python_3_8_and_its_default_url_is_a_line_of_its_own() -> None:
    source = tripline.__file__
    assert source is not None
    text = Path(source).read_text()
    assert text.splitlines().count('DEFAULT_URL = "http://127.0.0.1:8000"') == 1
    tree = ast.parse(text, feature_version=(3, 8))
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names
