"""What an environment variable may say: nonsense is refused with the variable's name."""

from __future__ import annotations

import pytest

from config import env


@pytest.fixture(autouse=True)
def problems(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(env, "problems", found)
    return found


@pytest.mark.parametrize(("text", "value"), [("", 30), ("0", 0), ("1", 1), ("2.5", 2.5), ("3600", 3600)])
def test_an_interval(text: str, value: float, monkeypatch: pytest.MonkeyPatch, problems: list[str]) -> None:
    monkeypatch.setenv("TRIPLINE_CANARY_EVERY", text)
    assert env.interval("TRIPLINE_CANARY_EVERY", 30, minimum=1) == value
    assert problems == []


@pytest.mark.parametrize("text", ["0.5", "-1", "nan", "inf", "often"])
def test_no_interval(text: str, monkeypatch: pytest.MonkeyPatch, problems: list[str]) -> None:
    monkeypatch.setenv("TRIPLINE_CANARY_EVERY", text)
    assert env.interval("TRIPLINE_CANARY_EVERY", 30, minimum=1) == 30
    (problem,) = problems
    assert problem.startswith("TRIPLINE_CANARY_EVERY is ")


@pytest.mark.parametrize("text", ["", "16-characters-ok", "a" * 64])
def test_a_token(text: str, monkeypatch: pytest.MonkeyPatch, problems: list[str]) -> None:
    monkeypatch.setenv("TRIPLINE_METRICS_TOKEN", text)
    assert env.token("TRIPLINE_METRICS_TOKEN") == text
    assert problems == []


@pytest.mark.parametrize(
    "text", ["short", "with a space in it", "ümlaut-ümlaut-ümlaut", "tab\tin-the-middle-of-it"]
)
def test_no_token(text: str, monkeypatch: pytest.MonkeyPatch, problems: list[str]) -> None:
    monkeypatch.setenv("TRIPLINE_METRICS_TOKEN", text)
    assert env.token("TRIPLINE_METRICS_TOKEN") == ""
    (problem,) = problems
    assert problem.startswith("TRIPLINE_METRICS_TOKEN must ")
    assert text not in problem
