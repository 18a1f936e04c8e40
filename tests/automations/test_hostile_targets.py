"""Addresses that outbound calls must not reach, however they are spelled; refused before any connection."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, strategies as st

from automations.actions.http import ConnectionFailed, OutboundRequest, post
from automations.actions.targets import (
    TargetPolicy,
    TargetRefused,
    check_target,
    parse_cidrs,
    parse_target,
    special_range,
)
from tests.automations.hostile import (
    HOSTILE_ANSWERS,
    PUBLIC,
    PUBLIC_ADDRESSES,
    PUBLIC_V6,
    SPECIAL_ADDRESSES,
    UNCLEAR_URLS,
)
from tests.automations.receivers import Receiver, answering, receiving

_NUMBERS = re.compile(r"((0x)?[0-9a-f]{1,10}|[0-3]{1,11})(\.((0x)?[0-9a-f]{1,4}|[0-3]{1,4})){0,3}")


class FakeResolver:
    """Answers from a script, one answer a question, and counts the questions."""

    def __init__(self, *script: Sequence[str]) -> None:
        self._script = list(script)
        self.questions: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.questions.append(host)
        return self._script[len(self.questions) - 1]


@pytest.fixture
def listener() -> Iterator[Receiver]:
    with receiving(answering()) as receiver:
        yield receiver


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were dialled. Nothing but loopback ever gets through, even if the guard fails."""
    dialled: list[str] = []
    dial = socket.socket.connect

    def watched(sock: socket.socket, address: Any) -> None:
        dialled.append(address[0])
        assert address[0] in ("127.0.0.1", "127.0.0.2", "::1"), "a test tried to leave this machine"
        dial(sock, address)

    monkeypatch.setattr(socket.socket, "connect", watched)
    return dialled


def _post(url: str, policy: TargetPolicy) -> int:
    return post(OutboundRequest(url, b"{}"), policy, deadline_seconds=3).status


def _refusal(url: str, policy: TargetPolicy) -> str:
    with pytest.raises(TargetRefused) as refusal:
        _post(url, policy)
    assert refusal.value.permanent
    return str(refusal.value)


@pytest.mark.parametrize("url", UNCLEAR_URLS, ids=ascii)
def test_an_unclear_url_is_refused_even_where_everything_is_allowed(
    url: str, listener: Receiver, attempts: list[str]
) -> None:
    resolver = FakeResolver(["127.0.0.1"])
    policy = TargetPolicy(parse_cidrs("0.0.0.0/0 ::/0"), resolver=resolver)
    assert "URL" in _refusal(url.replace("{port}", str(listener.port)), policy)
    assert (listener.connections, attempts, resolver.questions) == (0, [], [])


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(("address", "kind"), SPECIAL_ADDRESSES)
def test_a_special_address_in_the_url_is_refused(
    scheme: str, address: str, kind: str, *, listener: Receiver, attempts: list[str]
) -> None:
    resolver = FakeResolver()
    host = f"[{address}]" if ":" in address else address
    reason = _refusal(f"{scheme}://{host}:{listener.port}/", TargetPolicy(resolver=resolver))
    assert f"({kind}), which outbound calls may not reach" in reason
    assert "TRIPLINE_ALLOW_PRIVATE_TARGETS" in reason
    assert (listener.connections, attempts, resolver.questions) == (0, [], [])


@pytest.mark.parametrize("answer", HOSTILE_ANSWERS, ids=lambda answer: " ".join(answer[-3:]))
def test_a_name_with_even_one_special_address_is_refused(
    answer: list[str], listener: Receiver, attempts: list[str]
) -> None:
    resolver = FakeResolver(answer)
    assert _refusal(f"http://hook.example:{listener.port}/", TargetPolicy(resolver=resolver))
    assert (listener.connections, attempts, resolver.questions) == (0, [], ["hook.example"])


def test_the_corpus_is_refused_for_its_addresses_and_not_for_want_of_a_listener(
    listener: Receiver, attempts: list[str]
) -> None:
    policy = TargetPolicy(parse_cidrs("127.0.0.0/8"), resolver=FakeResolver(["127.0.0.1"]))
    assert _post(f"http://hook.example:{listener.port}/", policy) == 200
    assert (listener.connections, attempts) == (1, ["127.0.0.1"])


def test_the_reason_names_the_host_the_address_and_what_to_allow(listener: Receiver) -> None:
    policy = TargetPolicy(resolver=FakeResolver([PUBLIC, "10.0.0.5"]))
    reason = _refusal("http://hook.example/services/very-secret", policy)
    assert "hook.example leads to 10.0.0.5 (private)" in reason
    assert "add 10.0.0.5 or its network to TRIPLINE_ALLOW_PRIVATE_TARGETS" in reason
    assert "very-secret" not in reason


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("http://user:hunter2@hook.example/", "use the access token"),
        ("http://[fe80::1%25lo]/", "zone id"),
        ("http://hook.example./", "leave the dot out"),
        ("http://b\u00fccher.example/", "xn--"),
        ("http:///", "no host"),
        ("http://hook.example:/", "no port after it"),
        ("http://hook.example:99999/", "between 1 and 65535"),
        ("http://127.1/", "plain form such as 192.0.2.1"),
        ("http://hook.example/a\\b", "a backslash"),
        ("ftp://hook.example/", "begin with http:// or https://"),
    ],
)
def test_the_reason_says_what_to_write_instead_and_repeats_nothing(url: str, advice: str) -> None:
    reason = _refusal(url, TargetPolicy())
    assert advice in reason
    assert "hunter2" not in reason


def test_allowing_one_network_does_not_allow_another_of_the_same_answer(
    listener: Receiver, attempts: list[str]
) -> None:
    policy = TargetPolicy(parse_cidrs("127.0.0.0/8"), resolver=FakeResolver(["127.0.0.1", "10.0.0.5"]))
    assert "10.0.0.5" in _refusal(f"http://hook.example:{listener.port}/", policy)
    assert (listener.connections, attempts) == (0, [])


def test_a_name_that_changes_its_mind_is_asked_once_and_connected_to_what_was_judged(
    listener: Receiver, attempts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("a second look-up"))
    resolver = FakeResolver(["127.0.0.1"], ["127.0.0.2"])
    policy = TargetPolicy(parse_cidrs("127.0.0.1/32"), resolver=resolver)
    with receiving(answering(), host="127.0.0.2", port=listener.port) as elsewhere:
        assert _post(f"http://rebind.example:{listener.port}/", policy) == 200
    assert (listener.connections, elsewhere.connections) == (1, 0)
    assert (resolver.questions, attempts) == (["rebind.example"], ["127.0.0.1"])


def test_a_name_that_turns_to_loopback_after_it_was_judged_is_dialled_where_it_was_judged(
    listener: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The classic: public when asked first, loopback when asked again, also by the next attempt."""
    dialled: list[str] = []

    def nobody(_sock: socket.socket, address: Any) -> None:
        dialled.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", nobody)
    resolver = FakeResolver([PUBLIC], ["127.0.0.1"])
    policy = TargetPolicy(resolver=resolver)
    with pytest.raises(ConnectionFailed):
        _post(f"http://rebind.example:{listener.port}/", policy)
    assert (dialled, len(resolver.questions)) == ([PUBLIC], 1)
    assert "127.0.0.1 (loopback)" in _refusal(f"http://rebind.example:{listener.port}/", policy)
    assert (dialled, listener.connections) == ([PUBLIC], 0)


@given(st.text("0123456789abcdefxX.-_:[]", min_size=1, max_size=20) | st.from_regex(_NUMBERS, fullmatch=True))
def test_whatever_the_system_would_read_as_a_number_is_read_as_the_same_number_or_refused(host: str) -> None:
    try:
        address = parse_target(f"http://{host}/").address
    except TargetRefused:
        return
    try:
        (read, *_) = socket.getaddrinfo(
            host.strip("[]"), 80, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
    except socket.gaierror:
        assert address is None
    else:
        assert ip_address(str(read[4][0])) == address


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_an_address_of_the_public_internet_is_not_special(address: str) -> None:
    assert special_range(ip_address(address)) is None


def test_a_public_address_mapped_into_ipv6_is_judged_and_dialled_as_ipv4() -> None:
    target = parse_target("https://hook.example/")
    assert TargetPolicy().judge(target, [f"::ffff:{PUBLIC}", PUBLIC]) == [ip_address(PUBLIC)]


def test_saving_a_url_judges_what_can_be_judged_without_a_name_server() -> None:
    policy = TargetPolicy(parse_cidrs("10.0.0.0/8"), resolver=FakeResolver())
    for fine in ("https://hook.example/", "http://10.1.2.3/", f"https://[{PUBLIC_V6}]/"):
        check_target(fine, policy)
    for refused in ("http://127.0.0.1/", "http://127.1/", "http://[::1]/", "ftp://hook.example/"):
        with pytest.raises(TargetRefused):
            check_target(refused, policy)


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("", []),
        (" , ", []),
        ("10.0.0.0/8", ["10.0.0.0/8"]),
        ("10.0.0.0/8, fd00::/8\n192.168.1.7", ["10.0.0.0/8", "fd00::/8", "192.168.1.7/32"]),
    ],
)
def test_networks_are_read_from_the_variable(text: str, networks: list[str]) -> None:
    assert [str(network) for network in parse_cidrs(text)] == networks


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.1/8",
        "10.0.0.0/33",
        "localhost",
        "10.0.0.0-10.1.0.0",
        "10.*",
        "::ffff:10.0.0.0/104",
        "fe80::%lo",
    ],
)
def test_a_network_that_is_none_is_refused_with_the_name_of_the_variable(text: str) -> None:
    with pytest.raises(ValueError, match="TRIPLINE_ALLOW_PRIVATE_TARGETS") as refusal:
        parse_cidrs(f"127.0.0.0/8,{text}")
    assert text in str(refusal.value)
