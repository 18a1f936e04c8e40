"""Real receivers on loopback: a listener that counts its connections, and the ways in which it behaves."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias

Behaviour: TypeAlias = Callable[[socket.socket, "Receiver"], None]


@dataclass
class Receiver:
    """What a listener has seen. `closing` is set when the test is over, so that no behaviour outlives it."""

    host: str
    port: int
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/hook"

    def header(self, name: str) -> str:
        """A header of the only request."""
        (request,) = self.requests
        lines = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        (value,) = [line.partition(": ")[2] for line in lines if line.lower().startswith(name.lower() + ":")]
        return value


@contextmanager
def receiving(
    behave: Behaviour, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[Receiver]:
    """Listen until the block ends; every connection gets a thread that behaves as told."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listener:
        receiver = Receiver(host, listener.getsockname()[1])

        def serve(connection: socket.socket) -> None:
            with suppress(OSError), connection, _spoken(connection, tls) as spoken:
                behave(spoken, receiver)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    receiver.connections += 1
                    threading.Thread(target=serve, args=[connection], daemon=True).start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield receiver
        finally:
            receiver.closing.set()
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join(5)


def _spoken(connection: socket.socket, tls: ssl.SSLContext | None) -> socket.socket:
    return tls.wrap_socket(connection, server_side=True) if tls else connection


def read_request(connection: socket.socket, receiver: Receiver) -> None:
    """Read one whole request and remember it."""
    with connection.makefile("rb") as stream:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = stream.readline()
            if not line:
                return
            head += line
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        receiver.requests.append(head + stream.read(int(lengths[0].partition(b":")[2])))


def answering(answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") -> Behaviour:
    """Read the request, then send these bytes and close."""

    def behave(connection: socket.socket, receiver: Receiver) -> None:
        read_request(connection, receiver)
        connection.sendall(answer)

    return behave


def dripping(head: bytes, drop: bytes = b"x") -> Behaviour:
    """Read the request, send the head, then a drop every few milliseconds until the test is over."""

    def behave(connection: socket.socket, receiver: Receiver) -> None:
        read_request(connection, receiver)
        connection.sendall(head)
        while not receiver.closing.wait(0.02):
            connection.sendall(drop)

    return behave


def silent(_connection: socket.socket, receiver: Receiver) -> None:
    """Take the connection and say nothing; neither read nor write."""
    receiver.closing.wait(30)


def sipping(connection: socket.socket, receiver: Receiver) -> None:
    """Read a little every few milliseconds and never answer."""
    while not receiver.closing.wait(0.01):
        connection.recv(200_000)
