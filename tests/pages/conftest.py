"""Fixtures of tests that drive a browser."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, StorageState, expect, sync_playwright

from automations.health import stages
from tests.pages.browsing import ARGUMENTS, CHROMIUM, LANGUAGES, PATIENCE, Visitor, window
from tests.stories.rest import Rest
from tests.upserver import UpServer, up_server


@pytest.fixture
def calm(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """How everything goes was asked a moment ago: the sign in the header costs no query now and then."""
    known = stages.recent()
    monkeypatch.setattr(stages, "recent", lambda: known)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpServer]:
    # With canaries, so that the status page has some, and no other page shows any.
    with up_server(tmp_path_factory.mktemp("pages") / "data", env={"TRIPLINE_CANARY_EVERY": "5"}) as found:
        yield found


@pytest.fixture(scope="module")
def rest(server: UpServer) -> Rest:
    return Rest(server.url, server.key)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Not the plugin's: its event loop would go on running under the tests of other files."""
    if not CHROMIUM.exists():
        reason = f"there is no {CHROMIUM}"
        if os.environ.get("TRIPLINE_BROWSER_REQUIRED") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)


@pytest.fixture
def stranger(chromium: Browser, server: UpServer) -> Iterator[Visitor]:
    with window(chromium, server) as found:
        yield found


@pytest.fixture(scope="module")
def session(chromium: Browser, server: UpServer) -> StorageState:
    """The cookies of somebody who signed in."""
    with window(chromium, server) as found:
        found.sign_in()
        expect(found.page).to_have_url(f"{server.url}/")
        return found.page.context.storage_state()


@pytest.fixture
def visitor(chromium: Browser, server: UpServer, session: StorageState) -> Iterator[Visitor]:
    """The admin, signed in."""
    with window(chromium, server, session) as found:
        yield found


@pytest.fixture(params=list(LANGUAGES))
def reader(
    chromium: Browser, server: UpServer, session: StorageState, request: pytest.FixtureRequest
) -> Iterator[Visitor]:
    """The same, once for each language."""
    with window(chromium, server, session, language=request.param) as found:
        yield found
