"""`manage.py test`: everything that must hold, on both shapes, in one command."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from xml.etree import ElementTree

from django.conf import settings
from django.core.management.base import BaseCommand

SHAPES = {"embedded": "the embedded default (SQLite)", "production": "PostgreSQL and Valkey"}
# A file's tests share what is slow to start; the order of the files is the conftest's.
WHOLE_RUN = ["-n", "4", "--dist", "loadfile", "--no-loadscope-reorder"]
LEAVE_WITHIN = 20.0  # seconds that an interrupted step has to stop its servers
INTERRUPTED = 130


@dataclass(frozen=True)
class Step:
    title: str
    command: list[str]
    environment: Mapping[str, str]
    counts: Path | None = None  # where pytest leaves its figures, as JUnit XML


@dataclass(frozen=True)
class Result:
    step: Step
    code: int
    seconds: float


class Command(BaseCommand):
    help = "Run lint, types, imports, migrations and the tests; or, with arguments, pytest alone."

    def run_from_argv(self, argv: list[str]) -> None:
        # Not Django's parser: `-v`, `-k` and `-x` are pytest's here.
        options, pytest_arguments = _parser(" ".join(argv[:2])).parse_known_args(argv[2:])
        signal.signal(signal.SIGTERM, _leave)
        with tempfile.TemporaryDirectory(prefix="tripline-test-") as scratch:
            sys.exit(self._run(_steps(Path(scratch), options.shape, pytest_arguments)))

    def _run(self, steps: Sequence[Step]) -> int:
        try:
            results = [self._perform(step) for step in steps]
        except KeyboardInterrupt:
            self.stdout.write("\nInterrupted.")
            return INTERRUPTED
        self._summarize(results)
        return 1 if any(result.code for result in results) else 0

    def _perform(self, step: Step) -> Result:
        self.stdout.write(self.style.MIGRATE_HEADING(f"\n--- {step.title}"))
        self.stdout.flush()
        started = time.monotonic()
        with _process(step) as process:
            code = process.wait()
        result = Result(step, code, time.monotonic() - started)
        self.stdout.write(f"--- {step.title}: {self._outcome(result)} after {result.seconds:.1f} s")
        return result

    def _outcome(self, result: Result) -> str:
        # Any other code than 0 counts, pytest's 5 (no test was collected) too.
        return self.style.SUCCESS("ok") if result.code == 0 else self.style.ERROR(f"FAILED ({result.code})")

    def _summarize(self, results: Sequence[Result]) -> None:
        width = max(len(result.step.title) for result in results)
        self.stdout.write(self.style.MIGRATE_HEADING("\n--- Summary"))
        for result in results:
            self.stdout.write(
                f"{result.step.title:<{width}}  {result.seconds:7.1f} s  {self._outcome(result)}"
            )
        files = [result.step.counts for result in results if result.step.counts]
        passed, failed, skipped = (sum(figures) for figures in zip(*map(_counts, files), strict=True))
        self.stdout.write(f"tests: {passed} passed, {failed} failed, {skipped} skipped")


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        usage="%(prog)s [--shape SHAPE] [pytest arguments]",
        allow_abbrev=False,
        description="Without arguments: ruff, mypy, import-linter, the migrations check, and the tests on "
        "both shapes. With arguments: only pytest, with them.",
    )
    parser.add_argument("--shape", choices=SHAPES, help="run pytest on this shape only")
    return parser


def _steps(scratch: Path, shape: str | None, pytest_arguments: Sequence[str]) -> list[Step]:
    chosen = [shape] if shape else list(SHAPES)
    tests = [_tests(scratch, each, pytest_arguments or WHOLE_RUN) for each in chosen]
    return tests if shape or pytest_arguments else [*_checks(scratch), *tests]


def _checks(scratch: Path) -> list[Step]:
    """Each reads the settings or none; whatever installation the caller's environment names stays out."""
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_CHECKS}
    environment["TRIPLINE_DATA_DIR"] = str(scratch / "data")
    python = sys.executable
    lint_imports = "from importlinter.cli import lint_imports_command as run; run()"
    commands = {
        "ruff check": [python, "-m", "ruff", "check", "--output-format", "concise"],
        "ruff format": [python, "-m", "ruff", "format", "--check", "--output-format", "concise"],
        "mypy": [python, "-m", "mypy"],
        "import-linter": [python, "-c", lint_imports, "--no-logo"],
        "migrations": [python, "manage.py", "makemigrations", "--check", "--dry-run"],
    }
    return [Step(title, command, environment) for title, command in commands.items()]


_NOT_FOR_CHECKS = ("DATABASE_URL", "REDIS_URL", "TRIPLINE_DATA_DIR")


def _tests(scratch: Path, shape: str, pytest_arguments: Sequence[str]) -> Step:
    counts = scratch / f"{shape}.xml"
    command = [sys.executable, "-m", "pytest", f"--junit-xml={counts}", *pytest_arguments]
    environment = {**os.environ, "TRIPLINE_TEST_SHAPE": shape}
    # Otherwise every worker would compile every test anew, with all its asserts.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return Step(f"tests on {SHAPES[shape]}", command, environment, counts)


def _counts(file: Path) -> tuple[int, int, int]:
    """How many tests passed, failed (errors too) and were skipped; zeros when pytest did not get so far."""
    if not file.exists():
        return 0, 0, 0
    suites = ElementTree.parse(file).getroot().iter("testsuite")  # noqa: S314 (pytest wrote it just now)
    figures = [
        {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
        for suite in suites
    ]
    total = {key: sum(figure[key] for figure in figures) for key in figures[0]}
    failed = total["failures"] + total["errors"]
    return total["tests"] - failed - total["skipped"], failed, total["skipped"]


@contextmanager
def _process(step: Step) -> Iterator[subprocess.Popen[bytes]]:
    """Run a step in our own process group (so that `--pdb` can read the terminal); never leave it behind."""
    process = subprocess.Popen(step.command, env=step.environment, cwd=settings.BASE_DIR)
    try:
        yield process
    except KeyboardInterrupt:
        # The terminal told the step as well, and it is stopping its servers.
        _end(process)
        raise
    except SystemExit:
        # SIGTERM reached only us.
        process.send_signal(signal.SIGINT)
        _end(process)
        raise


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(LEAVE_WITHIN)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.terminate()
        process.wait()


def _leave(signum: int, frame: FrameType | None) -> None:
    sys.exit(128 + signum)
