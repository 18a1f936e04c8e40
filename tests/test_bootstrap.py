"""manage.py on machines that lack something. Every test runs the real thing, in a project of its own.

The project is Tripline's manage.py and bootstrap over a stand-in for Django, which comes out of a wheel
that the project's own build backend hands over: pip is real and needs no network.
"""

from __future__ import annotations

import ast
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("TRIPLINE_TEST_SHAPE") == "production",
        reason="the bootstrap knows no database: it is tested once, with the embedded shape",
    ),
]

REPOSITORY = Path(__file__).resolve().parent.parent

DJANGO = """
import json, sys
def execute_from_command_line(argv):
    print(json.dumps({"prefix": sys.prefix, "arguments": argv[1:]}))
"""

# Hands over the wheel, once `gate` does not stand in its way.
BACKEND = """
import pathlib, shutil, time
def build_editable(folder, config_settings=None, metadata_directory=None):
    here = pathlib.Path(__file__).parent
    while (here / "gate").exists():
        (here / "at-the-gate").touch()
        time.sleep(0.02)
    return shutil.copy(next(here.glob("tripline-*.whl")), folder).rpartition("/")[2]
"""

# Runs manage.py after `{change}`, as a Python would that differs in just that.
DIFFERENT_PYTHON = "import runpy, sys; {change}; sys.argv = ['manage.py', 'up']; {run}"
RUN_MANAGE = "sys.path.insert(0, '.'); runpy.run_path('manage.py', run_name='__main__')"


@dataclass
class Outcome:
    code: int
    stdout: str
    stderr: str

    @property
    def ran(self) -> dict[str, object]:
        """What Django was started with: the proof that the command ran, and where."""
        assert self.code == 0, self.stderr
        found: dict[str, object] = json.loads(self.stdout)
        return found


class Project:
    """A clone on a machine whose Python is `python`."""

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder = folder
        self.python = python
        self.venv = folder / ".venv"
        (folder / "config").mkdir(parents=True)
        (folder / "config" / "__init__.py").touch()
        shutil.copy(REPOSITORY / "config" / "bootstrap.py", folder / "config")
        shutil.copy(REPOSITORY / "manage.py", folder)
        (folder / "backend.py").write_text(BACKEND)
        self.describe()

    def describe(self, *, dependencies: tuple[str, ...] = (), dev: tuple[str, ...] = ()) -> None:
        """Write pyproject.toml and the wheel that says the same."""
        (self.folder / "pyproject.toml").write_text(
            dedent(f"""\
            [build-system]
            requires = []
            build-backend = "backend"
            backend-path = ["."]
            [project]
            name = "tripline"
            version = "0.1.0"
            dependencies = {json.dumps(dependencies)}
            optional-dependencies.dev = {json.dumps(dev)}
            """)
        )
        requirements = [*dependencies, *(f"{requirement} ; extra == 'dev'" for requirement in dev)]
        files = {
            "django/__init__.py": "",
            "django/core/__init__.py": "",
            "django/core/management/__init__.py": DJANGO,
        }
        write_wheel(self.folder, "tripline", files, requirements)

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.python), *(command or ("manage.py", "up"))],
            cwd=self.folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str) -> Outcome:
        return finish(self.start(*command))


def environment() -> dict[str, str]:
    """Ours, without what would tell of our own environment, and with the network out of pip's reach."""
    unwanted = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "TRIPLINE_BOOTSTRAP_RESTARTED")
    return {name: value for name, value in os.environ.items() if name not in unwanted} | {"PIP_NO_INDEX": "1"}


def finish(process: subprocess.Popen[str]) -> Outcome:
    stdout, stderr = process.communicate(timeout=60)
    return Outcome(process.returncode, stdout, stderr)


def write_wheel(folder: Path, name: str, files: dict[str, str], requirements: list[str]) -> Path:
    path = folder / f"{name}-0.1.0-py3-none-any.whl"
    about = f"{name}-0.1.0.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\nProvides-Extra: dev"]
    metadata += [f"Requires-Dist: {requirement}" for requirement in requirements]
    files = files | {
        f"{about}/METADATA": "\n".join(metadata) + "\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        for name_inside, text in files.items():
            wheel.writestr(name_inside, text)
        wheel.writestr(f"{about}/RECORD", "".join(f"{each},,\n" for each in files))
    return path


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, f"waited 30 s for {what}"
        time.sleep(0.02)


def make_environment(folder: Path, *options: str) -> Path:
    """A virtual environment; gives its Python."""
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([base, "-m", "venv", *options, str(folder)], check=True, env=environment())
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with neither Django nor pip: what other packages the machine has is not in its way."""
    return make_environment(tmp_path_factory.mktemp("bare") / "python", "--without-pip")


@pytest.fixture
def project(tmp_path: Path, bare_python: Path) -> Project:
    return Project(tmp_path / "clone", bare_python)


@pytest.fixture
def ruler(tmp_path: Path) -> str:
    """A requirement that pip can meet without a network."""
    return f"ruler @ {write_wheel(tmp_path, 'ruler', {'ruler.py': ''}, []).as_uri()}"


def test_an_old_python_gets_one_sentence(project: Project) -> None:
    old = DIFFERENT_PYTHON.format(change="sys.version_info = (3, 9, 2, 'final', 0)", run=RUN_MANAGE)
    outcome = project.run("-c", old)
    assert outcome.code == 1
    assert outcome.stderr.startswith("Tripline needs Python 3.11 or newer; this is 3.9 (")
    assert outcome.stderr.count("\n") == 1
    assert not project.venv.exists()


def test_manage_py_parses_on_any_python_3() -> None:
    tree = ast.parse((REPOSITORY / "manage.py").read_text(), feature_version=(3, 4))
    too_new = (ast.JoinedStr, ast.NamedExpr, ast.AnnAssign, ast.Match)
    assert not [node for node in ast.walk(tree) if isinstance(node, too_new)]
    assert "annotations" not in {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def test_a_bare_machine_gets_an_environment_once_and_tests_get_their_extra(
    project: Project, ruler: str
) -> None:
    project.describe(dev=(ruler,))
    first = project.run("manage.py", "up", "--port", "8001")
    assert first.ran == {"prefix": str(project.venv), "arguments": ["up", "--port", "8001"]}
    assert "Making .venv: done in" in first.stderr
    assert "Installing Tripline: done in" in first.stderr
    assert not list(project.venv.glob("lib/*/site-packages/ruler.py"))

    second = project.run()
    assert second.ran["prefix"] == str(project.venv)
    assert second.stderr == ""

    tests = project.run("manage.py", "test", "-k", "one")
    assert tests.ran["arguments"] == ["test", "-k", "one"]
    assert "Installing Tripline and what its tests need: done in" in tests.stderr
    assert list(project.venv.glob("lib/*/site-packages/ruler.py"))
    assert project.run().stderr == ""

    # What the tests need is kept in step too, whichever command notices the change.
    project.describe(dependencies=(ruler,), dev=(ruler,))
    assert "Installing Tripline and what its tests need: done in" in project.run().stderr
    assert project.run("manage.py", "test").stderr == ""


def test_changed_dependencies_are_installed_and_other_changes_are_not(project: Project, ruler: str) -> None:
    assert project.run().ran
    with (project.folder / "pyproject.toml").open("a") as file:
        file.write("[tool.ruff]\nline-length = 88\n")
    assert project.run().stderr == ""

    project.describe(dependencies=(ruler,))
    changed = project.run()
    assert changed.ran
    assert "Making" not in changed.stderr
    assert "Installing Tripline: done" in changed.stderr
    assert list(project.venv.glob("lib/*/site-packages/ruler.py"))

    # Started by the environment's own Python, it keeps in step just the same.
    project.python = project.venv / "bin" / "python"
    project.describe()
    assert "Installing Tripline: done" in project.run().stderr
    assert project.run().stderr == ""


def test_a_failing_pip_shows_its_words_and_one_sentence_and_spoils_nothing(project: Project) -> None:
    project.describe(dependencies=("no-such-package>=3",))
    failed = project.run()
    assert failed.code == 1
    assert failed.stdout == ""
    assert "No matching distribution found for no-such-package>=3" in failed.stderr
    assert failed.stderr.rstrip().splitlines()[-1].startswith("Installing failed, see pip's words above.")

    project.describe()
    repaired = project.run()
    assert repaired.ran["prefix"] == str(project.venv)
    assert "Making" not in repaired.stderr  # what was in order is kept


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_install_is_repaired_at_the_next_start(project: Project, how: signal.Signals) -> None:
    gate, at_the_gate = project.folder / "gate", project.folder / "at-the-gate"
    gate.touch()
    process = project.start()
    until(at_the_gate.exists, "pip to build")
    os.killpg(process.pid, how)
    interrupted = finish(process)
    assert interrupted.code == (130 if how == signal.SIGINT else -signal.SIGKILL)
    assert ("interrupted; the next start begins afresh" in interrupted.stderr) == (how == signal.SIGINT)
    ruin = next(project.venv.glob("lib/*/site-packages")) / "half_written.py"
    ruin.touch()

    gate.unlink()
    repaired = project.run()
    assert repaired.ran["prefix"] == str(project.venv)
    assert "Making .venv: done in" in repaired.stderr
    assert not ruin.exists()


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_missing_venv_module_gives_one_sentence_with_the_package_to_install(
    project: Project, module: str
) -> None:
    without = DIFFERENT_PYTHON.format(change=f"sys.modules['{module}'] = None", run=RUN_MANAGE)
    outcome = project.run("-c", without)
    assert outcome.code == 1
    assert outcome.stderr.count("\n") == 1
    assert f"its module {module} is missing" in outcome.stderr
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert outcome.stderr.endswith(f"apt install python{version}-venv\n")
    assert not project.venv.exists()


def test_two_starts_at_once_install_once(project: Project) -> None:
    outcomes = [finish(process) for process in [project.start(), project.start()]]
    assert [outcome.ran["prefix"] for outcome in outcomes] == [str(project.venv)] * 2
    told = "".join(outcome.stderr for outcome in outcomes)
    assert told.count("Installing Tripline: done") == 1
    assert told.count("Another start is installing Tripline here; waiting for it.") == 1


def test_an_environment_whose_python_is_gone_or_is_another_one(project: Project, bare_python: Path) -> None:
    assert project.run().ran
    python = project.venv / "bin" / "python"
    python.unlink()
    python.symlink_to(project.folder / "removed-python")
    assert project.run().ran["prefix"] == str(project.venv)

    python.unlink()
    python.write_text(f'#!/bin/sh\nexec {bare_python} "$@"\n')
    python.chmod(0o755)
    looping = project.run()
    assert looping.code == 1
    assert looping.stderr.endswith(f"{python} is no Python of {project.venv}. Remove that folder and "
                                   "run the command again.\n")  # fmt: skip


def test_somebodys_own_environment_is_left_alone(tmp_path: Path) -> None:
    python = make_environment(tmp_path / "own", "--without-pip")
    project = Project(tmp_path / "clone", python)
    packages = next((tmp_path / "own").glob("lib/*/site-packages"))
    with zipfile.ZipFile(next(project.folder.glob("*.whl"))) as wheel:
        wheel.extractall(packages)
    before = sorted(packages.rglob("*.py"))
    assert project.run().ran["prefix"] == str(tmp_path / "own")

    # What it lacks is named, and still nothing is touched.
    project.describe(dependencies=("compass>=1",))
    lacking = project.run()
    assert lacking.code == 1
    assert lacking.stderr == (
        f"This environment ({tmp_path / 'own'}) has Django but lacks compass. "
        f"Install what is missing with: {python} -m pip install -e '.'\n"
    )
    assert sorted(packages.rglob("*.py")) == before
    assert not project.venv.exists()


def test_the_tests_extra_goes_into_somebodys_own_environment(tmp_path: Path, ruler: str) -> None:
    python = make_environment(tmp_path / "own")
    project = Project(tmp_path / "clone", python)
    project.describe(dev=(ruler,))
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "-e", "."],
        cwd=project.folder, env=environment(), check=True,
    )  # fmt: skip
    assert project.run().stderr == ""
    tests = project.run("manage.py", "test")
    assert tests.ran["prefix"] == str(tmp_path / "own")
    assert "Installing Tripline and what its tests need: done" in tests.stderr
    assert project.run("manage.py", "test").stderr == ""
    assert not project.venv.exists()


def test_on_a_terminal_progress_is_one_line_that_changes() -> None:
    ours, theirs = pty.openpty()
    script = (
        "import time; from config.bootstrap import Progress\n"
        "with Progress('Installing') as progress: progress.doing = 'collecting x'; time.sleep(0.5)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, stderr=theirs, check=True)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    os.close(theirs)
    assert "\r\x1b[KInstalling … 0 s collecting x" in shown
    assert shown.endswith(("\r\x1b[KInstalling: done in 0 s\r\n", "\r\x1b[KInstalling: done in 1 s\r\n"))
    assert shown.count("\n") == 1
