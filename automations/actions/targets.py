"""Where outbound calls may go: reading a URL without doubt, judging the addresses behind its host."""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import quote

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver: TypeAlias = Callable[[str, int], Sequence[str]]

ALLOW_VARIABLE = "TRIPLINE_ALLOW_PRIVATE_TARGETS"
MAX_URL_LENGTH = 2048

# Written out because the flags of `ipaddress` differ between patch releases of one Python: 3.11.7 calls
# 64:ff9b::/96, 2002::/16 and all multicast global.
_SPECIAL_RANGES: tuple[tuple[IPNetwork, str], ...] = tuple(
    (ipaddress.ip_network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "cloud platform"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::/96", "IPv4-compatible"),
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "NAT64"),
        ("2001::/32", "Teredo"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
# Everything of IPv6 that is given out as unicast; what lies outside is refused even without a name above.
_GLOBAL_UNICAST_V6 = ipaddress.IPv6Network("2000::/3")
_MAPPED_V4 = ipaddress.IPv6Network("::ffff:0:0/96")

_URL = re.compile(r"(https?)://([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?", re.IGNORECASE | re.ASCII)
_AUTHORITY = re.compile(r"(?:\[([0-9a-f.]*:[0-9a-f:.]*)\]|([a-z0-9._-]+))(?::([0-9]{1,5}))?")
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_][a-z0-9_-]{0,62}(?:\.[a-z0-9_][a-z0-9_-]{0,62})*")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_ODD_AUTHORITY = tuple(
    (re.compile(pattern), reason)
    for pattern, reason in (
        (r"@", "the URL has a user name or password in it; use the access token of the integration instead"),
        (r"%", "the host of the URL has a percent sign (a zone id or an encoded character) in it"),
        (r"[^\x00-\x7f]", "the host of the URL is not ASCII; write it in its ASCII form (xn--…)"),
        (r"^(?::|\Z)", "the URL has no host"),
        (r"\.(?::[0-9]*)?\Z", "the host of the URL ends in a dot; leave the dot out"),
        (r":\Z", "the URL has a colon but no port after it"),
    )
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PATH_CHARACTERS = "/?%:@!$&'()*+,;=~"
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_/-]*")


class OutboundError(Exception):
    """A request that got no answer; `permanent` if trying again cannot help. Its text never holds the URL."""

    permanent = False


class RequestRefused(OutboundError):  # noqa: N818  # reads as the verdict it is
    """The request cannot be sent as it is."""

    permanent = True


class TargetRefused(RequestRefused):
    """The URL is unclear, or its host has an address that outbound calls may not reach."""


@dataclass(frozen=True)
class Target:
    """Where a URL leads. `address` is set when the host is written as a number; `path` includes the query."""

    scheme: str
    host: str
    port: int
    path: str = field(repr=False)
    address: IPAddress | None

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def system_resolver(host: str, port: int) -> Sequence[str]:
    """Ask the operating system for all addresses of a name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


@dataclass(frozen=True)
class TargetPolicy:
    """What outbound calls may reach beyond the public internet, and how they find and trust it.

    `allowed`: networks from `parse_cidrs`. `exempt_prefixes`: scheme, host, port and the beginning of the
    path of the installation's own inboxes, reachable at whatever address; one that is not a clear URL is a
    TargetRefused at once.
    """

    allowed: Sequence[IPNetwork] = ()
    exempt_prefixes: Sequence[str] = ()
    resolver: Resolver = system_resolver
    tls_context: ssl.SSLContext | None = None
    _exempt: tuple[Target, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        context = self.tls_context
        if context and not (context.check_hostname and context.verify_mode is ssl.CERT_REQUIRED):
            raise ValueError("the TLS context must verify certificates and host names")
        object.__setattr__(self, "_exempt", tuple(parse_target(prefix) for prefix in self.exempt_prefixes))

    def exempts(self, target: Target) -> bool:
        """Whether this is one of the own addresses. A path that a proxy might read differently never is."""
        path = target.path.partition("?")[0]
        return bool(_PLAIN_PATH.fullmatch(path)) and any(
            (own.scheme, own.host, own.port) == (target.scheme, target.host, target.port)
            and path.startswith(own.path.rstrip("/") + "/")
            for own in self._exempt
        )

    def judge(self, target: Target, answers: Sequence[str]) -> list[IPAddress]:
        """The addresses to connect to, in the order of the answer; TargetRefused if even one is special."""
        addresses = list(dict.fromkeys(_plain_address(answer) for answer in answers))
        if not self.exempts(target):
            for address in addresses:
                self._refuse_special(target.host, address)
        return addresses

    def _refuse_special(self, host: str, address: IPAddress) -> None:
        kind = special_range(address)
        if kind is None or any(address in network for network in self.allowed):
            return
        subject = "the URL" if host == str(address) else host
        raise TargetRefused(
            f"{subject} leads to {address} ({kind}), which outbound calls may not reach;"
            f" if it is meant, add {address} or its network to {ALLOW_VARIABLE}"
        )


def parse_cidrs(text: str) -> list[IPNetwork]:
    """The networks of the environment variable, between commas or spaces; ValueError says what to write."""
    return [_cidr(part) for part in re.split(r"[\s,]+", text) if part]


def parse_target(url: str) -> Target:
    """Read a URL in the one way that leaves no doubt who will be connected to; TargetRefused otherwise."""
    if len(url) > MAX_URL_LENGTH:
        raise TargetRefused(f"the URL is longer than {MAX_URL_LENGTH} characters")
    if not url.isprintable() or " " in url or "\\" in url:
        raise TargetRefused("the URL has a space, a backslash or an invisible character in it")
    found = _URL.fullmatch(url)
    if not found:
        raise TargetRefused("the URL must begin with http:// or https://")
    scheme = found[1].lower()
    host, port = _host_and_port(found[2])
    path = quote((found[3] or "/") + (found[4] or ""), safe=_PATH_CHARACTERS)
    return Target(scheme, host, port or _DEFAULT_PORTS[scheme], path, _numeric_address(host))


def check_target(url: str, policy: TargetPolicy) -> None:
    """What can be said when a URL is saved, without asking a name server; TargetRefused as at sending."""
    target = parse_target(url)
    if target.address:
        policy.judge(target, [str(target.address)])


def special_range(address: IPAddress) -> str | None:
    """The kind of special range an address lies in, or None for an address of the public internet."""
    for network, kind in _SPECIAL_RANGES:
        if address in network:
            return kind
    return None if isinstance(address, ipaddress.IPv4Address) or address in _GLOBAL_UNICAST_V6 else "reserved"


def _host_and_port(authority: str) -> tuple[str, int | None]:
    for odd, reason in _ODD_AUTHORITY:
        if odd.search(authority):
            raise TargetRefused(reason)
    found = _AUTHORITY.fullmatch(authority.lower())
    if not found:
        raise TargetRefused("the host or the port of the URL cannot be read")
    port = int(found[3]) if found[3] else None
    if port is not None and not 1 <= port <= 65535:
        raise TargetRefused("the port of the URL is not between 1 and 65535")
    return found[1] or found[2], port


def _numeric_address(host: str) -> IPAddress | None:
    """The address a host is written as, or None for a name.

    A host whose last label is a number is an IPv4 address to everything that connects (127.1, 0x7f.1,
    2130706433); only the form with four plain decimal numbers is taken, because the others are read
    differently here and there.
    """
    try:
        if ":" in host:
            return ipaddress.IPv6Address(host)
        if _NUMERIC_LABEL.fullmatch(host.rpartition(".")[2]):
            return ipaddress.IPv4Address(host)
    except ipaddress.AddressValueError:
        plain = "192.0.2.1 or [2001:db8::1]"
        raise TargetRefused(f"the numeric host of the URL is not in a plain form such as {plain}") from None
    if not _NAME.fullmatch(host):
        raise TargetRefused("the host of the URL is not a valid name")
    return None


def _plain_address(answer: str) -> IPAddress:
    """An address as it will be connected to: ::ffff:a.b.c.d is a.b.c.d."""
    try:
        address = ipaddress.ip_address(answer)
    except ValueError:
        raise TargetRefused(f"the name server gave {answer[:80]!r}, which is not an address") from None
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.scope_id:
        raise TargetRefused(f"{address} is bound to one network interface, which outbound calls may not use")
    return address.ipv4_mapped or address


def _cidr(text: str) -> IPNetwork:
    try:
        if "%" in text:
            raise ValueError(f"{text} has a zone id")
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"{ALLOW_VARIABLE}: {error}; write networks such as 10.0.0.0/8, fd00::/8") from None
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED_V4):
        raise ValueError(f"{ALLOW_VARIABLE}: {text} is an IPv4 network in IPv6 spelling; write it as IPv4")
    return network
