"""What containers and process managers are told is what the README tells people."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tests.upserver import ROOT


def procfile() -> dict[str, str]:
    lines = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()
    return dict(line.split(": ", 1) for line in lines)


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    return found


def test_the_procfile_runs_what_compose_runs() -> None:
    told = procfile()
    for name in ("decide", "deliver", "beat"):
        assert told[name].partition(" --hostname")[0] == services()[name]["command"]
    assert told["release"] == services()["migrate"]["command"] == "python manage.py migrate"


def test_nothing_starts_before_the_migrations_are_through() -> None:
    for name in ("web", "decide", "deliver", "beat"):
        assert services()[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert services()["migrate"]["depends_on"] == {"database": {"condition": "service_healthy"}}


def test_the_image_copies_what_is_there_and_runs_as_nobody_in_particular() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
    assert {"manage.py", "config", "runs", "registry", "automations"} <= set(copied)
    assert all((ROOT / name).exists() for name in copied)
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert all(f"!{name}" in ignored for name in copied)
    assert "USER tripline" in lines


def test_every_variable_that_compose_wants_is_told_of() -> None:
    compose = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    wanted = set(re.findall(r"\$\{([A-Z_]+):\?", compose))
    assert {"SECRET_KEY", "TRIPLINE_SECRET_KEYS", "TRIPLINE_BASE_URL", "ALLOWED_HOSTS"} <= wanted
    assert all(f"`{name}`" in readme for name in wanted)
