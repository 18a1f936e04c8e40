"""Addresses that outbound calls must not reach, however they are spelled; refused before any connection."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, strategies as st

from automations.actions.http import OutboundRequest, post
from automations.actions.targets import (
    TargetPolicy,
    TargetRefused,
    check_target,
    parse_cidrs,
    parse_target,
    special_range,
)
from tests.automations.receivers import Receiver, answering, receiving

PUBLIC = "93.184.215.14"
PUBLIC_V6 = "2606:4700::1111"

UNCLEAR_URLS = [
    # numbers that are read differently by different programs
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7F.1:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://017700000001:{port}/",
    "http://127.0.0.01:{port}/",
    "http://127.0.0.0x1:{port}/",
    "http://0x:{port}/",
    "http://0:{port}/",
    "http://256.0.0.1:{port}/",
    "http://127.0.0.1.1:{port}/",
    "http://public.example.1:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://localhost.:{port}/",
    "http://public.example./",
    # characters that are folded to others on the way
    "http://\uff11\uff12\uff17.0.0.1:{port}/",
    "http://127\u30020\u30020\u30021:{port}/",
    "http://\u2460\u2461\u2466.0.0.1:{port}/",
    "http://\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54:{port}/",
    "http://l\u043ecalhost:{port}/",
    "http://loopbac\u212a.example:{port}/",
    "http://127.0.0.1\u200b:{port}/",
    "http://b\u00fccher.example/",
    "http://127.0.0.1:\uff18\uff10/",
    # more than one reading of where the host ends
    "http://user@127.0.0.1:{port}/",
    "http://user:password@127.0.0.1:{port}/",
    "http://public.example@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}@public.example/",
    "http://public.example:80@127.0.0.1:{port}@public.example/",
    "http://@127.0.0.1:{port}/",
    "http://public.example\\@127.0.0.1:{port}/",
    "http:\\\\127.0.0.1:{port}\\",
    "http://127.0.0.1:{port}\\.public.example/",
    "http://127.0.0.1%00.public.example:{port}/",
    "http://127.0.0.1%23.public.example:{port}/",
    "http://%31%32%37.0.0.1:{port}/",
    "http://127.0.0.1:{port}\t/",
    "http://127.0.0.1\n:{port}/",
    "http://127.0.0.1:{port}/\r\nHost: public.example",
    "http://127.0.0.1:{port}/a b",
    "http://127.0.0.1:{port}/a\\b",
    "http://127.0.0.1:{port}/\x00",
    " http://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/\ud83d",
    # brackets and zones
    "http://[fe80::1%25lo]:{port}/",
    "http://[fe80::1%lo]:{port}/",
    "http://[::1:{port}/",
    "http://::1:{port}/",
    "http://[127.0.0.1]:{port}/",
    "http://[::1].public.example:{port}/",
    "http://[]:{port}/",
    "http://[::1::]:{port}/",
    "http://[::ffff:127.0.0.01]:{port}/",
    # hosts and ports that are none
    "http:///",
    "http://",
    "http://:{port}/",
    "http://?127.0.0.1:{port}",
    "http://#127.0.0.1:{port}",
    "http://127.0.0.1:0/",
    "http://127.0.0.1:65536/",
    "http://127.0.0.1:999999/",
    "http://127.0.0.1:-1/",
    "http://127.0.0.1:+80/",
    "http://127.0.0.1:/",
    "http://127.0.0.1:80:{port}/",
    "http://.example/",
    "http://public..example/",
    "http://*.example/",
    "http://public,example/",
    "http://-public.example/",
    "http://" + "a" * 64 + ".example/",
    "http://" + "a." * 127 + "example/",
    "http://public.example/" + "a" * 2048,
    # other schemes
    "",
    "127.0.0.1:{port}",
    "//127.0.0.1:{port}/",
    "http:127.0.0.1:{port}/",
    "http:/127.0.0.1:{port}/",
    "ftp://127.0.0.1:{port}/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/_POST",
    "unix:///run/app.sock",
    "http+unix://%2Frun%2Fapp.sock/",
    "http\u017f://127.0.0.1:{port}/",
    "javascript:alert(1)",
]

SPECIAL_ADDRESSES = [
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("0.0.0.0", "unspecified"),  # noqa: S104  # nothing is bound to it
    ("0.1.2.3", "unspecified"),
    ("10.0.0.0", "private"),
    ("10.255.255.255", "private"),
    ("172.16.0.0", "private"),
    ("172.31.255.255", "private"),
    ("192.168.0.1", "private"),
    ("100.64.0.0", "carrier-grade NAT"),
    ("100.100.100.200", "carrier-grade NAT"),
    ("100.127.255.255", "carrier-grade NAT"),
    ("169.254.169.254", "link-local"),
    ("168.63.129.16", "cloud platform"),
    ("192.0.0.192", "reserved"),
    ("192.0.2.1", "documentation"),
    ("192.88.99.1", "6to4 relay"),
    ("198.18.0.1", "benchmarking"),
    ("198.19.255.255", "benchmarking"),
    ("198.51.100.7", "documentation"),
    ("203.0.113.7", "documentation"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "reserved"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("0:0:0:0:0:0:0:1", "loopback"),
    ("::127.0.0.1", "IPv4-compatible"),
    ("::ffff:127.0.0.1", "loopback"),
    ("::ffff:7f00:1", "loopback"),
    ("::ffff:10.0.0.1", "private"),
    ("::ffff:169.254.169.254", "link-local"),
    ("::ffff:0:127.0.0.1", "reserved"),
    ("64:ff9b::7f00:1", "NAT64"),
    ("64:ff9b::93.184.215.14", "NAT64"),
    ("64:ff9b:1::a00:1", "NAT64"),
    ("100::1", "reserved"),
    ("2001::7f00:1", "Teredo"),
    ("2001:2::1", "reserved"),
    ("2001:20::1", "reserved"),
    ("2001:db8::1", "documentation"),
    ("2002:7f00:1::", "6to4"),
    ("2002:5db8:d70e::1", "6to4"),
    ("3fff::1", "documentation"),
    ("4000::1", "reserved"),
    ("5f00::1", "reserved"),
    ("fc00::1", "private"),
    ("fd00:ec2::254", "private"),
    ("fe80::1", "link-local"),
    ("fec0::1", "site-local"),
    ("ff02::1", "multicast"),
    ("ff0e::1", "multicast"),
]

_NUMBERS = re.compile(r"((0x)?[0-9a-f]{1,10}|[0-3]{1,11})(\.((0x)?[0-9a-f]{1,4}|[0-3]{1,4})){0,3}")

HOSTILE_ANSWERS = [
    *([address] for address, _ in SPECIAL_ADDRESSES),
    [PUBLIC, "127.0.0.1"],
    ["127.0.0.1", PUBLIC],
    [PUBLIC_V6, "::1"],
    [PUBLIC, PUBLIC_V6, "::ffff:10.0.0.1"],
    [PUBLIC] * 50 + ["169.254.169.254"],
    ["fe80::1%lo"],
    ["2606:4700::1111%lo"],
    ["127.1"],
    ["2130706433"],
    ["localhost"],
    [""],
]

PUBLIC_ADDRESSES = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.215.14",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2606:4700::1111",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2003::1",
    "2a00:1450::1",
    "3ffe::1",
]


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
