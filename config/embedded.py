"""Everything that `manage.py up` runs in its one process: web server, Celery workers and beat.

Nothing here is the only copy of anything: what is cut off in the middle is a row that still waits.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import ipaddress
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from celery import Celery, signals
from celery.beat import EmbeddedService
from celery.platforms import EX_OK
from celery.worker import WorkController, state
from celery.worker.consumer import Consumer
from django.conf import settings
from django.db import close_old_connections
from django.db.models import F

from automations import claims, doorbell
from automations.actions.targets import parse_cidrs
from automations.models import Event
from config import env, threads
from config.broker import WAIT
from config.web import Web, load_application
from runs import clock
from runs.models import Lane

# Queue and number of threads: a slow receiver holds up deliveries, and never a decision.
POOLS = {"decide": 3, "deliver": 16}
# Seconds that requests and tasks in flight have to end by themselves.
STOP_WITHIN = 5.0


class StartError(Exception):
    """Why Tripline does not start: one sentence that says what to do."""


# --- The data directory ---------------------------------------------------------------------------


def lock_data_directory(directory: Path) -> TextIO:
    """Take `directory` (made when it is missing) for this process, as long as the result is kept.

    The kernel lets go of the lock when the process ends, however it ends. Raises `StartError`.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (directory / "up.lock").open("a+", encoding="ascii")
    except OSError as error:
        raise StartError(f"The data directory {directory} cannot be used: {error.strerror}.") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read()
        file.close()
        raise StartError(
            f"Tripline runs already on the data directory {directory} (process {holder}). "
            "Stop that one, or give this one a directory of its own with TRIPLINE_DATA_DIR."
        ) from error
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def spool_into(directory: Path) -> None:
    """Have bodies of requests wait there, on the disk they are meant for, unless TMPDIR says otherwise.

    The usual place is often small, or memory; a model file is not. The files have no names, so a
    killed process leaves none behind.
    """
    if "TMPDIR" not in os.environ:
        directory.mkdir(mode=0o700, exist_ok=True)
        tempfile.tempdir = str(directory)


# --- The address ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Address:
    """Where the server can be reached from this machine."""

    host: str
    port: int
    is_loopback: bool
    # Bound to every interface: other machines reach it by names that we cannot know.
    is_everywhere: bool

    @property
    def authority_host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def url(self) -> str:
        return f"http://{self.authority_host}:{self.port}"


def listen(host: str, port: int) -> tuple[socket.socket, Address]:
    """Listen on `host` and `port` (0: any free one); clients wait until somebody accepts them.

    Raises `StartError`.
    """
    if not 0 <= port <= 65535:
        raise StartError(
            f"There is no port {port}; choose one from 1 to 65535 with --port (0: any free one)."
        )
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise StartError(f"The host {host!r} is unknown here; give a name or address with --host.") from error
    # IPv4 first: "localhost" is often both, and most clients try 127.0.0.1.
    family, kind, protocol, _name, place = min(found, key=lambda each: each[0] != socket.AF_INET)
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise StartError(_why_not(error, host, port)) from error
    return listener, _address(host, listener)


def _why_not(error: OSError, host: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"Port {port} of {host} is in use; stop what uses it, or choose another with --port."
        case errno.EADDRNOTAVAIL:
            return f"{host} is no address of this machine; give one that is with --host."
        case errno.EACCES:
            return f"This account may not listen on port {port}; choose one from 1024 on with --port."
        case _:
            return f"Cannot listen on port {port} of {host}: {error.strerror}."


def _address(host: str, listener: socket.socket) -> Address:
    bound, port = listener.getsockname()[:2]
    ip = ipaddress.ip_address(bound.partition("%")[0])
    reachable = ("::1" if ip.version == 6 else "127.0.0.1") if ip.is_unspecified else host
    return Address(reachable, port, is_loopback=ip.is_loopback, is_everywhere=ip.is_unspecified)


def adopt(address: Address) -> None:
    """Put the served address into the settings.

    The one place where settings change after they were read: only now is the address known, and nothing
    that uses it is loaded yet.
    """
    settings.ALLOWED_HOSTS = [*settings.ALLOWED_HOSTS, address.authority_host]
    url = address.url
    if address.is_everywhere:
        name = socket.gethostname()
        settings.ALLOWED_HOSTS.append(name)
        url = f"http://{name}:{address.port}"
    if not env.text("TRIPLINE_BASE_URL"):
        settings.TRIPLINE_BASE_URL = url
        settings.CSRF_TRUSTED_ORIGINS = [url]
    # Set to nothing is an answer too: no private target at all.
    unsaid = "TRIPLINE_ALLOW_PRIVATE_TARGETS" not in os.environ
    if unsaid and settings.TRIPLINE_EMBEDDED and address.is_loopback:
        settings.TRIPLINE_ALLOW_PRIVATE_TARGETS = parse_cidrs("127.0.0.0/8,::1/128")


# --- Deciding and delivering ----------------------------------------------------------------------


class Worker:
    """A Celery worker for one queue, with a pool of threads. `on_end` is called when it ends, whyever."""

    def __init__(self, queue: str, size: int, on_end: Callable[[], None]) -> None:
        self._controller = WorkController(
            # An application of its own: it is the application that remembers which queues are read.
            app=_celery_app(queue),
            hostname=f"{queue}@{socket.gethostname()}",
            queues=[queue],
            pool="threads",
            concurrency=size,
            without_mingle=True,
            without_gossip=True,
            without_heartbeat=True,
            consumer_cls=_AttentiveConsumer,
            # Celery has one event loop per process, and here are two workers.
            use_eventloop=False,
        )
        self._thread = threads.thread(queue, self._controller.start, on_end)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take no more tasks, and return; `join` waits for those that are being done.

        What a signal does to Celery's own worker: every worker of the process sees it, and ends in its
        own thread.
        """
        state.should_stop = EX_OK

    def join(self, deadline: float) -> bool:
        return threads.join(self._thread, deadline)


class _AttentiveConsumer(Consumer):
    """Looks several times a second whether it shall stop; Celery's own would take up to four seconds."""

    def loop_args(self) -> tuple[Any, ...]:
        consumer, connection, *others = super().loop_args()
        return (consumer, _Attentive(connection), *others)


@dataclass
class _Attentive:
    """All that Celery's loop wants of a connection."""

    connection: Any

    def drain_events(self, timeout: float) -> None:
        self.connection.drain_events(timeout=min(timeout, WAIT))


def _celery_app(queue: str) -> Celery:
    # Without the fixup for Django, which closes the thread's database connection around every task.
    app = Celery(f"tripline-{queue}", set_as_current=False, fixups=[])
    app.config_from_object("django.conf:settings", namespace="CELERY")
    app.conf.update(
        imports=["automations.tasks"],
        worker_enable_remote_control=False,
        # Without end: a server that gave up on its broker would go on taking events that nobody decides.
        broker_connection_max_retries=None,
    )
    return app


def _between_tasks(**_signal: Any) -> None:
    close_old_connections()


def take_over() -> None:
    """Make due at once what a killed process had in hand, instead of when its leases run out.

    Only while nobody else works on this database: the embedded default, with the directory locked.
    """
    now = clock.now()
    Lane.objects.filter(cursor__lt=F("head"), ring_at__gt=now).update(ring_at=now)
    Event.objects.filter(decided_at=None, ring_at__gt=now).update(ring_at=now)
    claims.release_leases()


# --- All of it ------------------------------------------------------------------------------------


class Server:
    """Web, workers and beat, started and stopped together."""

    def __init__(self, listener: socket.socket) -> None:
        self._ended = threading.Event()
        signals.task_prerun.connect(_between_tasks)
        signals.task_postrun.connect(_between_tasks)
        workers = [Worker(queue, size, self._ended.set) for queue, size in POOLS.items()]
        self._parts: list[Web | Worker] = [Web(listener, load_application(), self._ended.set), *workers]
        self._beat = EmbeddedService(
            _celery_app("beat"), thread=True, scheduler_cls=settings.CELERY_BEAT_SCHEDULER
        )

    def start(self) -> None:
        from automations.sweep import sweep

        if settings.TRIPLINE_EMBEDDED:
            take_over()
        # What was loaded stays: looking through all of it again and again would hold up every thread.
        gc.freeze()
        for part in self._parts:
            part.start()
        self._beat.start()
        sweep()
        doorbell.ring_prune()
        if settings.TRIPLINE_CANARY_EVERY:
            doorbell.ring_canary()

    def wait(self) -> None:
        """Return when a part ended: nobody is left with half a server."""
        self._ended.wait()

    def end(self) -> None:
        """Make `wait` return."""
        self._ended.set()

    def stop(self) -> bool:
        """Let what is in flight end, `STOP_WITHIN` seconds at most; False when something did not."""
        deadline = time.monotonic() + STOP_WITHIN
        for part in self._parts:
            part.stop()
        # Not waited for: it sleeps, and has nothing in hand.
        self._beat.service.stop()
        return min(part.join(deadline) for part in self._parts)
