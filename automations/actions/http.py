"""The guarded client: the only way in which Tripline sends a request to an address that somebody typed in.

A host is resolved once, every address of the answer is judged (`targets`), and the connection goes to a
judged address by its number: a second, different answer of the name server has nobody to reach. One
deadline covers everything. No redirects, no proxies. The standard library's HTTP speaks over a socket that
is already connected, so it neither resolves nor connects itself, and it writes no URL, which may be a
secret, into a log.
"""

from __future__ import annotations

import codecs
import http.client
import io
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from ipaddress import IPv4Address
from queue import Empty, SimpleQueue
from typing import Any, cast

from automations.actions.targets import (
    IPAddress,
    OutboundError,
    RequestRefused,
    Resolver,
    Target,
    TargetPolicy,
    parse_target,
)

MAX_RESPONSE_BYTES = 16 * 1024
USER_AGENT = "Tripline"

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_OWN_HEADERS = frozenset({"host", "connection", "content-length", "transfer-encoding", "accept-encoding"})
_KEPT_HEADERS = ("content-type", "date", "location", "retry-after", "server", "x-request-id")
_MAX_KEPT_LENGTH = 200
_SECONDS = re.compile(r"[0-9]{1,10}")

# A name server that hangs keeps its thread beyond our deadline; this many may hang before others wait.
_lookup_slots = threading.BoundedSemaphore(64)


class DeliveryTimeout(OutboundError):  # noqa: N818  # reads as the state it leads to
    """The deadline passed before an answer was there."""


class ConnectionFailed(OutboundError):  # noqa: N818  # likewise
    """No address, no connection, no valid certificate, or no HTTP at the other end."""


@dataclass(frozen=True)
class OutboundRequest:
    """`url`, `headers` and `body` may hold secrets and stay out of the representation."""

    url: str = field(repr=False)
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class OutboundResponse:
    """An answer whose status line and headers came in time.

    `body` is an excerpt that PostgreSQL can store. `truncated` says that there may be more of it: it is
    longer, broke off, or was still dripping at the deadline. The status decides about a delivery, the body
    is for the record. `duration` and `retry_after` are in seconds.
    """

    status: int
    headers: Mapping[str, str]
    body: str
    truncated: bool
    duration: float
    retry_after: float | None


@cache
def default_tls_context() -> ssl.SSLContext:
    """One context for all calls: loading the certificate authorities takes longer than a delivery."""
    return ssl.create_default_context()


def utc_now() -> datetime:
    return datetime.now(UTC)


def post(
    request: OutboundRequest,
    policy: TargetPolicy,
    *,
    deadline_seconds: float,
    now: Callable[[], datetime] = utc_now,
) -> OutboundResponse:
    """Send one POST and return whatever is answered, redirects and errors of the receiver included.

    `deadline_seconds` covers resolving, connecting, TLS, sending and reading together. Raises TargetRefused
    or RequestRefused (permanent), DeliveryTimeout or ConnectionFailed (worth another try).
    """
    deadline = _Deadline(deadline_seconds)
    target = parse_target(request.url)
    headers = _checked_headers(request.headers) | {"Host": target.authority}
    with _named_errors(target.host, deadline):
        addresses = _judged_addresses(target, policy, deadline=deadline)
        with (
            closing(_connected(addresses, target.port, deadline=deadline)) as plain,
            closing(_secured(plain, target, policy=policy, deadline=deadline)) as secured,
            closing(_DeadlineSocket(secured, deadline)) as sock,
            closing(_answer(sock, target.path, body=request.body, headers=headers)) as answer,
        ):
            excerpt, truncated = _read_excerpt(answer)
            return OutboundResponse(
                status=answer.status,
                headers=_kept_headers(answer),
                body=_storable(excerpt, truncated=truncated),
                truncated=truncated,
                duration=deadline.elapsed(),
                retry_after=retry_after_seconds(answer.getheader("retry-after"), now()),
            )


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Seconds from a Retry-After header, a number or an HTTP date; None if absent or unreadable."""
    if not value:
        return None
    if _SECONDS.fullmatch(value.strip()):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())


class _Deadline:
    """One moment for all steps of a call, and a word for the step it is at."""

    def __init__(self, seconds: float) -> None:
        self._start = time.monotonic()
        self.seconds = seconds
        self.step = "resolving"

    def elapsed(self) -> float:
        return time.monotonic() - self._start

    def remaining(self) -> float:
        """Seconds left, always more than none; TimeoutError when the deadline has passed."""
        left = self.seconds - self.elapsed()
        if left <= 0:
            raise TimeoutError
        return left


@contextmanager
def _named_errors(host: str, deadline: _Deadline) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        limit = f"{host} did not answer within {deadline.seconds:g} s"
        raise DeliveryTimeout(f"{limit}; the time ran out while {deadline.step}") from None
    except ssl.SSLCertVerificationError as error:
        raise ConnectionFailed(f"the certificate of {host} is not accepted: {error.verify_message}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = _printable(str(error) or type(error).__name__)
        raise ConnectionFailed(f"{host} gave no answer; {deadline.step} failed: {reason}") from None


def _judged_addresses(target: Target, policy: TargetPolicy, *, deadline: _Deadline) -> list[IPAddress]:
    if target.address:
        return policy.judge(target, [str(target.address)])
    answers = _looked_up(target.host, target.port, resolver=policy.resolver, deadline=deadline)
    if not answers:
        raise ConnectionFailed(f"{target.host} has no address")
    return policy.judge(target, answers)


def _looked_up(host: str, port: int, *, resolver: Resolver, deadline: _Deadline) -> Sequence[str]:
    """Ask in a thread, because a look-up cannot be interrupted; at the deadline it is left behind."""
    answers: SimpleQueue[Sequence[str] | Exception] = SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(resolver(host, port))
        except (OSError, UnicodeError) as error:
            answers.put(error)
        finally:
            _lookup_slots.release()

    if not _lookup_slots.acquire(timeout=deadline.remaining()):
        raise TimeoutError
    threading.Thread(target=look_up, name="tripline-lookup", daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.remaining())
    except Empty:
        raise TimeoutError from None
    if isinstance(answer, Exception):
        raise ConnectionFailed(f"{host} cannot be resolved: {_printable(str(answer))}")
    return answer


def _connected(addresses: Sequence[IPAddress], port: int, *, deadline: _Deadline) -> socket.socket:
    """A connection to the first address that takes one; each gets its share of the time that is left."""
    deadline.step = "connecting"
    failure = OSError("no address")
    for tried, address in enumerate(addresses):
        try:
            return _connection(address, port, timeout=deadline.remaining() / (len(addresses) - tried))
        except OSError as error:
            failure = error
    raise failure


def _connection(address: IPAddress, port: int, *, timeout: float) -> socket.socket:
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect((str(address), port))
        # Headers and body leave in two writes; without this the second would wait for the first to be
        # acknowledged.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        sock.close()
        raise
    return sock


def _secured(
    plain: socket.socket, target: Target, *, policy: TargetPolicy, deadline: _Deadline
) -> socket.socket:
    if target.scheme == "http":
        return plain
    deadline.step = "agreeing on TLS"
    plain.settimeout(deadline.remaining())
    context = policy.tls_context or default_tls_context()
    return context.wrap_socket(plain, server_hostname=target.host)


class _DeadlineSocket:
    """As much of a socket as http.client uses, every operation bounded by what is left of the deadline."""

    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        self._sock = sock
        self.deadline = deadline

    def sendall(self, data: bytes) -> None:
        self.deadline.step = "sending"
        unsent = memoryview(data)
        while unsent:
            self._sock.settimeout(self.deadline.remaining())
            unsent = unsent[self._sock.send(unsent) :]

    def makefile(self, _mode: str) -> io.BufferedReader:
        self.deadline.step = "waiting for the answer"
        return io.BufferedReader(_DeadlineReader(self._sock, self.deadline))

    def close(self) -> None:
        self._sock.close()


class _DeadlineReader(io.RawIOBase):
    """A receiver that drips keeps every single read short, so the time left is taken before each."""

    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._deadline.remaining())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _answer(
    sock: _DeadlineSocket, path: str, *, body: bytes, headers: Mapping[str, str]
) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("already.connected")
    connection.auto_open = 0
    connection.sock = cast(socket.socket, sock)
    # A receiver may refuse (413, 401) and close before it has read it all; its answer is there all the same.
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.request("POST", path, body=body, headers=headers)
    return connection.getresponse()


def _read_excerpt(answer: http.client.HTTPResponse) -> tuple[bytes, bool]:
    """The first bytes of the body, and whether it may go on."""
    read = bytearray()
    try:
        while len(read) < MAX_RESPONSE_BYTES:
            piece = answer.read1(MAX_RESPONSE_BYTES - len(read))
            if not piece:
                return bytes(read), bool(answer.length)
            read += piece
    except (OSError, http.client.HTTPException):
        return bytes(read), True
    return bytes(read[:MAX_RESPONSE_BYTES]), answer.length != 0


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The caller's headers and our own; RequestRefused, never with the value, for what cannot be sent."""
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _OWN_HEADERS:
            raise RequestRefused(f"a request may not set the header {name[:80]!r}")
        if not _HEADER_VALUE.fullmatch(value):
            raise RequestRefused(f"the value of the header {name} is not all printable ASCII")
    own = {"User-Agent": USER_AGENT} if "user-agent" not in map(str.lower, headers) else {}
    return own | {"Connection": "close", "Accept-Encoding": "identity"} | dict(headers)


def _kept_headers(answer: http.client.HTTPResponse) -> dict[str, str]:
    values = ((name, answer.getheader(name)) for name in _KEPT_HEADERS)
    return {name: _printable(value) for name, value in values if value is not None}


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "\ufffd" for char in text[:_MAX_KEPT_LENGTH])


def _storable(excerpt: bytes, *, truncated: bool) -> str:
    """Text without NUL; a character cut in two at the end is left out."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return decoder.decode(excerpt, final=not truncated).replace("\0", "\ufffd")
