"""The outbound client at real receivers on loopback: what arrives and what comes back."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence

import pytest

from automations.actions.http import (
    MAX_RESPONSE_BYTES,
    ConnectionFailed,
    OutboundRequest,
    post,
    retry_after_seconds,
)
from automations.actions.targets import RequestRefused, TargetPolicy, TargetRefused
from tests.automations.receivers import Receiver, answering, read_request, receiving
from tests.automations.sending import LOOPBACK, NOON, OPEN, answer_of, resolving_to, send

# What arrives


def test_a_request_arrives_whole() -> None:
    body = '{"text":"本番 and </script>"}'.encode()
    with receiving(answering()) as receiver:
        answer = send(receiver.url, body=body, Content_Type="application/json", webhook_id="msg_1")
    head, _, received = receiver.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /hook HTTP/1.1\r\n")
    assert received == body
    names = ("content-type", "webhook-id", "content-length", "host", "connection", "user-agent")
    assert [receiver.header(name) for name in names] == [
        "application/json", "msg_1", str(len(body)), f"127.0.0.1:{receiver.port}", "close", "Tripline",
    ]  # fmt: skip
    assert (answer.status, answer.body, answer.truncated) == (200, "ok", False)
    assert 0 < answer.duration < 1


@pytest.mark.parametrize(
    ("url", "host_header"),
    [
        ("http://127.0.0.1:{port}/hook", "127.0.0.1:{port}"),
        ("HTTP://127.0.0.1:{port}", "127.0.0.1:{port}"),
        ("http://Hook.Example:{port}/hook", "hook.example:{port}"),
        ("http://my_service:{port}/hook", "my_service:{port}"),
        ("http://xn--bcher-kva.example:{port}/", "xn--bcher-kva.example:{port}"),
        ("http://127.0.0.1.example:{port}/", "127.0.0.1.example:{port}"),
        ("http://[::ffff:127.0.0.1]:{port}/", "[::ffff:127.0.0.1]:{port}"),
        ("http://[0:0:0:0:0:FFFF:7F00:1]:{port}/", "[0:0:0:0:0:ffff:7f00:1]:{port}"),
    ],
)
def test_a_clear_url_arrives_at_an_allowed_address(url: str, host_header: str) -> None:
    with receiving(answering()) as receiver:
        assert send(url.replace("{port}", str(receiver.port))).status == 200
    assert receiver.connections == 1
    assert receiver.header("host") == host_header.replace("{port}", str(receiver.port))


@pytest.mark.parametrize("answer", [["127.0.0.2"], ["::ffff:127.0.0.2"], ["127.0.0.2", "127.0.0.2"]])
def test_the_connection_goes_to_the_resolved_address(answer: list[str]) -> None:
    with receiving(answering(), host="127.0.0.2") as receiver:
        send(f"http://hook.example:{receiver.port}/", TargetPolicy(LOOPBACK, resolver=resolving_to(*answer)))
    assert receiver.connections == 1


def test_an_ipv6_address_is_reached() -> None:
    if not _has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    with receiving(answering(), host="::1") as receiver:
        assert send(receiver.url).status == 200
    assert receiver.header("host") == f"[::1]:{receiver.port}"


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_the_next_address_is_tried_when_the_first_takes_no_connection() -> None:
    with receiving(answering(), host="127.0.0.2") as receiver:
        policy = TargetPolicy(LOOPBACK, resolver=resolving_to("127.0.0.3", "127.0.0.2"))
        assert send(f"http://hook.example:{receiver.port}/", policy).status == 200


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("", "/"),
        ("?a=1", "/?a=1"),
        ("/a/../b//c", "/a/../b//c"),
        ("/x?sig=a%2Fb%3D&sv=1.0+2~(3)", "/x?sig=a%2Fb%3D&sv=1.0+2~(3)"),
        ("/本番?q=ü#fragment", "/%E6%9C%AC%E7%95%AA?q=%C3%BC"),
        ('/"<>{}|^`', "/%22%3C%3E%7B%7D%7C%5E%60"),
    ],
)
def test_the_path_is_sent_as_written_or_percent_encoded(path: str, sent: str) -> None:
    with receiving(answering()) as receiver:
        send(f"http://127.0.0.1:{receiver.port}{path}")
    assert receiver.requests[0].split(b" ")[1].decode() == sent


def test_the_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving(answering()) as proxy, receiving(answering()) as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        send(f"http://hook.example:{receiver.port}/")
    assert (proxy.connections, receiver.connections) == (0, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", "Bearer hunter2\r\nX-Other: 1"),
        ("Authorization", "Bearer hunter2\n"),
        ("Authorization", "Bearer hunter2\x00"),
        ("Authorization", "Bearer hunter2 本番"),
        ("Bad Name", "hunter2"),
        ("", "hunter2"),
        ("Host", "hunter2"),
        ("content-length", "7"),
        ("Transfer-Encoding", "hunter2"),
    ],
)
def test_a_header_that_would_change_the_request_is_refused_and_not_repeated(name: str, value: str) -> None:
    with receiving(answering()) as receiver:
        with pytest.raises(RequestRefused) as refusal:
            post(OutboundRequest(receiver.url, b"", {name: value}), OPEN, deadline_seconds=1)
        assert receiver.connections == 0
    assert refusal.value.permanent
    assert "hunter2" not in str(refusal.value)


# The installation's own inboxes


def test_an_own_inbox_is_reached_though_its_address_is_refused_elsewhere() -> None:
    with receiving(answering()) as receiver:
        base = f"http://127.0.0.1:{receiver.port}"
        policy = TargetPolicy(exempt_prefixes=[f"{base}/inboxes"])
        for path in ("/inboxes/otter-1/", "/inboxes/otter_2?x=1#y", "/inboxes/"):
            assert send(base + path, policy).status == 200
        assert receiver.connections == 3


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://127.0.0.1:{port}/inboxes",
        "http://127.0.0.1:{port}/inboxes-of-others/",
        "http://127.0.0.1:{port}/api/?/inboxes/",
        "http://127.0.0.1:{port}/inboxes/../api/",
        "http://127.0.0.1:{port}/inboxes/%2e%2e/api/",
        "http://127.0.0.1:{port}/inboxes/..%2fapi/",
        "http://127.0.0.1:{port}/inboxes/;/../api/",
        "http://127.0.0.1:{port}/Inboxes/otter/",
        "http://127.0.0.2:{port}/inboxes/otter/",
        "http://[::ffff:127.0.0.1]:{port}/inboxes/otter/",
        "http://localhost:{port}/inboxes/otter/",
        "https://127.0.0.1:{port}/inboxes/otter/",
        "http://127.0.0.1:1/inboxes/otter/",
    ],
)
def test_what_is_not_exactly_under_the_own_prefix_is_not_exempt(url: str) -> None:
    with receiving(answering()) as receiver:
        prefix = f"http://127.0.0.1:{receiver.port}/inboxes/"
        policy = TargetPolicy(exempt_prefixes=[prefix], resolver=resolving_to("127.0.0.1"))
        with pytest.raises(TargetRefused):
            send(url.replace("{port}", str(receiver.port)), policy)
        assert receiver.connections == 0
        assert send(prefix + "otter/", policy).status == 200


def test_an_own_prefix_that_is_not_a_clear_url_is_refused_when_it_is_set() -> None:
    with pytest.raises(TargetRefused, match="http"):
        TargetPolicy(exempt_prefixes=["localhost:8000/inboxes/"])


# What comes back


@pytest.mark.parametrize("status", [200, 201, 204, 301, 307, 400, 404, 410, 413, 429, 500, 503])
def test_every_status_is_an_answer(status: int) -> None:
    assert answer_of(answering(b"HTTP/1.1 %d X\r\n\r\n" % status)).status == status


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with receiving(answering()) as elsewhere:
        head = f"HTTP/1.1 {status} Moved\r\nLocation: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n"
        answer = answer_of(answering(head.encode()))
    assert (answer.status, answer.headers["location"], elsewhere.connections) == (status, elsewhere.url, 0)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        pytest.param("本番".encode(), "本番", id="UTF-8"),
        pytest.param(b"a\x00b", "a\ufffdb", id="NUL"),
        pytest.param(b"\xff\xfe\xed\xa0\x80", "\ufffd" * 5, id="not UTF-8"),
        pytest.param("本".encode()[:2], "\ufffd", id="ends within a character"),
        pytest.param(b"", "", id="empty"),
    ],
)
def test_the_body_becomes_text_that_a_database_can_store(body: bytes, text: str) -> None:
    assert answer_of(answering(b"HTTP/1.1 200 OK\r\n\r\n" + body)).body == text


@pytest.mark.parametrize("framing", [b"Content-Length: 10000000\r\n", b""])
def test_of_ten_megabytes_only_the_first_16_kb_are_read(framing: bytes) -> None:
    sent: list[bool] = []

    def flood(connection: socket.socket, receiver: Receiver) -> None:
        read_request(connection, receiver)
        try:
            connection.sendall(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n" + "本番x".encode() * 1_500_000)
        finally:
            sent.append(True)

    with receiving(flood) as receiver:
        answer = send(receiver.url)
        assert answer.truncated
        assert len(answer.body.encode()) in range(MAX_RESPONSE_BYTES - 2, MAX_RESPONSE_BYTES + 1)
        assert set(answer.body) == set("本番x")
        assert _eventually(lambda: sent), "the connection was not closed on the rest"


def _eventually(happened: Callable[[], object], *, seconds: float = 5) -> bool:
    limit = time.monotonic() + seconds
    while not happened() and time.monotonic() < limit:
        time.sleep(0.01)
    return bool(happened())


def test_a_chunked_body_is_put_together() -> None:
    chunks = b"5\r\nhello\r\n7;ext=1\r\n, otter\r\n0\r\n\r\n"
    answer = answer_of(answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks))
    assert (answer.body, answer.truncated) == ("hello, otter", False)


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(b"Content-Length: 100\r\n\r\nhalf", id="fewer bytes than promised"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n9\r\nhalf", id="half a chunk"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzzz\r\n", id="nonsense for a chunk"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n-9\r\n", id="negative chunk"),
    ],
)
def test_a_body_that_breaks_off_still_belongs_to_an_answer(rest: bytes) -> None:
    answer = answer_of(answering(b"HTTP/1.1 201 Created\r\n" + rest))
    assert (answer.status, answer.body[:4], answer.truncated) == (201, "half", True)


def test_a_few_headers_are_kept_short_and_printable() -> None:
    lines = [b"HTTP/1.1 200 OK", b"Content-Type: text/plain", b"Server: a\x00b\x07", b"Set-Cookie: x"]
    answer = answer_of(answering(b"\r\n".join([*lines, b"X-Request-Id: " + b"r" * 5000, b"", b""])))
    assert answer.headers == {
        "content-type": "text/plain",
        "server": "a\ufffdb\ufffd",
        "x-request-id": "r" * 200,
    }


def test_an_answer_given_before_the_request_was_read_is_heard() -> None:
    def impatient(connection: socket.socket, receiver: Receiver) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        receiver.closing.wait(0.1)

    with receiving(impatient) as receiver:
        assert send(receiver.url, body=b"x" * 20_000_000).status == 413


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Tue, 01 Sep 2026 12:10:00 GMT", 600.0),
        ("Tuesday, 01-Sep-26 12:10:00 GMT", 600.0),
        ("Tue Sep  1 12:10:00 2026", 600.0),
        ("Tue, 01 Sep 2026 14:10:00 +0200", 600.0),
        ("Tue, 01 Sep 2026 11:00:00 GMT", 0.0),
        ("-5", None),
        ("1.5", None),
        ("١٢", None),
        ("9" * 400, None),
        ("soon", None),
        ("Tue, 99 Sep 99999 12:10:00 GMT", None),
        ("Mon, 01 Jan 9999 00:00:00 -2359", 251_640_000_000.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: str | None, seconds: float | None) -> None:
    found = retry_after_seconds(value, NOON)
    assert found == (pytest.approx(seconds, rel=0.01) if seconds else seconds)


def test_an_answer_carries_its_retry_after() -> None:
    head = b"HTTP/1.1 503 Busy\r\nRetry-After: Tue, 01 Sep 2026 12:00:30 GMT\r\n\r\n"
    assert answer_of(answering(head)).retry_after == 30.0


# What is no answer


def test_a_name_that_is_not_known_is_worth_another_try() -> None:
    def unknown(_host: str, _port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(ConnectionFailed, match=r"hook\.example cannot be resolved.*not known") as failure:
        send("http://hook.example/services/very-secret", TargetPolicy(resolver=unknown))
    assert not failure.value.permanent
    assert "very-secret" not in str(failure.value)


def test_a_name_without_an_address_is_worth_another_try() -> None:
    with pytest.raises(ConnectionFailed, match="no address"):
        send("http://hook.example/", TargetPolicy(resolver=resolving_to()))


def test_a_port_where_nobody_listens_is_worth_another_try() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionFailed, match="connecting failed") as failure:
        send(f"http://hook.example:{port}/services/very-secret")
    assert not failure.value.permanent
    assert "very-secret" not in str(failure.value)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"220 mail.example ESMTP\r\n", id="a mail server"),
        pytest.param(b"HTTP/1.1 abc\r\n\r\n", id="a status that is none"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", id="too many headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", id="a header without end"),
        pytest.param(b"\x00\xff" * 50_000, id="noise"),
    ],
)
def test_what_is_not_http_is_worth_another_try(answer: bytes) -> None:
    with pytest.raises(ConnectionFailed) as failure:
        answer_of(answering(answer))
    assert str(failure.value).isprintable()
    assert len(str(failure.value)) < 300


def test_no_representation_shows_the_url_the_headers_or_the_body() -> None:
    request = OutboundRequest("http://hook.example/hunter2", b"hunter2", {"Authorization": "hunter2"})
    assert "hunter2" not in repr(request)
