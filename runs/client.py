"""Tripline in one file: log runs, metrics and artifacts to a Tripline server.

Save it as tripline.py beside your script. Standard library only, Python 3.8 or newer.

    import tripline

    run = tripline.init(project="team/name", config={"lr": 0.01})
    run.use_artifact("photos:latest")
    for step, loss in enumerate(train()):
        run.log({"loss": loss}, step=step)
    run.log_artifact("model.bin", name="digits", aliases=["candidate"])
    run.finish()

Settings: TRIPLINE_API_KEY (needed), TRIPLINE_URL, TRIPLINE_SYSTEM_METRICS=0 (no figures of the machine).

- `log` does not wait for the network: a thread sends in order, in batches. Each batch has an Idempotency-Key
  and is resent, byte for byte, until the server answers: nothing is lost, nothing counted twice.
- While the server is away, BUFFER_BYTES of points wait in memory. Beyond that `log` itself waits and says so.
- What the server refuses (4xx) is dropped and reported on stderr; the training goes on.
- `finish()` or a normal exit makes the run `finished`, an uncaught exception or `sys.exit` with an error
  `failed`, Ctrl-C `killed`. Signals are left alone: after SIGTERM, SIGKILL or a power cut the heartbeat
  stops, the server marks the run `crashed`, and what still waited in memory is gone.
- A run belongs to the process that began it: in a forked child `log` raises, and no child ends the run.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import http.client
import json
import math
import operator
import os
import secrets
import shutil
import string
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, NoReturn
from urllib.parse import quote, urlencode, urljoin, urlsplit

DEFAULT_URL = "http://127.0.0.1:8000"

FLUSH_EVERY = 0.2  # seconds between two batches; the first point after a silence leaves at once
BATCH_POINTS = 5_000
BATCH_BYTES = 900_000  # below the 1 MB that many reverse proxies allow
BUFFER_BYTES = 32_000_000  # some 500,000 points of one value
HEARTBEAT_EVERY, SYSTEM_EVERY = 30.0, 15.0
REQUEST_TIMEOUT, FILE_TIMEOUT = 10.0, 60.0  # seconds of silence on a connection
FIRST_PAUSE, LONGEST_PAUSE, LAST_PAUSE = 0.25, 30.0, 2.0  # between two tries; the last: once finishing
INIT_PATIENCE, ARTIFACT_PATIENCE = 20.0, 120.0  # seconds of trying before it is an error

_random = secrets.SystemRandom()  # not the global generator: logging must not disturb a seeded training


class TriplineError(Exception):
    """The server refused (`status` is its HTTP status) or could not be reached (`status` is None).

    `retry_after` is None where the same request would fail again, else the least number of seconds to wait.
    """

    def __init__(self, message: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


def _say(text: str) -> None:
    with contextlib.suppress(AttributeError, OSError, ValueError):  # without stderr a training goes on
        sys.stderr.write("tripline: " + "".join(c if c.isprintable() else " " for c in text) + "\n")
        sys.stderr.flush()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could carry the key to another host: it becomes an error."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        return None


class _Api:
    """The server's REST interface. The key goes into one header and nowhere else."""

    def __init__(self, url: str, key: str) -> None:
        parts, key = urlsplit(url.strip()), key.strip()
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise TriplineError("the server's URL must look like https://example.com, without a password")
        how = "`python3 manage.py createapikey USERNAME` on the server prints one; set TRIPLINE_API_KEY to it"
        if not key:
            raise TriplineError(f"no API key: {how}, or pass api_key=")
        if not (key.isascii() and key.isprintable()):  # http.client's own error would print it
            raise TriplineError(f"the API key holds characters that no key has: {how}")
        self.base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        local = parts.hostname in ("localhost", "::1") or parts.hostname.startswith("127.")
        proxies = [urllib.request.ProxyHandler({})] if local else []  # elsewhere: as the environment says
        self._opener = urllib.request.build_opener(_NoRedirect, *proxies)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | BinaryIO | None = None,
        *,
        rest: Callable[[TriplineError, float], bool],
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON object of the answer; TriplineError for all but 2xx.

        Where a resend may help, `rest(error, seconds)` waits for it, or returns False to give up.
        """
        url, pause = f"{self.base}/api/v1/{path}", FIRST_PAUSE
        while True:
            try:
                if body is not None and not isinstance(body, bytes):
                    body.seek(0)
                merged = {**self._headers, **(headers or {})}
                # The scheme was checked: it is http or https.
                request = urllib.request.Request(url, body, merged, method=method)  # noqa: S310
                return self._once(request, timeout or REQUEST_TIMEOUT)
            except TriplineError as error:
                jittered = pause * _random.uniform(0.5, 1.0)  # so that many clients do not return in step
                if error.retry_after is None or not rest(error, max(jittered, error.retry_after)):
                    raise
            pause = min(pause * 2, LONGEST_PAUSE)

    def _once(self, request: urllib.request.Request, timeout: float) -> tuple[int, dict[str, Any]]:
        try:
            with self._opener.open(request, timeout=timeout) as response:
                status, data = response.status, _object(response.read() or b"{}")
        except urllib.error.HTTPError as error:
            raise _refusal(error) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or str(error) or type(error).__name__
            raise TriplineError(f"cannot reach {self.base}: {reason}", retry_after=0.0) from None
        if data is None:
            raise TriplineError(f"{self.base} answers, but not as a Tripline server does; check TRIPLINE_URL")
        return status, data


def _until(deadline: float) -> Callable[[TriplineError, float], bool]:
    """A `rest` that gives up rather than wait beyond `deadline` on the monotonic clock."""

    def rest(error: TriplineError, seconds: float) -> bool:
        if time.monotonic() + seconds > deadline:
            return False
        _say(f"{error}; trying again in {seconds:.1f} s")
        time.sleep(seconds)
        return True

    return rest


def _json(value: object) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(body)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def _refusal(error: urllib.error.HTTPError) -> TriplineError:
    """The exception for an answer that is not 2xx, in the server's own words where it has any."""
    body = b""
    with error, contextlib.suppress(OSError, http.client.HTTPException):
        body = error.read(65_536)
    if 300 <= error.code < 400:
        target = error.headers.get("Location", "another address")
        return TriplineError(f"the server redirects to {target}; set TRIPLINE_URL to that server", error.code)
    said = (_object(body) or {}).items()
    said = {k: " ".join(map(str, v)) if isinstance(v, list) else v for k, v in said}.items()
    words = "; ".join(str(v) if k == "detail" else f"{k}: {v}" for k, v in said)
    text = f"{error.code} {words[:500] or error.reason}"
    if error.code not in (408, 425, 429) and error.code < 500:
        return TriplineError(text, error.code)
    after = error.headers.get("Retry-After", "")
    return TriplineError(text, error.code, min(float(after), 300.0) if after.isdigit() else 0.0)


def _flat(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, float | str]]:
    """{"val": {"loss": 1}} as ("val.loss", 1.0), checked: one bad name would cost a whole batch."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif 0 < len(name) <= 250 and _text(name) == name:
            yield name, _number(name, value)
        else:
            raise ValueError(f"a metric's name has 1 to 250 characters, no NUL, no surrogate: {name[:60]!r}")


def _number(name: str, value: Any) -> float | str:
    """A float, or the spelling of one that JSON lacks. Takes the scalars of numpy, torch and the like."""
    with contextlib.suppress(TypeError, ValueError, OverflowError, RuntimeError):  # the last is torch's
        plain = value.item() if callable(getattr(value, "item", None)) else value
        if not isinstance(plain, (str, bytes, bytearray)):
            return _spelled(float(plain))
    shown = f"{type(value).__name__} {value!r}"
    raise TypeError(f"{name!r} must be a number or a dict of numbers, not {shown[:100]}")


def _spelled(number: float) -> float | str:
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else ("Infinity" if number > 0 else "-Infinity")


def _text(value: str) -> str:
    """Without NUL and lone surrogates, which a database does not take."""
    return value.replace("\0", "").encode("utf-8", "replace").decode()


def _plain(value: Any) -> Any:
    """`value` as JSON holds it: dicts and lists kept, numpy scalars as numbers, the rest as strings."""
    if isinstance(value, Mapping):
        return {_text(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if getattr(value, "ndim", None) == 0 and callable(getattr(value, "item", None)):
        value = value.item()
    if value is None or isinstance(value, bool) or (isinstance(value, int) and value.bit_length() < 64):
        return value
    return _spelled(float(value)) if isinstance(value, float) else _text(str(value))


class _Outbox:
    """Takes points at once and sends them in order, from one thread."""

    def __init__(self, api: _Api, path: str) -> None:
        self._api, self._path = api, path
        self._changed = threading.Condition()  # guards the figures below
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._waiting_bytes = self._in_flight = self._refused = 0
        self._next_send = 0.0
        self._said: set[str] = set()
        self._closing, self._abandoned = threading.Event(), threading.Event()
        threading.Thread(target=self._work, name="tripline-outbox", daemon=True).start()

    def put(self, source: str, point: bytes) -> bool:
        """Queue a point, waiting where the buffer is full; False when closed."""
        with self._changed:
            if self._waiting_bytes >= BUFFER_BYTES:
                self._say_once("the server is slow or away and the buffer is full: log() waits for it")
                self._changed.wait_for(lambda: self._waiting_bytes < BUFFER_BYTES or self._closing.is_set())
            if self._closing.is_set():
                return False
            self._waiting.append((source, point))
            self._waiting_bytes += len(point)
            if len(self._waiting) == 1 or self._fills_a_batch():
                self._changed.notify_all()
            return True

    def close(self, deadline: float) -> tuple[int, int]:
        """Send what waits until `deadline`; returns how many points were (left behind, refused)."""
        with self._changed:
            self._closing.set()
            self._changed.notify_all()
            try:
                soon = min(2.0, deadline - time.monotonic())
                if not self._changed.wait_for(lambda: not self._left(), soon):
                    rest = max(0.0, deadline - time.monotonic())
                    _say(f"sending the last {self._left()} points, {rest:.0f} s at most (Ctrl-C gives up)")
                    self._changed.wait_for(lambda: not self._left(), rest)
            finally:
                self._abandoned.set()
            return self._left(), self._refused

    def _fills_a_batch(self) -> bool:
        return len(self._waiting) >= BATCH_POINTS or self._waiting_bytes >= BATCH_BYTES

    def _left(self) -> int:
        return len(self._waiting) + self._in_flight

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            _say(text)

    def _work(self) -> None:
        while not self._abandoned.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing.is_set())
                early = self._next_send - time.monotonic()
                self._changed.wait_for(lambda: self._fills_a_batch() or self._closing.is_set(), early)
                if not self._waiting:
                    return
                source, points = self._cut_batch()
            self._deliver(source, points)

    def _cut_batch(self) -> tuple[str, list[bytes]]:
        self._next_send = time.monotonic() + FLUSH_EVERY
        source, size, points = self._waiting[0][0], 0, []
        while self._waiting and self._waiting[0][0] == source:
            points.append(self._waiting.popleft()[1])
            size += len(points[-1])
            if len(points) == BATCH_POINTS or size >= BATCH_BYTES:
                break
        self._waiting_bytes -= size
        self._in_flight = len(points)
        self._changed.notify_all()
        return source, points

    def _deliver(self, source: str, points: list[bytes]) -> None:
        """Send until answered or abandoned. What is too large goes in halves; what is refused is dropped."""
        body = b'{"source":"%s","points":[%s]}' % (source.encode(), b",".join(points))
        headers, count, refused = {"Idempotency-Key": str(uuid.uuid4())}, len(points), 0
        try:
            self._api.ask("POST", self._path, body, headers=headers, rest=self._rest)
        except TriplineError as error:
            if error.retry_after is not None:  # abandoned
                return
            if error.status == 413 and count > 1:
                self._deliver(source, points[: count // 2])
                self._deliver(source, points[count // 2 :])
                return
            refused = count
            self._say_once(f"the server refused a batch; its {count} points are dropped: {error}")
        with self._changed:
            self._in_flight -= count
            self._refused += refused
            self._changed.notify_all()

    def _rest(self, error: TriplineError, seconds: float) -> bool:
        """Closing cuts a pause short; from then on tries are at most LAST_PAUSE apart."""
        self._say_once(f"{error}; keeping the points and trying on")
        if self._closing.is_set():
            return not self._abandoned.wait(min(seconds, LAST_PAUSE))
        self._closing.wait(seconds)
        return not self._abandoned.is_set()


def _rows(path: str) -> list[list[str]]:
    return [line.replace(":", " ").split() for line in Path(path).read_text("ascii").splitlines()]


class _Machine:
    """System metrics. What a machine does not tell (no /proc, no nvidia-smi) is left out, never an error."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[float, ...]] = {}
        self._nvidia_smi = shutil.which("nvidia-smi")

    def sample(self) -> dict[str, float]:
        """The figures now; those that are rates come from the second sample on."""
        values: dict[str, float] = {}
        for probe in (self._cpu, self._process, self._memory, self._disk, self._network, self._gpus):
            with contextlib.suppress(
                OSError, ArithmeticError, LookupError, ValueError, subprocess.SubprocessError
            ):
                values.update(probe())
        return values

    def _since(self, probe: str, now: tuple[float, ...]) -> list[float]:
        """How far each counter went since the sample before; LookupError at the first sample."""
        before, self._before[probe] = self._before.get(probe, ()), now
        return [value - before[i] for i, value in enumerate(now)]

    def _cpu(self) -> dict[str, float]:  # percent of the whole machine
        ticks = [float(field) for field in _rows("/proc/stat")[0][1:9]]
        every, idle = self._since("cpu", (sum(ticks), ticks[3] + ticks[4]))
        return {"cpu": 100 * (1 - idle / every)}

    def _process(self) -> dict[str, float]:  # percent of one core: two busy threads are 200
        seconds, busy = self._since("process", (time.monotonic(), time.process_time()))
        return {"proc.cpu": 100 * busy / seconds}

    def _memory(self) -> dict[str, float]:
        size = {row[0]: float(row[1]) for row in _rows("/proc/meminfo")}
        resident = float(_rows("/proc/self/statm")[0][1]) * os.sysconf("SC_PAGE_SIZE")
        used = 100 * (1 - size["MemAvailable"] / size["MemTotal"])
        return {"memory_percent": used, "proc.memory_mb": resident / 1e6}

    def _disk(self) -> dict[str, float]:  # the one that holds the working directory
        usage = shutil.disk_usage(".")
        return {"disk_percent": 100 * usage.used / usage.total}

    def _network(self) -> dict[str, float]:  # bytes a second, loopback left out
        cards = [row for row in _rows("/proc/net/dev")[2:] if row[0] != "lo"]
        counts = (sum(float(card[1]) for card in cards), sum(float(card[9]) for card in cards))
        seconds, received, sent = self._since("network", (time.monotonic(), *counts))
        return {"network.recv": received / seconds, "network.sent": sent / seconds}

    def _gpus(self) -> dict[str, float]:
        if not self._nvidia_smi:
            return {}
        query = "--query-gpu=index,utilization.gpu,memory.used,memory.total,temperature.gpu"
        command = [self._nvidia_smi, query, "--format=csv,noheader,nounits"]
        quiet = subprocess.DEVNULL
        answer = subprocess.check_output(command, stdin=quiet, stderr=quiet, timeout=5)
        values: dict[str, float] = {}
        for line in answer.decode().splitlines():
            index, *fields = (field.strip() for field in line.split(","))
            busy, used, total, heat = (float(f) if f.replace(".", "").isdigit() else math.nan for f in fields)
            gpu = {"gpu": busy, "memory_percent": 100 * used / total, "temp": heat}
            told = {name: figure for name, figure in gpu.items() if math.isfinite(figure)}  # not "[N/A]"
            values.update({f"gpu.{index}.{name}": figure for name, figure in told.items()})
        return values


def _files(paths: Sequence[str | os.PathLike[str]]) -> dict[str, Path]:
    """Name in the version -> path: a file under its own name, a directory's files by their place below it."""
    found: list[tuple[str, Path]] = []
    for path in map(Path, paths):
        below = [file for file in path.rglob("*") if not file.is_dir()]
        found += [(file.relative_to(path).as_posix(), file) for file in below]
        if not path.is_dir():
            found.append((path.name, path))
    files = dict(sorted(found))
    if not files:
        raise ValueError(f"there is no file to upload in {list(paths)}")
    if len(files) < len(found):
        raise ValueError(f"two files would have the same name in the version: {list(paths)}")
    return files


def _digest(files: Mapping[str, Path]) -> str:
    """SHA-256 over each file's SHA-256 and name: the same content is the same version."""
    listing = hashlib.sha256()
    for name, path in files.items():
        content = hashlib.sha256()
        with path.open("rb") as file:
            for piece in iter(partial(file.read, 1 << 20), b""):
                content.update(piece)
        listing.update(f"{content.hexdigest()} {name}\n".encode())
    return listing.hexdigest()


class Artifact(NamedTuple):
    """A committed version: `id` for the API, `version` ("v0") for people."""

    id: int
    version: str
    name: str
    digest: str


class Run:
    """A run this process logs to; `init` makes it."""

    def __init__(self, api: _Api, data: Mapping[str, Any], *, resumed: bool, system_metrics: bool) -> None:
        self.id: int = data["id"]
        self.run_id: str = data["run_id"]
        self.name: str = data["name"]
        self.project: int | str = data["project"]
        self.url = urljoin(f"{api.base}/", data["url"])
        self._api, self._pid, self._finished = api, os.getpid(), False
        self._numbering = threading.RLock()  # a step is taken and queued in one act
        # The last one by source. Where a resumed run stands the server knows: it counts until one is given.
        self._steps = {} if resumed else {"history": -1, "system": -1}
        self._stop = threading.Event()
        self._outbox = _Outbox(api, f"runs/{self.id}/metrics/")
        self._heart = self._repeat(HEARTBEAT_EVERY, self._beat)
        if system_metrics:
            machine = _Machine()
            self._repeat(SYSTEM_EVERY, lambda: self._put("system", machine.sample(), None))

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers as of now. Nested dicts become dotted names; NaN and infinity are welcome.

        Without `step`: the last step + 1, from 0 (a resumed run goes on from where the server is). Raises
        TypeError or ValueError, naming what is no number, name or step, and then logs nothing.
        """
        self._check_process()
        if not isinstance(values, Mapping):
            raise TypeError(f"log() takes a dict of numbers, not {type(values).__name__}")
        if not self._put("history", values, step):
            raise RuntimeError(f"run {self.name} is finished; init(run_id={self.run_id!r}) resumes it")

    def finish(self, status: str = "finished", *, deadline: float = 60.0) -> None:
        """Send everything, in `deadline` seconds at most, then set the status; says what was not delivered.

        `status` is finished, failed, killed or preempted. A second call does nothing.
        """
        self._check_process()
        if status not in ("finished", "failed", "killed", "preempted"):
            raise ValueError(f"status must be finished, failed, killed or preempted, not {status!r}")
        if self._finished:
            return
        self._finished = True
        self._stop.set()
        until = time.monotonic() + deadline
        try:
            left, refused = self._outbox.close(until)
            if left or refused:
                _say(f"{left + refused} points were not delivered: {left} in want of time, {refused} refused")
        finally:  # also when Ctrl-C ended the waiting
            self._heart.join(max(0.0, min(2.0, until - time.monotonic())))  # no heartbeat after the end
            self._set_status(status, until)

    def log_artifact(
        self,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        name: str,
        type: str = "model",
        aliases: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> Artifact:
        """Upload files or directories as a version of the project's collection `name`, made when missing.

        Waits until it is committed. The same files again are the same version. Raises OSError for what
        cannot be read, TriplineError for what the server refuses.
        """
        self._check_process()
        files = _files([paths] if isinstance(paths, (str, os.PathLike)) else paths)
        aliases = [aliases] if isinstance(aliases, str) else list(aliases)
        digest, collection = _digest(files), self._collection(name, type)
        order = {"collection": collection, "run": self.id, "digest": digest, "state": "pending"}
        version = self._ask(
            "POST", "versions/", {**order, "aliases": aliases, "metadata": _plain(metadata or {})}
        )
        if version["state"] != "committed":
            for inside, path in files.items():
                self._upload(f"versions/{version['id']}/files/{quote(inside)}", path)
            version.update(self._ask("POST", f"versions/{version['id']}/commit/", {}))
        for alias in sorted(set(aliases).difference(version["aliases"])):  # the files were there before
            place = f"collections/{collection}/aliases/{quote(alias, safe='')}/"
            self._ask("PUT", place, {"version": version["id"]})
        return Artifact(version["id"], version["version"], name, digest)

    def use_artifact(self, artifact: Artifact | int | str) -> int:
        """Note that this run read a version: what `log_artifact` returned, an id, or "name:alias".

        The name is that of a collection of the run's project, or "registry/name". Returns the version's
        id. Raises TriplineError where there is none such.
        """
        self._check_process()
        if isinstance(artifact, Artifact):
            version = artifact.id
        else:
            version = artifact if isinstance(artifact, int) else self._version(artifact)
        self._ask("PUT", f"versions/{version}/uses/{self.id}/")
        return version

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_mine():
            self.finish(_status_after(error))

    def is_mine(self) -> bool:
        return self._pid == os.getpid()

    def _check_process(self) -> None:
        if not self.is_mine():  # its threads and locks did not survive the fork
            raise RuntimeError(f"run {self.name} belongs to process {self._pid}: log there, or init() here")

    def _put(self, source: str, values: Mapping[str, Any], step: int | None) -> bool:
        point: dict[str, Any] = {"timestamp": time.time(), "values": dict(_flat(values))}
        with self._numbering:
            if step is None and source in self._steps:
                step = self._steps[source] + 1
            if step is not None:
                point["step"] = operator.index(step)  # TypeError for what is no integer
                if abs(point["step"]) >= 2**63:
                    raise ValueError(f"step must fit in 64 bits: {step}")
                self._steps[source] = point["step"]
            return not point["values"] or self._outbox.put(source, _json(point))

    def _repeat(self, seconds: float, action: Callable[[], object]) -> threading.Thread:
        def work() -> None:
            action()
            while not self._stop.wait(seconds):
                action()

        thread = threading.Thread(target=work, name="tripline", daemon=True)
        thread.start()
        return thread

    def _beat(self) -> None:
        with contextlib.suppress(TriplineError):  # the outbox says what is wrong
            self._api.ask("POST", f"runs/{self.id}/heartbeat/", b"{}", rest=lambda error, seconds: False)

    def _set_status(self, status: str, deadline: float) -> None:
        body, timeout = _json({"status": status}), min(REQUEST_TIMEOUT, max(1.0, deadline - time.monotonic()))
        try:
            self._api.ask("PATCH", f"runs/{self.id}/", body, timeout=timeout, rest=_until(deadline))
        except TriplineError as error:
            _say(f"the server does not know that the run is {status}: {error}")

    def _ask(self, method: str, path: str, payload: object = None) -> dict[str, Any]:
        body = None if payload is None else _json(payload)
        return self._api.ask(method, path, body, rest=_until(time.monotonic() + ARTIFACT_PATIENCE))[1]

    def _collection(self, name: str, type: str) -> int:
        """The id of the project's collection of that name, made when missing."""
        place: dict[str, Any] = {"project": self.project, "name": name}
        found = self._ask("GET", f"collections/?{urlencode(place)}")["results"]
        return int((found or [self._ask("POST", "collections/", {**place, "type": type})])[0]["id"])

    def _version(self, name: str) -> int:
        """The id of the version that "name:alias" or "registry/name:alias" names."""
        path, _colon, alias = name.partition(":")
        registry, _slash, collection = path.rpartition("/")
        place: dict[str, Any] = {"project": self.project, "name": collection}
        if registry:
            found = self._ask("GET", f"registries/?{urlencode({'name': registry})}")["results"]
            place = {"registry": found[0]["id"] if found else 0, "name": collection}
        shelves = self._ask("GET", f"collections/?{urlencode(place)}")["results"]
        if not shelves:
            raise TriplineError(f"there is no collection {path}", 404)
        alias = quote(alias or "latest", safe="")
        return int(self._ask("GET", f"collections/{shelves[0]['id']}/aliases/{alias}/")["version"])

    def _upload(self, place: str, path: Path) -> None:
        rest = _until(time.monotonic() + ARTIFACT_PATIENCE)
        with path.open("rb") as file:
            size = str(os.fstat(file.fileno()).st_size)
            headers = {"Content-Type": "application/octet-stream", "Content-Length": size}
            self._api.ask("PUT", place, file, headers=headers, timeout=FILE_TIMEOUT, rest=rest)


def _status_after(error: BaseException | None) -> str:
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "finished"
    return "killed" if isinstance(error, KeyboardInterrupt) else "failed"


class _Process:
    """The run of this process, and how the interpreter ends: at exit nothing tells that any more."""

    def __init__(self) -> None:
        self.run: Run | None = None
        self._status, self._watching = "finished", False

    def watch(self) -> None:
        """From now on, note what ends the interpreter; then finish the run with it."""
        if not self._watching:
            self._watching, self._report, self._leave = True, sys.excepthook, sys.exit
            sys.excepthook, sys.exit = self._on_exception, self._on_sys_exit
            atexit.register(self.finish_run)

    def finish_run(self) -> None:
        if self.run is not None and self.run.is_mine():
            self.run.finish(self._status)

    def _on_exception(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        self._note(error)
        self._report(kind, error, trace)

    def _on_sys_exit(self, code: Any = None) -> NoReturn:
        self._note(SystemExit(code))
        self._leave(code)

    def _note(self, error: BaseException) -> None:
        # At a prompt an exception ends nothing; in another thread sys.exit ends only that thread.
        if not hasattr(sys, "ps1") and threading.current_thread() is threading.main_thread():
            self._status = _status_after(error)


_process = _Process()


def init(
    project: str,
    config: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    run_id: str | None = None,
    url: str | None = None,
    api_key: str | None = None,
    system_metrics: bool = True,
) -> Run:
    """Begin a run in `project` ("team/name", made when missing) and say where to watch it.

    The `run_id` of a run that exists resumes it. A run that this process began before is finished first.
    Raises TriplineError when the server refuses, or stays away for INIT_PATIENCE seconds.
    """
    key = os.environ.get("TRIPLINE_API_KEY", "") if api_key is None else api_key
    api = _Api(url or os.environ.get("TRIPLINE_URL") or DEFAULT_URL, key)
    _process.finish_run()
    # An id made here, so that a resend finds the run that the first try made.
    chosen = run_id or "".join(_random.choices(string.ascii_lowercase + string.digits, k=8))
    order = {"project": project, "run_id": chosen, "status": "running", "config": _plain(config or {})}
    body = _json(order if name is None else {**order, "name": name})
    status, data = api.ask("POST", "runs/", body, rest=_until(time.monotonic() + INIT_PATIENCE))
    data.setdefault("url", f"{quote(project)}/runs/{quote(chosen)}")
    wanted = os.environ.get("TRIPLINE_SYSTEM_METRICS", "1").lower() not in ("0", "false", "no", "off")
    resumed = run_id is not None and status == 200
    _process.run = Run(api, data, resumed=resumed, system_metrics=system_metrics and wanted)
    _process.watch()
    _say(f"run {_process.run.name}: {_process.run.url}")
    return _process.run


def log(values: Mapping[str, Any], step: int | None = None) -> None:
    """`Run.log` of the run that `init` began last."""
    _current_run().log(values, step)


def finish(status: str = "finished", *, deadline: float = 60.0) -> None:
    """`Run.finish` of the run that `init` began last."""
    _current_run().finish(status, deadline=deadline)


def _current_run() -> Run:
    if _process.run is None:
        raise RuntimeError("there is no run yet: call tripline.init(project=...) first")
    return _process.run
