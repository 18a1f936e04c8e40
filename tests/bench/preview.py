"""How soon the form of a rule says what the rule would have done: of 1,000 stored runs of 10,000 values.

    python -m tests.bench.preview [--runs 1000] [--values 10000]

On an embedded Tripline of its own, in Debian's Chromium: milliseconds from the last letter of what completes
the rule until a first result stands on the page, and until all runs were looked at. Prints a table and one
line of JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.bench.houses import load
from tests.pages.browsing import ARGUMENTS, CHROMIUM, window
from tests.stories.rest import Rest
from tests.upserver import UpServer, run_beside, up_server

# By the type of the event: what is filled in before, and the threshold at last. Every value counts.
RULES = {
    "run_metric_threshold": ({"aggregation": "average", "window": "50"}, "0.53"),
    "run_metric_change": ({"aggregation": "average"}, "0.4"),
    "run_metric_zscore": ({"baseline": "values", "direction": "above"}, "6"),
}
_MEASURE = """threshold => new Promise(done => {
    const found = document.querySelector("#preview-found");
    const field = document.querySelector("[name=condition-threshold]");
    const began = performance.now(), told = {};
    const look = () => {
        if (!told.first && found.querySelector(".rule")) told.first = performance.now() - began;
        if (told.first && !found.querySelector("progress")) {
            told.all = performance.now() - began;
            done(told);
        }
    };
    new MutationObserver(look).observe(found, { childList: true, subtree: true });
    field.value = threshold;
    field.dispatchEvent(new Event("input", { bubbles: true }));
})"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--values", type=int, default=10_000, help="values of each run")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, up_server(Path(folder)) as server:
        plant = (
            f"from tests.bench import backtest; backtest.plant({arguments.runs}, {arguments.values}, 1000)"
        )
        run_beside(server.env, plant, within=600)
        found = _measure(server)
    print(f"{arguments.runs} runs of {arguments.values} values; milliseconds after the last letter")
    for name, times in found.items():
        print(f"  {name:<24} first {times['first']:7.0f}   all {times['all']:7.0f}")
    print(json.dumps({"bench": "preview", **vars(arguments), "load": load(), "milliseconds": found}))


def _measure(server: UpServer) -> dict[str, dict[str, float]]:
    rest = Rest(server.url, server.key)
    project = next(row["id"] for row in rest.results("projects/") if row["name"] == "bench")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        with window(browser, server) as visitor:
            visitor.sign_in()
            visitor.page.wait_for_url(f"{server.url}/")
            return {name: _tried(visitor.page, project, name) for name in RULES}


def _tried(page: Page, project: int, event_type: str) -> dict[str, float]:
    page.goto(f"/automations/new/?project={project}&event={event_type}")
    before, threshold = RULES[event_type]
    for name, value in {"metric": "loss", **before}.items():
        field = page.locator(f'[name="condition-{name}"]')
        if field.evaluate("field => field.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)
    told: dict[str, float] = page.evaluate(_MEASURE, threshold)
    return {name: round(time, 1) for name, time in told.items()}


if __name__ == "__main__":
    main()
