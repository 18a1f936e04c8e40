"""Sending with the guarded client in tests: to loopback only, with a name server that is not asked."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from contextlib import contextmanager

from automations.actions.http import OutboundRequest, OutboundResponse, post
from automations.actions.targets import Resolver, TargetPolicy, parse_cidrs
from tests.automations.receivers import Behaviour, receiving

LOOPBACK = parse_cidrs("127.0.0.0/8 ::1/128")
NOON = dt.datetime(2026, 9, 1, 12, 0, tzinfo=dt.UTC)
DEADLINE = 0.3
SLACK = 0.7


def resolving_to(*addresses: str) -> Resolver:
    return lambda _host, _port: addresses


OPEN = TargetPolicy(LOOPBACK, resolver=resolving_to("127.0.0.1"))


def send(
    url: str, policy: TargetPolicy = OPEN, *, body: bytes = b"{}", deadline: float = 5, **headers: str
) -> OutboundResponse:
    """One request; headers are written with underscores."""
    request = OutboundRequest(url, body, {name.replace("_", "-"): value for name, value in headers.items()})
    return post(request, policy, deadline_seconds=deadline, now=lambda: NOON)


def answer_of(behave: Behaviour, *, deadline: float = 5) -> OutboundResponse:
    """What comes back from a receiver that behaves like this."""
    with receiving(behave) as receiver:
        return send(receiver.url, deadline=deadline)


@contextmanager
def ends_in_time() -> Iterator[None]:
    """The block takes as long as DEADLINE and not much longer."""
    start = time.monotonic()
    yield
    assert DEADLINE * 0.9 < time.monotonic() - start < DEADLINE + SLACK
