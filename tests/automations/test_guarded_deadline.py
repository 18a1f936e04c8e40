"""The outbound client keeps its deadline, at whichever step a receiver or a name server is slow."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from automations.actions.http import DeliveryTimeout
from automations.actions.targets import TargetPolicy
from tests.automations.receivers import Behaviour, answering, dripping, receiving, silent, sipping
from tests.automations.sending import DEADLINE, LOOPBACK, answer_of, ends_in_time, send


@pytest.mark.parametrize(
    ("behave", "step"),
    [
        pytest.param(silent, "waiting for the answer", id="accepts and says nothing"),
        pytest.param(dripping(b""), "waiting for the answer", id="drips a status line"),
        pytest.param(dripping(b"HTTP/1.1 200 OK\r\nX: "), "waiting for the answer", id="drips a header"),
        pytest.param(
            dripping(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), "waiting for the answer", id="drips headers"
        ),
        pytest.param(
            dripping(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
            "waiting for the answer",
            id="says continue for ever",
        ),
    ],
)
def test_a_receiver_that_does_not_answer_in_time_is_left(behave: Behaviour, step: str) -> None:
    with receiving(behave) as receiver:
        with ends_in_time(), pytest.raises(DeliveryTimeout, match=step) as timeout:
            send(receiver.url, deadline=DEADLINE)
        assert receiver.connections == 1
    assert not timeout.value.permanent


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        pytest.param(b"Content-Length: 100000\r\n\r\n", b"x", id="length"),
        pytest.param(b"\r\n", b"x", id="until closed"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", id="chunks"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n1;", b"x", id="a chunk header"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"X: y\r\n", id="trailers"),
    ],
)
def test_an_answer_whose_body_drips_is_cut_at_the_deadline(head: bytes, drop: bytes) -> None:
    with ends_in_time():
        answer = answer_of(dripping(b"HTTP/1.1 200 OK\r\n" + head, drop), deadline=DEADLINE)
    assert (answer.status, answer.truncated, set(answer.body)) == (200, True, {"x"})


def test_a_receiver_that_reads_too_slowly_is_left() -> None:
    with receiving(sipping) as receiver, ends_in_time(), pytest.raises(DeliveryTimeout, match="sending"):
        send(receiver.url, body=b"x" * 50_000_000, deadline=DEADLINE)


@pytest.mark.skipif(sys.platform != "linux", reason="a full backlog is refused elsewhere")
def test_an_address_that_does_not_take_the_connection_is_left() -> None:
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        with ends_in_time(), pytest.raises(DeliveryTimeout, match="connecting"):
            send(f"http://127.0.0.1:{port}/", deadline=DEADLINE)


def test_a_name_server_that_hangs_is_left() -> None:
    release = threading.Event()

    def hang(_host: str, _port: int) -> Sequence[str]:
        release.wait(30)
        return ["127.0.0.1"]

    with receiving(answering()) as receiver:
        try:
            with ends_in_time(), pytest.raises(DeliveryTimeout, match="resolving"):
                send(
                    f"http://hook.example:{receiver.port}/",
                    TargetPolicy(LOOPBACK, resolver=hang),
                    deadline=DEADLINE,
                )
        finally:
            release.set()
        assert receiver.connections == 0


def test_a_slow_name_server_leaves_less_time_for_the_rest() -> None:
    def slow(_host: str, _port: int) -> Sequence[str]:
        time.sleep(DEADLINE * 0.7)
        return ["127.0.0.1"]

    with receiving(silent) as receiver, ends_in_time(), pytest.raises(DeliveryTimeout, match="waiting"):
        send(
            f"http://hook.example:{receiver.port}/", TargetPolicy(LOOPBACK, resolver=slow), deadline=DEADLINE
        )
    assert receiver.connections == 1


def test_a_deadline_that_has_passed_sends_nothing() -> None:
    with receiving(answering()) as receiver:
        with pytest.raises(DeliveryTimeout):
            send(receiver.url, deadline=0)
        assert receiver.connections == 0
