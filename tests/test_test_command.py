"""`manage.py test`: what it runs, what it says, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("TRIPLINE_TEST_SHAPE") == "production",
        reason="it chooses the shapes itself",
    ),
]

REPOSITORY = Path(__file__).resolve().parent.parent
# Nothing here needs other plugins, which take longer to load than all else takes.
PLUGINS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "pytest_django.plugin"}
QUICK = "tests/test_bootstrap.py::test_manage_py_parses_on_any_python_3"


def start(*arguments: str) -> subprocess.Popen[str]:
    environment = {name: os.environ[name] for name in os.environ if not name.startswith("PYTEST_")}
    return subprocess.Popen(
        [sys.executable, "manage.py", "test", "-p", "no:cacheprovider", *arguments],
        cwd=REPOSITORY,
        env=environment | PLUGINS,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(*arguments: str) -> tuple[int, str]:
    process = start(*arguments)
    output, _nothing = process.communicate(timeout=120)
    return process.returncode, output


def test_pytest_arguments_run_those_tests_on_both_shapes_and_nothing_else() -> None:
    code, output = run("-q", QUICK)
    assert code == 0, output
    titles = re.findall(r"^--- (.+): ok after [\d.]+ s$", output, re.MULTILINE)
    assert titles == ["tests on the embedded default (SQLite)", "tests on PostgreSQL and Valkey"]
    # The module is tested on one shape alone, so both figures have something to count.
    assert "1 passed in" in output
    assert "1 skipped in" in output
    assert output.rstrip().splitlines()[-1] == "tests: 1 passed, 0 failed, 1 skipped"


def test_a_run_that_collects_nothing_is_a_failure() -> None:
    code, output = run("--shape", "embedded", "-k", "no_test_is_called_so", QUICK)
    assert code == 1
    assert "tests on the embedded default (SQLite): FAILED (5)" in output
    assert "PostgreSQL" not in output
    assert output.rstrip().splitlines()[-1] == "tests: 0 passed, 0 failed, 0 skipped"


def test_a_failing_test_makes_the_command_fail(tmp_path: Path) -> None:
    (tmp_path / "test_wrong.py").write_text("def test_wrong():\n    assert 1 == 2\n")
    code, output = run("--shape", "embedded", str(tmp_path / "test_wrong.py"))
    assert code == 1
    assert "1 failed in" in output
    assert output.rstrip().splitlines()[-1] == "tests: 0 passed, 1 failed, 0 skipped"


@pytest.mark.parametrize(("how", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_ends_the_running_step_first(
    tmp_path: Path, how: signal.Signals, expected: int
) -> None:
    (tmp_path / "test_long.py").write_text(
        "import os, pathlib, time\n"
        "def test_long():\n"
        "    pathlib.Path(__file__).with_name('pid').write_text(f'{os.getpid()}\\n')\n"
        "    time.sleep(60)\n"
    )
    process = start("--shape", "embedded", str(tmp_path / "test_long.py"))
    note = tmp_path / "pid"
    deadline = time.monotonic() + 30
    while not (note.exists() and note.read_text().endswith("\n")):
        assert time.monotonic() < deadline, "waited 30 s for the test to start"
        time.sleep(0.02)
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does
    else:
        process.send_signal(how)
    output, _nothing = process.communicate(timeout=60)
    assert process.returncode == expected, output
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def test_an_unknown_shape_is_refused() -> None:
    code, output = run("--shape", "clustered")
    assert code == 2
    assert "argument --shape: invalid choice: 'clustered'" in output
