"""Runs the training script against a server, and what its own output says should have happened."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from tests.stories.rest import Rest

SCRIPT = Path(__file__).with_name("train_digits.py")
TRAIN_WITHIN = 120.0  # seconds; the machine may be busy with other tests


@dataclass(frozen=True)
class Training:
    """An ended training. `measured` holds the script's own figures step by step, `outcome` its last line."""

    code: int
    errors: str
    folder: Path
    measured: list[dict[str, float]] = field(default_factory=list)
    outcome: dict[str, Any] = field(default_factory=dict)

    def values(self, name: str) -> list[float]:
        return [point[name] for point in self.measured]


def train(rest: Rest, key: str, folder: Path, *, learning_rate: float, project: str) -> Training:
    """Download the client from the server as a user would, and run the script beside it to its end."""
    (folder / "tripline.py").write_bytes(rest.download("/tripline.py"))
    script = shutil.copy(SCRIPT, folder)
    arguments = ["--learning-rate", str(learning_rate), "--project", project]
    # Nothing but the key: the address is in the downloaded client.
    env = {**os.environ, "TRIPLINE_API_KEY": key, "PYTHONWARNINGS": "ignore"}
    env.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, script, *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=TRAIN_WITHIN,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    measured = [line for line in lines if "step" in line]
    outcome = lines[-1] if "run" in lines[-1] else {}
    return Training(done.returncode, done.stderr, folder, measured, outcome)


def steps_with_average_above(values: list[float], threshold: float, *, window: int) -> list[int]:
    """Where the average of the last `window` values exceeds the threshold, in exact arithmetic."""
    exact = [Fraction(value) for value in values]
    averages = {end: sum(exact[end - window + 1 : end + 1]) / window for end in range(window - 1, len(exact))}
    return [end for end, average in averages.items() if average > Fraction(threshold)]


def spelled(value: float) -> float | str:
    """As JSON holds it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
