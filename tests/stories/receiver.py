"""A real HTTP receiver of webhooks on loopback, whose manners can be changed while it runs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

# Instead of a status: close without an answer; hold the connection open and say nothing.
CLOSE, HANG = 0, -1


@dataclass(frozen=True)
class Letter:
    """One request that arrived whole. `at` is `time.perf_counter` of that moment; names are lower case."""

    number: int
    at: float
    headers: dict[str, str]
    body: bytes

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def data(self) -> Any:
        return json.loads(self.body)


Manner = Callable[[Letter], int]


def friendly(_letter: Letter) -> int:
    return 200


class Receiver(ThreadingTCPServer):
    """`manner` decides how each letter is answered: a status, `CLOSE` or `HANG`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, manner: Manner) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hook"
        self.manner = manner
        self.letters: list[Letter] = []
        self.closing = threading.Event()
        self._arriving = threading.Lock()

    def take(self, headers: dict[str, str], body: bytes) -> Letter:
        at = time.perf_counter()
        with self._arriving:
            letter = Letter(len(self.letters) + 1, at, headers, body)
            self.letters.append(letter)
        return letter

    def handle_error(self, request: object, client_address: object) -> None:
        """A sender that dies in the middle is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        self.close_connection = True
        if len(body) < length:
            return  # the sender died in the middle
        letter = self.server.take({name.lower(): value for name, value in self.headers.items()}, body)
        status = self.server.manner(letter)
        if status == HANG:
            self.server.closing.wait(60)
        if status > 0:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Letters are kept, not printed."""


@contextmanager
def receiving(manner: Manner = friendly) -> Iterator[Receiver]:
    """Listen until the block ends."""
    with Receiver(manner) as receiver:
        serving = threading.Thread(target=receiver.serve_forever, args=[0.02], daemon=True)
        serving.start()
        try:
            yield receiver
        finally:
            receiver.closing.set()
            receiver.shutdown()
            serving.join(5)
