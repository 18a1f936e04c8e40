"""A browser before the pages of a real server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import Browser, Page, StorageState

from tests.upserver import UpServer

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",  # nothing leaves this machine
]
PATIENCE = 20_000.0  # milliseconds; the machine may be busy with other tests
# Languages of the pages, each as a browser names it.
LANGUAGES = {"en": "en-GB", "ja": "ja-JP"}
# Whatever of it is run, the title says so.
MARKUP = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


@dataclass
class Visitor:
    """Somebody in front of a window of their own. `troubles`: what no page may cause."""

    page: Page
    server: UpServer
    language: str = "en"
    troubles: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("pageerror", lambda error: self.troubles.append(f"error {error}"))
        self.page.on(
            "console",
            lambda said: self.troubles.append(said.text) if "Security Policy" in said.text else None,
        )
        self.page.on("dialog", lambda dialog: self.troubles.append(f"dialog {dialog.message}"))
        self.page.on(
            "response",
            lambda answer: (
                self.troubles.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None
            ),
        )

    def sign_in(self) -> None:
        self.page.goto("/")
        self.page.get_by_label("User name").fill("admin")
        self.page.get_by_label("Password").fill(self.server.password)
        self.page.get_by_role("button", name="Sign in").click()


@contextmanager
def window(
    browser: Browser,
    server: UpServer,
    session: StorageState | None = None,
    *,
    language: str = "en",
    scripts: bool = True,
) -> Iterator[Visitor]:
    """A window of its own, signed in where a session is given; in the end nothing may have gone wrong."""
    with browser.new_context(
        base_url=server.url,
        storage_state=session,
        locale=LANGUAGES[language],
        timezone_id="Asia/Tokyo",
        java_script_enabled=scripts,
    ) as context:
        context.set_default_timeout(PATIENCE)
        found = Visitor(context.new_page(), server, language)
        found.watch()
        yield found
        assert found.troubles == []


# Widths in pixels, schemes of colours, and the rules of axe that are asked again there (all, where none is
# named): what a page is made of does not change with its colours.
_COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
_LOOKS: list[tuple[int, Literal["light", "dark"], dict[str, Any]]] = [
    (1280, "light", {}),
    (1280, "dark", _COLOURS),
    (390, "dark", {}),
    (390, "light", _COLOURS),
]
# What else it found is long, and nobody reads it.
_VIOLATIONS = """rules =>
    axe.run({...rules, resultTypes: ["violations"]}).then(({violations}) => ({violations}))
"""


def assert_accessible_and_fitting(visitor: Visitor) -> None:
    """As it is open now, in the visitor's language: wide and narrow, in light and dark colours."""
    page = visitor.page
    assert page.locator("html").get_attribute("lang") == visitor.language, page.url
    page.evaluate(AXE_SCRIPT)
    for width, scheme, rules in _LOOKS:
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # colours change at once
        found = AxeResults(page.evaluate(_VIOLATIONS, rules))
        assert found.violations_count == 0, f"{page.url} {width} {scheme}\n{found.generate_report()}"
        hidden = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert hidden <= 0, f"{page.url} is {hidden} pixels wider than {width}"
