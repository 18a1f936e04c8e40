"""The web server of `manage.py up`: Waitress in a thread."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.urls import get_resolver
from waitress import wasyncore
from waitress.server import create_server
from waitress.task import ThreadedTaskDispatcher

from automations import waiting
from config import threads

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

THREADS = 8


class Web:
    """Waitress in a thread. `on_end` is called when the thread ends, whyever."""

    def __init__(
        self, listener: socket.socket, application: WSGIApplication, on_end: Callable[[], None]
    ) -> None:
        # It counts the requests that wait for a thread, one line for each.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self._sockets: dict[int, Any] = {}
        self._stopping = threading.Event()
        self._server = create_server(
            self._telling(application),
            map=self._sockets,
            sockets=[listener],
            _dispatcher=_dispatcher(),
            **_waitress_options(),
        )
        self._thread = threads.thread("web", self._serve, on_end)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Accept nobody new, and return; `join` waits for those who are being served."""
        self._stopping.set()
        self._server.pull_trigger()

    def join(self, deadline: float) -> bool:
        return threads.join(self._thread, deadline)

    def _telling(self, application: WSGIApplication) -> WSGIApplication:
        """The application, told when to stop: a request that waits for something ends then."""

        def told(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            environ[waiting.STOPPING] = self._stopping
            return application(environ, start_response)

        return told

    def _serve(self) -> None:
        while not self._stopping.is_set():
            self._turn(timeout=1.0)
        # Not server.close(): that takes away what answers in progress are signalled with.
        wasyncore.dispatcher.close(self._server)
        while self._is_busy():
            self._turn(timeout=0.05)
        self._server.task_dispatcher.shutdown(timeout=0.5)

    def _turn(self, timeout: float) -> None:
        wasyncore.loop(timeout=timeout, use_poll=True, map=self._sockets, count=1)

    def _is_busy(self) -> bool:
        channels = list(self._server.active_channels.values())
        return any(channel.requests or channel.total_outbufs_len for channel in channels)


def load_application() -> WSGIApplication:
    from config.wsgi import application

    # Imports every view: a mistake in one shows now, and the first visitor does not wait for it.
    _ = get_resolver().url_patterns
    return application


def _dispatcher() -> ThreadedTaskDispatcher:
    """Gives a request to the thread that was busy last: its connection to the database still holds the pages
    that the next request needs, where those of the others have to be read again."""
    dispatcher = ThreadedTaskDispatcher()
    dispatcher.queue_cv = threads.LatestFirst(dispatcher.lock)
    dispatcher.set_thread_count(THREADS)
    return dispatcher


def _waitress_options() -> dict[str, Any]:
    options: dict[str, Any] = {
        "ident": None,
        "asyncore_use_poll": True,
        # Reads on while it answers, and so notices when who waits for an event has gone away.
        "channel_request_lookahead": 1,
        "connection_limit": 500,
        # A call with ten thousand values is read in a few pieces; from 512 KB on bodies wait on the disk.
        "recv_bytes": 1 << 17,
        # Artifact files come through here; other bodies are bounded by config.middleware.
        "max_request_body_size": 1 << 40,
    }
    if settings.SECURE_PROXY_SSL_HEADER:
        # Served behind something that speaks TLS; Django believes the same header.
        options |= {"trusted_proxy": "*", "trusted_proxy_headers": {"x-forwarded-proto"}}
    return options
