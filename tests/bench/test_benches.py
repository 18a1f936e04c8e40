"""Every bench says what it does, and runs: here with as little as it takes."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from tests.upserver import environment_of, run_python

# Those that take longer are only asked what they are.
TINY = {
    "ingest": "--sizes 10 --automations 1 --seconds 0.4",
    "latency": "--calls 3 --pause 0 --seconds 0.6 --points 100 --automations 12 --firing 2",
    "rules": "--values 50 --rounds 2",
}
HERE = Path(__file__).parent
BENCHES = sorted(path.stem for path in HERE.glob("[!t]*.py") if "ArgumentParser(" in path.read_text())


def first_line(bench: str) -> str:
    source = (HERE / f"{bench}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").splitlines()[0]


@pytest.mark.parametrize("bench", BENCHES)
def test_a_bench_says_what_it_does(bench: str, tmp_path: Path) -> None:
    told = run_python(environment_of(tmp_path), "-m", f"tests.bench.{bench}", "--help")
    assert first_line(bench) in " ".join(told.stdout.split())


@pytest.mark.slow
@pytest.mark.parametrize("bench", list(TINY))
def test_a_bench_prints_a_table_and_a_line_of_json(bench: str, tmp_path: Path) -> None:
    done = run_python(environment_of(tmp_path), "-m", f"tests.bench.{bench}", *TINY[bench].split())
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["bench"] == bench
    assert len(done.stdout.splitlines()) + len(done.stderr.splitlines()) > 3
