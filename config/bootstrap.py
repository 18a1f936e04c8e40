"""Makes the environment that Tripline runs in, where there is none. Standard library only.

Three kinds of Python can run manage.py:

- that of `.venv` beside manage.py, which is ours: kept in step with pyproject.toml, a stamp file says
  what it holds;
- that of somebody's own virtual environment with Django in it: left alone, but for the `dev` extra
  that the command `test` needs;
- any other: `.venv` is made, and manage.py starts again with its Python.

Everything is said on stderr: the stdout of a command belongs to the command.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "tripline-stamp"
# Stands in the stamp while something is being installed: whoever finds it at a start finds a ruin.
UNFINISHED = "unfinished"
# Stands there after pip gave up by itself, which leaves what was installed in order.
OUTDATED = "outdated"
# Handed to the process that takes our place: a broken environment ends in a sentence, not in a loop.
RESTARTED = "TRIPLINE_BOOTSTRAP_RESTARTED"
INTERRUPTED = 130  # the exit code of a shell for Ctrl-C


class InstallingFailed(SystemExit):
    """Carries what the installing program said, and a sentence that says what to do."""


def ensure_environment(arguments: Sequence[str]) -> None:
    """Return when this Python can run manage.py with `arguments`; otherwise start one that can.

    Exits with a sentence that says what to do when there is no way.
    """
    extras = {"dev"} if arguments[:1] == ["test"] else set()
    if Path(sys.prefix).resolve() == VENV.resolve():
        _ensure_ours(extras)
    elif _django_is_here() and (_is_virtual() or not _missing(extras)):
        _ensure_foreign(extras)
    else:
        _replace_by_ours(extras)
    os.environ.pop(RESTARTED, None)


def _ensure_ours(extras: set[str]) -> None:
    """Bring the environment we already run in up to date."""
    if not _django_is_here():
        # The machine's Python was replaced under it, or somebody emptied it.
        STAMP.write_text(UNFINISHED)
    if _stamp_covers(extras):
        return
    _refuse_a_second_restart(f"{VENV} does not work. Remove that folder and run the command again.")
    _make_ours(extras)
    _restart(PYTHON)


def _replace_by_ours(extras: set[str]) -> NoReturn:
    _refuse_a_second_restart(
        f"{PYTHON} is no Python of {VENV}. Remove that folder and run the command again."
    )
    if not (PYTHON.exists() and _stamp_covers(extras)):
        _make_ours(extras)
    _restart(PYTHON)


def _ensure_foreign(extras: set[str]) -> None:
    """Somebody's own environment gets the extra that tests need, and nothing else ever."""
    missing = _missing(extras)
    if not missing:
        return
    install = f"{sys.executable} -m pip install -e '{_project(extras)}'"
    lacking = f"This environment ({sys.prefix}) has Django but lacks {', '.join(missing)}."
    if not extras or importlib.util.find_spec("pip") is None:
        sys.exit(f"{lacking} Install what is missing with: {install}")
    _refuse_a_second_restart(f"{lacking} Installing did not help; try it by hand: {install}")
    _install(Path(sys.executable), extras)
    _restart(Path(sys.executable))


def _restart(python: Path) -> NoReturn:
    """Run the same command line with `python` in place of this process: same pid, same terminal."""
    os.environ[RESTARTED] = "1"
    sys.stderr.flush()
    os.execv(python, [str(python), *sys.orig_argv[1:]])  # noqa: S606 (our own command line)


def _refuse_a_second_restart(complaint: str) -> None:
    if os.environ.get(RESTARTED):
        sys.exit(complaint)


# --- What is there, and what is wanted ------------------------------------------------------------


def _django_is_here() -> bool:
    return importlib.util.find_spec("django") is not None


def _is_virtual() -> bool:
    return sys.prefix != sys.base_prefix or os.environ.get("CONDA_PREFIX") == sys.prefix


def _pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _missing(extras: Iterable[str]) -> list[str]:
    """The names of required packages that this Python has not got, whatever their version."""
    project = _pyproject()["project"]
    optional = project.get("optional-dependencies", {})
    wanted = [*project.get("dependencies", []), *(line for extra in extras for line in optional[extra])]
    missing = []
    for requirement in wanted:
        name, own_extras = _parse(requirement)
        if name == project["name"]:
            wanted += [line for extra in own_extras for line in optional[extra]]
        elif not _is_installed(name):
            missing.append(name)
    return missing


def _parse(requirement: str) -> tuple[str, list[str]]:
    """`"celery[redis]>=5"` is celery with the extra redis."""
    match = re.match(r"([\w.-]+)(?:\[([\w.,\s-]*)\])?", requirement)
    if match is None:
        raise ValueError(f"pyproject.toml: cannot read the requirement {requirement!r}.")
    return match[1], re.findall(r"[\w.-]+", match[2] or "")


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _project(extras: Iterable[str]) -> str:
    """What pip is asked for: this folder, with extras."""
    names = ",".join(sorted(extras))
    return f".[{names}]" if names else "."


# --- Our own environment --------------------------------------------------------------------------


def _stamp() -> tuple[str, set[str]]:
    """The digest that `.venv` was installed for ("" when we did not) and the extras it holds."""
    words = STAMP.read_text().split() if STAMP.exists() else []
    return (words[0], set(words[1:])) if words else ("", set())


def _stamp_covers(extras: set[str]) -> bool:
    digest, installed = _stamp()
    return digest == _digest() and extras <= installed


def _digest() -> str:
    """Changes when what has to be installed changes, or where: an editable install knows its folder."""
    pyproject = _pyproject()
    names = ("name", "version", "requires-python", "dependencies", "optional-dependencies")
    wanted = [str(ROOT), pyproject["build-system"], [pyproject["project"].get(name) for name in names]]
    return hashlib.sha256(json.dumps(wanted).encode()).hexdigest()


def _make_ours(extras: set[str]) -> None:
    """Make `.venv`, or bring it up to date, or repair it."""
    with _alone():
        if PYTHON.exists() and _stamp_covers(extras):
            return  # the start that we waited for did it
        digest, installed = _stamp()
        extras = extras | installed
        if digest == UNFINISHED or not PYTHON.exists():
            shutil.rmtree(VENV, ignore_errors=True)
        _create()
        _write_stamp(UNFINISHED, extras)
        try:
            _install(PYTHON, extras)
        except InstallingFailed:
            _write_stamp(OUTDATED, extras)
            raise
        _write_stamp(_digest(), extras)


@contextmanager
def _alone() -> Iterator[None]:
    """One start at a time installs; the lock is on the folder itself and leaves nothing behind."""
    folder = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another start is installing Tripline here; waiting for it.", file=sys.stderr)
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _create() -> None:
    """Make the bare environment, with pip. One that has both is left as it is."""
    if PYTHON.exists() and any(VENV.glob("lib/python*/site-packages/pip")):
        return
    _refuse_without_venv_module()
    try:
        VENV.mkdir(exist_ok=True)
        _write_stamp(UNFINISHED, [])
    except OSError as error:
        sys.exit(f"Cannot make {VENV}: {error.strerror}. Make {ROOT} writable and run the command again.")
    # Not sys.executable: it may lie in the folder that was just removed.
    python = getattr(sys, "_base_executable", sys.executable)
    with Progress("Making .venv") as progress:
        _watch([python, "-m", "venv", str(VENV)], progress, what_to_do=_AFTER_FAILED_VENV)


def _refuse_without_venv_module() -> None:
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            version = f"{sys.version_info.major}.{sys.version_info.minor}"
            sys.exit(
                f"This Python ({sys.executable}) cannot make virtual environments: its module {module} "
                f"is missing. On Debian and Ubuntu install it with: apt install python{version}-venv"
            )


def _write_stamp(digest: str, extras: Iterable[str]) -> None:
    draft = STAMP.with_suffix(".draft")
    draft.write_text(" ".join([digest, *sorted(extras)]))
    draft.replace(STAMP)


# --- pip, and what is seen of it ------------------------------------------------------------------

_AFTER_FAILED_VENV = "Making .venv failed, see above. When the cause is gone, run the same command again."
_AFTER_FAILED_PIP = (
    "Installing failed, see pip's words above. Check the network and pip's configuration (pip config list), "
    "then run the same command again."
)


def _install(python: Path, extras: Iterable[str]) -> None:
    options = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    command = [str(python), "-m", "pip", "install", *options, "--editable", _project(extras)]
    with Progress(f"Installing Tripline{' and what its tests need' if 'dev' in extras else ''}") as progress:
        _watch(command, progress, what_to_do=_AFTER_FAILED_PIP)


def _watch(command: Sequence[str], progress: Progress, what_to_do: str) -> None:
    """Run `command`, showing what it does. When it fails, show all that it said, and exit."""
    said = []
    # Some people tell pip to install for the user by default, which it refuses in an environment.
    environment = {**os.environ, "PIP_USER": "0"}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        for line in process.stdout or ():
            said.append(line)
            progress.doing = _activity(line) or progress.doing
        failed = process.wait() != 0
    except KeyboardInterrupt:
        # The terminal told the child as well: it must be gone before somebody starts again.
        process.wait()
        progress.stop("interrupted; the next start begins afresh")
        sys.exit(INTERRUPTED)
    if failed:
        progress.stop("failed")
        raise InstallingFailed("".join(said) + "\n" + what_to_do)


def _activity(line: str) -> str:
    """What a line of pip's means to somebody who waits; "" when nothing."""
    words = line.split()
    match words:
        case ["Collecting", name, *_]:
            return f"collecting {name}"
        case ["Downloading", address, *size]:
            return " ".join(["downloading", address.rpartition("/")[2], *size])
        case ["Installing", "collected", "packages:", *names]:
            return f"unpacking {len(names)} packages"
    return ""


class Progress:
    """One line that keeps changing on a terminal; elsewhere a plain line every few seconds."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.doing = ""
        self._live = sys.stderr.isatty()
        self._started = time.monotonic()
        self._stopped = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Progress:
        self._say("…")
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop("failed" if kind else "done")

    def stop(self, outcome: str) -> None:
        """Say how it ended; the first word counts."""
        if not self._stopped.is_set():
            self._stopped.set()
            self._ticker.join()
            self._say(f": {outcome} in {self._seconds()} s", last=True)

    def _tick(self) -> None:
        while not self._stopped.wait(0.2 if self._live else 5.0):
            self._say(f" … {self._seconds()} s {self.doing}")

    def _seconds(self) -> int:
        return round(time.monotonic() - self._started)

    def _say(self, text: str, *, last: bool = False) -> None:
        line = self.title + text
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(f"\r\x1b[K{line[:width]}{chr(10) if last else ''}")
        else:
            sys.stderr.write(line + "\n")
        sys.stderr.flush()
