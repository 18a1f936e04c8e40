"""The picture in the README: a run page while a training streams, just after a rule fired on it.

    python -m tests.pages.screenshot [FILE]

Starts `up --demo` on a data directory of its own, waits for the firing, and writes one PNG.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from tests.pages.browsing import ARGUMENTS, CHROMIUM, window
from tests.upserver import ROOT, UpServer, up_server

PICTURE = ROOT / ".github" / "run.png"
_SIZE = {"width": 1280, "height": 656}
_FIRES_WITHIN = 90_000.0  # milliseconds; the training jumps 22 s after its beginning
# Enough after the jump that one sees what the loss does then.
_POINTS = 130
_HAS_POINTS = "([figure, points]) => Number(figure.dataset.points) >= points"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, default=PICTURE)
    file: Path = parser.parse_args().file
    with tempfile.TemporaryDirectory() as folder, up_server(Path(folder) / "data", "--demo") as server:
        take(server, file)
        server.stop()


def take(server: UpServer, file: Path) -> None:
    live = re.search(r"/voyagers/live-tuning/runs/\w+/", server.output())
    assert live, server.output()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        with window(browser, server) as visitor:
            page = visitor.page
            page.set_viewport_size(_SIZE)  # type: ignore[arg-type]  # a literal of two numbers
            visitor.sign_in()
            expect(page).to_have_url(f"{server.url}/")
            page.goto(live[0])
            _wait_for_the_firing(page)
            page.screenshot(path=file)


def _wait_for_the_firing(page: Page) -> None:
    loss = page.locator('figure[data-name="train/loss"]')
    expect(loss).to_have_attribute("data-marks", re.compile("[1-9]"), timeout=_FIRES_WITHIN)
    page.wait_for_function(_HAS_POINTS, arg=[loss.element_handle(), _POINTS], timeout=_FIRES_WITHIN)


if __name__ == "__main__":
    main()
