"""The outbound client over TLS: pinned to an address, verified for the name, within the deadline."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from automations.actions.http import ConnectionFailed, DeliveryTimeout
from automations.actions.targets import TargetPolicy
from tests.automations.receivers import Behaviour, Receiver, answering, dripping, receiving, silent, sipping
from tests.automations.sending import DEADLINE, LOOPBACK, ends_in_time, resolving_to, send


@dataclass(frozen=True)
class Certificates:
    """One authority, and one receiver's certificate for hook.example and 127.0.0.1."""

    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("Otter Authority", authority_key, authority_key, names=None)
    leaf = _certificate("hook", key, authority_key, names=["hook.example"])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(_pem(folder, leaf, key))
    pem = authority.public_bytes(serialization.Encoding.PEM).decode()
    return Certificates(server, ssl.create_default_context(cadata=pem))


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: ec.EllipticCurvePrivateKey, *, names: list[str] | None
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Otter Authority")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=names is None, path_length=None), critical=True)
    )
    if names is not None:
        addresses = [x509.IPAddress(ip_address("127.0.0.1"))]
        alternatives = x509.SubjectAlternativeName([*map(x509.DNSName, names), *addresses])
        builder = builder.add_extension(alternatives, critical=False)
    return builder.sign(issuer, hashes.SHA256())


def _pem(folder: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Path:
    pem, traditional = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
    secret = key.private_bytes(pem, traditional, serialization.NoEncryption())
    path = folder / "leaf.pem"
    path.write_bytes(certificate.public_bytes(pem) + secret)
    return path


def _trusting(certificates: Certificates) -> TargetPolicy:
    return TargetPolicy(LOOPBACK, resolver=resolving_to("127.0.0.1"), tls_context=certificates.client)


def test_tls_reaches_the_pinned_address_and_keeps_the_name(certificates: Certificates) -> None:
    asked: list[str | None] = []
    certificates.server.sni_callback = lambda _sock, name, _context: asked.append(name)
    with receiving(answering(), tls=certificates.server) as receiver:
        url = f"https://hook.example:{receiver.port}/hook"
        answer = send(url, _trusting(certificates), body=b"x" * 100_000)
    assert (answer.status, answer.body, asked) == (200, "ok", ["hook.example"])
    assert receiver.header("host") == f"hook.example:{receiver.port}"
    assert receiver.requests[0].endswith(b"x" * 100_000)


def test_tls_checks_an_address_in_the_url_against_the_certificate(certificates: Certificates) -> None:
    with receiving(answering(), tls=certificates.server) as receiver:
        assert send(f"https://127.0.0.1:{receiver.port}/", _trusting(certificates)).status == 200
    with receiving(answering(), host="127.0.0.2", tls=certificates.server) as receiver:
        with pytest.raises(ConnectionFailed, match=r"certificate of 127\.0\.0\.2 is not accepted"):
            send(f"https://127.0.0.2:{receiver.port}/", _trusting(certificates))
        assert (receiver.connections, receiver.requests) == (1, [])


def test_a_certificate_for_another_name_is_refused(certificates: Certificates) -> None:
    with receiving(answering(), tls=certificates.server) as receiver:
        with pytest.raises(
            ConnectionFailed, match=r"certificate of other\.example is not accepted.*mismatch"
        ):
            send(f"https://other.example:{receiver.port}/", _trusting(certificates))
        assert (receiver.connections, receiver.requests) == (1, [])


def test_a_certificate_of_an_unknown_authority_is_refused_by_default(certificates: Certificates) -> None:
    with receiving(answering(), tls=certificates.server) as receiver:
        with pytest.raises(ConnectionFailed, match=r"certificate of hook\.example is not accepted"):
            send(f"https://hook.example:{receiver.port}/")
        assert (receiver.connections, receiver.requests) == (1, [])


@pytest.mark.parametrize("lax", ["names", "certificates"])
def test_a_context_that_does_not_verify_is_refused(lax: str) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    if lax == "certificates":
        context.verify_mode = ssl.CERT_NONE
    with pytest.raises(ValueError, match="verify"):
        TargetPolicy(tls_context=context)


def test_plain_http_behind_an_https_url_is_worth_another_try(certificates: Certificates) -> None:
    def plain(connection: socket.socket, _receiver: Receiver) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with receiving(plain) as receiver, pytest.raises(ConnectionFailed, match="TLS failed"):
        send(f"https://hook.example:{receiver.port}/", _trusting(certificates))


@pytest.mark.parametrize(
    ("behave", "encrypted", "step"),
    [
        pytest.param(silent, False, "agreeing on TLS", id="no handshake"),
        pytest.param(silent, True, "waiting for the answer", id="no answer"),
        pytest.param(
            dripping(b"HTTP/1.1 200 OK\r\nX: "), True, "waiting for the answer", id="a dripping header"
        ),
    ],
)
def test_the_deadline_holds_for_tls(
    certificates: Certificates, behave: Behaviour, encrypted: bool, step: str
) -> None:
    with receiving(behave, tls=certificates.server if encrypted else None) as receiver:
        with ends_in_time(), pytest.raises(DeliveryTimeout, match=step):
            send(f"https://hook.example:{receiver.port}/", _trusting(certificates), deadline=DEADLINE)
        assert receiver.connections == 1


def test_the_deadline_holds_for_a_receiver_that_reads_tls_too_slowly(certificates: Certificates) -> None:
    flood = b"x" * 50_000_000
    with receiving(sipping, tls=certificates.server) as receiver:
        url = f"https://hook.example:{receiver.port}/"
        with ends_in_time(), pytest.raises(DeliveryTimeout, match="sending"):
            send(url, _trusting(certificates), body=flood, deadline=DEADLINE)
