"""`manage.py up` as the person at the terminal meets it: a real process, seen from outside."""

from __future__ import annotations

import http.client
import os
import re
import secrets
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIEnvironment

import psycopg
import pytest
from pytest_django import Settings

from config.embedded import Address, StartError, adopt, listen
from config.web import Web
from tests.automations.receivers import Receiver, answering, read_request, receiving, silent
from tests.upserver import UpServer, environment_of, run_beside, run_python, up_server, wait_for


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpServer]:
    """A first start on an empty directory."""
    with up_server(tmp_path_factory.mktemp("fresh") / "data", bare=True) as server:
        yield server


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a server that was started once, and stopped."""
    directory = tmp_path_factory.mktemp("used") / "data"
    with up_server(directory, env={"TRIPLINE_ADMIN_PASSWORD": "correct horse"}) as server:
        assert server.stop() == 0, server.output()
        assert "correct horse" not in server.output()
    return directory


@pytest.fixture
def data_dir(used: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return Path(shutil.copytree(used, tmp_path / "data"))


def refusal(data_dir: Path, *options: str, env: dict[str, str] | None = None) -> str:
    """What `up` says when it does not start: on stderr alone, exit code 1, no traceback."""
    done = run_python(environment_of(data_dir, env), "manage.py", "up", *options)
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr.strip()


def status(url: str, *, host: str = "") -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    with closing(connection):
        connection.request("GET", parts.path, headers={"Host": host or parts.netloc})
        return connection.getresponse().status


# --- The first start ------------------------------------------------------------------------------


def test_the_first_start_serves_and_prints_what_one_needs(fresh: UpServer) -> None:
    assert fresh.url.startswith("http://127.0.0.1:")
    assert status(f"{fresh.url}/static/admin/css/base.css") == 200
    assert status(f"{fresh.url}/no/such/page/to/be/found") == 404
    assert len(fresh.key) == 43
    assert fresh.password
    welcome = fresh.output().partition("Ctrl-C stops it.")[0]
    assert re.search(r"^The database is ready \(\d+ migrations\)\.$", welcome, re.MULTILINE)
    assert "Traceback" not in welcome
    assert "WARNING" not in welcome


def test_the_printed_password_and_key_are_the_admins(fresh: UpServer) -> None:
    script = f"""
from django.contrib.auth import authenticate
from runs.services.people import digest_of
from runs.models import ApiKey, Member
user = authenticate(username="admin", password={fresh.password!r})
key = ApiKey.objects.get(digest=digest_of({fresh.key!r}))
member = Member.objects.get(user=user)
print(user.is_superuser, user.is_staff, key.user == user, member.team.name, member.role)
"""
    assert run_beside(fresh.env, script) == "True True True main admin"


def test_what_it_writes_is_readable_by_its_owner_alone(fresh: UpServer) -> None:
    assert stat.S_IMODE(fresh.data_dir.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) & 0o077 for path in fresh.data_dir.rglob("*")}
    assert "tripline.sqlite3" in modes
    assert set(modes.values()) == {0}


def test_it_answers_to_its_own_names_only(fresh: UpServer) -> None:
    port = fresh.url.rpartition(":")[2]
    page = f"{fresh.url}/no/such/page/to/be/found"
    assert status(page, host=f"localhost:{port}") == 404
    assert status(page, host="evil.example.com") == 400


def test_a_large_body_waits_on_the_disk_of_the_data_directory(fresh: UpServer) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("open files are listed in /proc on Linux only")
    parts = urlsplit(fresh.url)
    head = b"PUT /no-such-page HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n"
    descriptors = Path(f"/proc/{fresh.process.pid}/fd")
    spool = str(fresh.data_dir / "tmp")
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20) as client:
        client.sendall(head + b"x" * 1_000_000)
        wait_for(lambda: any(str(link.readlink()).startswith(spool) for link in descriptors.iterdir()))
    # Nothing is left, not even while it was open.
    assert list((fresh.data_dir / "tmp").iterdir()) == []


def test_the_snippet_logs_a_run_when_it_is_pasted(fresh: UpServer, tmp_path: Path) -> None:
    # A proxy is no reason to fail: it is not meant for this machine.
    env = {**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        ["/bin/bash", "-c", fresh.snippet()],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    script = """
from runs.models import MetricSummary
row = MetricSummary.objects.get(name="loss")
print(row.run.project, row.run.user, row.run.status, row.count, row.last_step, row.minimum)
"""
    assert run_beside(fresh.env, script) == "main/first admin finished 20 19 0.05"


# --- What it refuses ------------------------------------------------------------------------------


def test_a_second_server_on_the_same_directory_is_refused_by_the_pid_of_the_first(fresh: UpServer) -> None:
    said = refusal(fresh.data_dir, "--port", "0")
    assert said == (
        f"Tripline runs already on the data directory {fresh.data_dir} (process {fresh.process.pid}). "
        "Stop that one, or give this one a directory of its own with TRIPLINE_DATA_DIR."
    )
    assert status(f"{fresh.url}/no/such/page/to/be/found") == 404


def test_a_busy_port_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = refusal(tmp_path / "data", "--port", str(port))
    assert said == f"Port {port} of 127.0.0.1 is in use; stop what uses it, or choose another with --port."
    assert not (tmp_path / "data" / "tripline.sqlite3").exists()


def test_a_port_that_cannot_be_is_refused(tmp_path: Path) -> None:
    said = refusal(tmp_path / "data", "--port", "70000")
    assert said == "There is no port 70000; choose one from 1 to 65535 with --port (0: any free one)."
    assert not (tmp_path / "data" / "tripline.sqlite3").exists()


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("127.0.0.1", -1, "There is no port -1; choose one from 1 to 65535"),
        # An address for documentation, which no machine has; nothing is sent to it.
        ("192.0.2.1", 0, "192.0.2.1 is no address of this machine; give one that is with --host."),
        ("two..dots", 0, "The host 'two..dots' is unknown here"),
    ],
)
def test_an_impossible_address_is_refused(host: str, port: int, said: str) -> None:
    with pytest.raises(StartError) as refused:
        listen(host, port)
    assert said in str(refused.value)


def test_every_wrong_variable_is_named_at_once(tmp_path: Path) -> None:
    wrong = {
        "DATABASE_URL": "mysql://127.0.0.1/x",
        "REDIS_URL": "127.0.0.1:6379",
        "TRIPLINE_ALLOW_PRIVATE_TARGETS": "10.0.0.0/99",
        "TRIPLINE_BASE_URL": "tripline.example.com",
        "TRIPLINE_CRASH_AFTER": "soon",
        "TRIPLINE_LOG": "xml",
    }
    keys = production("", "")
    said = refusal(tmp_path / "data", env={**keys, **wrong})
    assert sorted(line.split()[0].rstrip(":") for line in said.splitlines()) == sorted(wrong)
    assert not (tmp_path / "data" / "tripline.sqlite3").exists()


def test_production_without_its_own_keys_is_refused(tmp_path: Path) -> None:
    said = refusal(tmp_path / "data", env={"REDIS_URL": "redis://127.0.0.1:1/0"})
    assert [line.split()[0] for line in said.splitlines()] == ["SECRET_KEY", "TRIPLINE_SECRET_KEYS"]


def test_a_database_that_does_not_answer_is_refused(tmp_path: Path) -> None:
    said = refusal(tmp_path / "data", "--port", "0", env=production("postgres://tl@127.0.0.1:1/tl", ""))
    assert said.startswith("The database cannot be used (DATABASE_URL): ")
    assert len(said.splitlines()) == 1


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tripline.sqlite3").write_bytes(b"not a database" * 100)
    said = refusal(tmp_path, "--port", "0")
    assert said == f"The database cannot be used ({tmp_path / 'tripline.sqlite3'}): file is not a database."


# --- The served address in the settings -----------------------------------------------------------

LOOPBACK = Address("127.0.0.1", 8123, is_loopback=True, is_everywhere=False)
OUTSIDE = Address("gpu.example.com", 8123, is_loopback=False, is_everywhere=False)
EVERYWHERE = Address("127.0.0.1", 8123, is_loopback=False, is_everywhere=True)
MACHINE = socket.gethostname()


@pytest.mark.parametrize(
    ("address", "env", "url", "targets"),
    [
        (LOOPBACK, {}, "http://127.0.0.1:8123", ["127.0.0.0/8", "::1/128"]),
        (OUTSIDE, {}, "http://gpu.example.com:8123", []),
        (EVERYWHERE, {}, f"http://{MACHINE}:8123", []),
        (LOOPBACK, {"TRIPLINE_BASE_URL": "https://tl.example.com"}, "as read", ["127.0.0.0/8", "::1/128"]),
        (LOOPBACK, {"TRIPLINE_ALLOW_PRIVATE_TARGETS": "10.0.0.0/8"}, "http://127.0.0.1:8123", ["as read"]),
        (LOOPBACK, {"TRIPLINE_ALLOW_PRIVATE_TARGETS": ""}, "http://127.0.0.1:8123", ["as read"]),
        (LOOPBACK, {"DATABASE_URL": "postgres://h/d"}, "http://127.0.0.1:8123", []),
    ],
)
def test_the_address_goes_where_nothing_else_is_said(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    address: Address,
    env: dict[str, str],
    url: str,
    targets: list[str],
) -> None:
    for name in ("TRIPLINE_BASE_URL", "TRIPLINE_ALLOW_PRIVATE_TARGETS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    settings.TRIPLINE_EMBEDDED = "DATABASE_URL" not in env
    settings.TRIPLINE_BASE_URL = "as read"
    settings.TRIPLINE_ALLOW_PRIVATE_TARGETS = ["as read"] if "TRIPLINE_ALLOW_PRIVATE_TARGETS" in env else []
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    settings.CSRF_TRUSTED_ORIGINS = ["as read"]
    adopt(address)
    assert url == settings.TRIPLINE_BASE_URL
    assert [url] == settings.CSRF_TRUSTED_ORIGINS
    assert [str(network) for network in settings.TRIPLINE_ALLOW_PRIVATE_TARGETS] == targets
    assert {address.host, MACHINE if address.is_everywhere else address.host} <= set(settings.ALLOWED_HOSTS)


@pytest.mark.parametrize(("host", "shown"), [("localhost", "localhost"), ("::1", "[::1]")])
def test_a_free_port_is_chosen_and_known(host: str, shown: str) -> None:
    try:
        listener, address = listen(host, 0)
    except StartError as error:
        pytest.skip(str(error))  # a machine without IPv6
    with listener:
        assert address.url == f"http://{shown}:{listener.getsockname()[1]}"
        assert (address.is_loopback, address.is_everywhere) == (True, False)


# --- Stopping, and starting again -----------------------------------------------------------------


# One that does not leave behind what holds up its stop, so that this does not go unseen.
PATIENT = """
import django; django.setup()
import sys
from django.core.management import execute_from_command_line
from config import embedded
embedded.STOP_WITHIN = 600.0
execute_from_command_line(["manage.py", *sys.argv[1:]])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_cleanly(data_dir: Path, number: signal.Signals) -> None:
    env = {"DJANGO_SETTINGS_MODULE": "config.settings"}
    with up_server(data_dir, env=env, program=("-c", PATIENT)) as server:
        assert status(f"{server.url}/no/such/page/to/be/found") == 404
        began = time.monotonic()
        assert server.stop(number) == 0
        assert time.monotonic() - began < 4
    assert server.lines[-1] == "Stopped.\n"
    assert "Traceback" not in server.output()


def test_a_request_in_flight_is_answered_before_the_web_server_ends() -> None:
    entered, leave, ended = threading.Event(), threading.Event(), threading.Event()

    def slow(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        entered.set()
        leave.wait(20)
        start_response("200 OK", [("Content-Length", "5000000")])
        return [b"x" * 5_000_000]

    listener, address = listen("127.0.0.1", 0)
    web = Web(listener, slow, ended.set)
    web.start()
    with closing(http.client.HTTPConnection("127.0.0.1", address.port, timeout=20)) as client:
        client.request("GET", "/")
        assert entered.wait(20)
        web.stop()
        wait_for(lambda: refuses_connections(address.port))
        assert not web.join(time.monotonic() + 0.2)
        assert not ended.is_set()
        leave.set()
        assert client.getresponse().read() == b"x" * 5_000_000
    assert web.join(time.monotonic() + 20)
    assert ended.is_set()


def refuses_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=20).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_later_start_prints_no_password_and_says_how_keys_are_made(data_dir: Path) -> None:
    with up_server(data_dir) as server:
        assert (server.key, server.password) == ("", "")
    assert "Password" not in server.output()
    assert "migrations" not in server.output()
    assert "python3 manage.py createapikey USERNAME" in server.output()


def test_the_chosen_password_is_taken_and_not_printed(data_dir: Path) -> None:
    script = """
from django.contrib.auth import authenticate
print(authenticate(username="admin", password="correct horse"))
"""
    assert run_beside(environment_of(data_dir), script) == "admin"


def test_the_lock_goes_with_a_killed_server(data_dir: Path) -> None:
    with up_server(data_dir) as server:
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    assert (data_dir / "up.lock").read_text() == str(server.process.pid)
    with up_server(data_dir) as again:
        assert status(f"{again.url}/no/such/page/to/be/found") == 404


def test_the_port_of_a_killed_server_is_free_at_once(data_dir: Path) -> None:
    with up_server(data_dir) as server:
        port = server.url.rpartition(":")[2]
        with socket.create_connection(("127.0.0.1", int(port))):
            server.stop(signal.SIGKILL)
    with up_server(data_dir, "--port", port) as again:
        assert again.url == server.url


# --- Deciding and delivering ----------------------------------------------------------------------

WATCHED_RUN = """
cast = assemble()
rule(cast.project, "run_status", {"statuses": ["running"]})
new_run(cast.project)
"""


DELIVERIES = """
SELECT execution.state, delivery.webhook_id, delivery.attempt_count FROM automations_delivery delivery
JOIN automations_execution execution ON execution.id = delivery.execution_id ORDER BY delivery.id
"""


def deliveries(env: dict[str, str]) -> list[tuple[str, str, int]]:
    """(state of its execution, webhook id, number of attempts) of every delivery."""
    if "DATABASE_URL" in env:
        with psycopg.connect(env["DATABASE_URL"]) as production:
            return list(production.execute(DELIVERIES))
    path = Path(env["TRIPLINE_DATA_DIR"]) / "tripline.sqlite3"
    with closing(sqlite3.connect(path, timeout=20)) as embedded:
        return list(embedded.execute(DELIVERIES))


def test_what_waited_when_nobody_ran_is_decided_at_the_start(data_dir: Path) -> None:
    env = environment_of(data_dir)
    run_beside(env, WATCHED_RUN)
    assert deliveries(env) == []
    # No sweep but the first, so that it is the start that does it.
    with up_server(data_dir, env={"TRIPLINE_SWEEP_EVERY": "600"}) as server:
        wait_for(lambda: [row[0] for row in deliveries(env)] == ["finished"])
    assert "Traceback" not in server.output()


def test_the_sweep_finds_what_nobody_rang_for(data_dir: Path) -> None:
    with up_server(data_dir, env={"TRIPLINE_SWEEP_EVERY": "0.2"}) as server:
        # Its doorbell rings in another process, which has a memory broker of its own.
        run_beside(server.env, WATCHED_RUN)
        wait_for(lambda: [row[0] for row in deliveries(server.env)] == ["finished"])


def make_hooked_run(env: dict[str, str], url: str) -> None:
    """A run whose start is to be told to `url`, which the server allows because it is on loopback itself."""
    script = f"""
cast = assemble()
hook = webhook(cast.team, {url!r})
rule(cast.project, "run_status", {{"statuses": ["running"]}}, actions=sends(hook))
new_run(cast.project)
"""
    run_beside({**env, "TRIPLINE_ALLOW_PRIVATE_TARGETS": "127.0.0.0/8"}, script)


def slowly(connection: socket.socket, receiver: Receiver) -> None:
    """Answer when the test has done what it does meanwhile."""
    read_request(connection, receiver)
    time.sleep(1.0)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def test_a_delivery_in_flight_ends_before_the_server_does(data_dir: Path) -> None:
    env = environment_of(data_dir)
    with receiving(slowly) as receiver:
        make_hooked_run(env, receiver.url)
        with up_server(data_dir) as server:
            wait_for(lambda: receiver.requests)
            assert server.stop() == 0
    [[state, webhook_id, attempts]] = deliveries(env)
    assert (state, attempts) == ("finished", 1)
    assert receiver.header("webhook-id") == webhook_id


def test_a_delivery_that_hangs_does_not_hold_up_the_stop_and_is_made_again(data_dir: Path) -> None:
    env = environment_of(data_dir)
    with receiving(silent) as hanging:
        make_hooked_run(env, hanging.url)
        with up_server(data_dir) as server:
            wait_for(lambda: hanging.connections)
            began = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - began < 8
            assert server.lines[-1] == "Stopped.\n"
    [[state, webhook_id, attempts]] = deliveries(env)
    assert (state, attempts) == ("pending", 0)
    with receiving(answering(), port=hanging.port) as receiver, up_server(data_dir):
        wait_for(lambda: receiver.requests)
        wait_for(lambda: deliveries(env) == [("finished", webhook_id, 1)])
    assert receiver.header("webhook-id") == webhook_id


def test_a_second_signal_stops_at_once(data_dir: Path) -> None:
    env = environment_of(data_dir)
    with receiving(silent) as hanging:
        make_hooked_run(env, hanging.url)
        with up_server(data_dir) as server:
            wait_for(lambda: hanging.connections)
            server.process.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                server.process.wait(1)
            began = time.monotonic()
            assert server.stop() == 130
            assert time.monotonic() - began < 2
    assert "Traceback" not in server.output()


def test_half_a_server_stops_wholly(data_dir: Path) -> None:
    """When the web server's thread dies, `up` ends with an error: whoever supervises it starts it again."""
    script = """
import django; django.setup()
from django.core.management import execute_from_command_line
from config import embedded
embedded.Web._serve = lambda web: 1 / 0
execute_from_command_line(["manage.py", "up", "--port", "0"])
"""
    done = run_python(environment_of(data_dir), "-c", script)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "A part of the server ended by itself" in done.stderr
    assert "Stopped." not in done.stdout


# --- PostgreSQL and Valkey ------------------------------------------------------------------------


def production(database: str, broker: str) -> dict[str, str]:
    from cryptography.fernet import Fernet

    return {
        "DATABASE_URL": database,
        "REDIS_URL": broker,
        "SECRET_KEY": secrets.token_urlsafe(50),
        "TRIPLINE_SECRET_KEYS": Fernet.generate_key().decode(),
    }


@pytest.mark.slow
def test_one_process_serves_the_production_shape_too(tmp_path: Path) -> None:
    from tests.servers import postgres, valkey

    with postgres() as database, valkey() as broker:
        env = {**production(database, broker), "TRIPLINE_SWEEP_EVERY": "600"}
        with up_server(tmp_path / "data", env=env) as server:
            assert status(f"{server.url}/no/such/page/to/be/found") == 404
            assert server.key
            # This process rings through the broker; there is no sweep that would help.
            run_beside(server.env, WATCHED_RUN)
            wait_for(lambda: [row[0] for row in deliveries(server.env)] == ["finished"])
            assert server.stop() == 0
    assert not (tmp_path / "data" / "tripline.sqlite3").exists()
    assert "Traceback" not in server.output()
