"""What every test may rely on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pytest_django import Settings
from whitenoise.middleware import WhiteNoiseMiddleware

from tests.cast import Cast, Clock, assemble

# A shell that starts us in the background lets us ignore Ctrl-C, and whatever we start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _fresh_rules() -> Iterator[None]:
    """A test that is rolled back takes its epochs with it, and the next one would meet them again."""
    from automations import candidates

    candidates.forget()
    yield
    candidates.forget()


@pytest.fixture(autouse=True, scope="session")
def _static_files_are_found_once() -> Iterator[None]:
    """Every test client makes the middleware anew, and WhiteNoise would look at each file again."""
    find, found = WhiteNoiseMiddleware.add_files_from_finders, {}

    def remember(middleware: WhiteNoiseMiddleware) -> None:
        if not found:
            find(middleware)
            found.update(middleware.files)
        middleware.files.update(found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", remember)
        yield


@pytest.fixture(autouse=True)
def rings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int | None]]:
    """The doorbell writes here what it would have told a broker: (task, id); "drain later" with a delay.

    Rings that come close together are each heard.
    """
    from automations import doorbell

    heard: list[tuple[str, int | None]] = []

    def ring(task: str, argument: int | None, *, after: float = 0.0) -> None:
        heard.append((f"{task} later" if after else task, argument))

    monkeypatch.setattr(doorbell, "_ring", ring)
    monkeypatch.setattr(doorbell, "_PACE", 0.0)
    return heard


@pytest.fixture
def noop_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The action that needs no receiver waits for a sender as the others do."""
    from automations.actions.base import ACTIONS

    monkeypatch.setattr(ACTIONS["noop"], "immediate", False)


@pytest.fixture
def penguins(db: None) -> Cast:
    """Ada, Max and Vera of team penguins, their project waddle, and Otto of the otters."""
    return assemble()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of all decisions, at noon, until the test moves it."""
    hands = Clock(datetime(2026, 9, 1, 12, tzinfo=UTC))
    monkeypatch.setattr("runs.clock.now", hands)
    return hands


@pytest.fixture
def loopback(settings: Settings) -> None:
    """Webhooks may reach receivers on this machine."""
    from automations.actions.targets import parse_cidrs

    settings.TRIPLINE_ALLOW_PRIVATE_TARGETS = parse_cidrs("127.0.0.0/8 ::1/128")


@pytest.fixture(scope="session")
def httpserver_listen_address() -> tuple[str, int]:
    return ("127.0.0.1", 0)


@pytest.fixture
def files(settings: Settings, tmp_path: Path) -> Path:
    """An empty folder that holds the files of this test's artifacts."""
    settings.MEDIA_ROOT = tmp_path / "files"
    return tmp_path / "files"


_DATABASE_FIXTURES = frozenset({"db", "transactional_db", "django_db_reset_sequences", "live_server"})


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files with slow tests go first: nobody should wait for one of them at the end.

    A test that uses no database says the same in both shapes: the production run leaves it out, as it does
    what is marked `once`. One that says itself in which shape it runs (`skipif`) is asked.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    if os.environ.get("TRIPLINE_TEST_SHAPE") != "production":
        return
    left_out = [item for item in items if not _depends_on_the_shape(item)]
    items[:] = [item for item in items if _depends_on_the_shape(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)


def _depends_on_the_shape(item: pytest.Item) -> bool:
    if item.get_closest_marker("once"):
        return False
    fixtures = set(getattr(item, "fixturenames", ()))
    markers = ("django_db", "skipif")
    return any(map(item.get_closest_marker, markers)) or bool(fixtures & _DATABASE_FIXTURES)
