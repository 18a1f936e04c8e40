"""From a chart's bell to a rule that was tried, and from a run to why nothing fired: in a real browser."""

from __future__ import annotations

import math
import random
import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.pages.browsing import Visitor, assert_accessible_and_fitting
from tests.pages.test_run_pages import has_ink
from tests.stories import embedded_alone
from tests.stories.rest import Rest

pytestmark = [pytest.mark.browser, embedded_alone, pytest.mark.slow]

RUNS = 24


def logged(rest: Rest, project: str, name: str, values: list[float], *, status: str = "finished") -> int:
    run = int(rest.post("runs/", {"project": project, "name": name, "run_id": name})["id"])
    points = [{"step": step, "values": {"val/loss": value}} for step, value in enumerate(values)]
    rest.post(f"runs/{run}/metrics/", {"points": points})
    rest._ask("PATCH", f"runs/{run}/", {"status": status})
    return run


def curve(dice: random.Random, *, spike: bool) -> list[float]:
    values = [math.exp(-step / 60) + dice.gauss(0, 0.02) for step in range(200)]
    return [*values[:150], *(value + 2 for value in values[150:])] if spike else values


@pytest.fixture(scope="module")
def lab(rest: Rest) -> int:
    """Runs of one project, of which every eighth spikes and fails; the project."""
    dice = random.Random(8)
    for number in range(RUNS):
        is_bad = number % 8 == 3
        name = f"exp-{number:02}"
        logged(
            rest,
            "main/lab",
            name,
            curve(dice, spike=is_bad),
            status="failed" if is_bad else "finished",
        )
    return int(rest.results("projects/?name=lab")[0]["id"])


@pytest.fixture(scope="module")
def strange(rest: Rest) -> int:
    """A run in which every score must be computed exactly, which takes long; its project."""
    logged(rest, "main/strange", "flat", [1 + number % 7 * 1e-15 for number in range(30_000)])
    return int(rest.results("projects/?name=strange")[0]["id"])


def preview(page: Page) -> Locator:
    return page.locator("#preview")


def drawn(figure: Locator) -> Locator:
    figure.scroll_into_view_if_needed()
    expect(figure).to_have_attribute("data-state", "drawn")
    return figure


def write_spike_rule(page: Page) -> None:
    page.get_by_label("Aggregation").select_option("none")
    page.get_by_label("Comparison").select_option("above")
    page.get_by_role("spinbutton", name="Threshold").fill("1.5")


def test_a_bell_leads_to_a_form_that_says_what_its_rule_would_have_done(visitor: Visitor, lab: int) -> None:
    page = visitor.page
    page.goto("/main/lab/runs/exp-03/")
    page.get_by_role("link", name="Make an automation on val/loss").click()
    expect(page).to_have_url(re.compile(r"/automations/new/\?.*event=run_metric_threshold"))
    expect(page.get_by_label("Metric", exact=True)).to_have_value("val/loss")
    expect(page.get_by_label("Event", exact=True)).to_have_value("run_metric_threshold")
    write_spike_rule(page)
    found = preview(page)
    expect(found).to_contain_text(f"It would have fired on 3 of {RUNS} runs in the last 30 days.")
    expect(found).to_contain_text("It would have caught 3 of 3 failed or crashed runs, typically 49 steps")
    expect(found).to_contain_text(f"It would have disturbed 0 of {RUNS - 3} runs that finished well.")
    expect(found).to_contain_text("at step 150")
    figure = drawn(found.locator("figure"))
    assert has_ink(figure)
    assert figure.get_attribute("data-marks") == "1"
    expect(figure).to_contain_text("exp-19: val/loss")
    found.get_by_role("button", name="Draw exp-03").click()
    expect(found.locator("figure")).to_contain_text("exp-03: val/loss")
    drawn(found.locator("figure"))
    page.get_by_role("spinbutton", name="Threshold").fill("5")
    expect(found).to_contain_text(f"It would have fired on 0 of {RUNS} runs")
    page.get_by_label("Of which runs").select_option("7")
    expect(found).to_contain_text("in the last 7 days")


def test_typing_a_name_for_it_tries_nothing_anew(visitor: Visitor, lab: int) -> None:
    page = visitor.page
    page.goto(f"/automations/new/?project={lab}&event=run_metric_threshold&metric=val/loss")
    write_spike_rule(page)
    expect(preview(page)).to_contain_text("It would have fired on 3")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_label("Name", exact=True).press_sequentially("spikes")
    with page.expect_response("**/automations/preview/"):
        page.get_by_role("spinbutton", name="Threshold").fill("1.6")
    assert sum(url.endswith("/automations/preview/") for url in asked) == 1


def test_what_it_is_is_accessible_and_fits(visitor: Visitor, lab: int) -> None:
    page = visitor.page
    page.goto(f"/automations/new/?project={lab}&event=run_metric_threshold&metric=val/loss")
    write_spike_rule(page)
    drawn(preview(page).locator("figure"))
    assert_accessible_and_fitting(visitor)


def test_without_scripts_the_page_comes_back_with_the_answer(visitor: Visitor, lab: int) -> None:
    browser = visitor.page.context.browser
    assert browser is not None
    state = visitor.page.context.storage_state()
    with browser.new_context(
        base_url=visitor.server.url, storage_state=state, java_script_enabled=False
    ) as plain:
        page = plain.new_page()
        page.goto(f"/automations/new/?project={lab}&event=run_metric_threshold&metric=val/loss")
        write_spike_rule(page)
        page.get_by_label("Of which runs").select_option("90")
        page.get_by_role("button", name="Try it").click()
        expect(preview(page)).to_contain_text(f"on 3 of {RUNS} runs in the last 90 days.")
        expect(page.get_by_role("spinbutton", name="Threshold")).to_have_value("1.5")
        expect(page.get_by_label("Of which runs")).to_have_value("90")


def test_a_long_one_shows_its_progress_and_is_cancelled(visitor: Visitor, rest: Rest, strange: int) -> None:
    page = visitor.page
    page.goto(f"/automations/new/?project={strange}&event=run_metric_zscore&metric=val/loss")
    page.get_by_label("Compared with").select_option("values")
    page.get_by_label("Direction").select_option("above")
    page.get_by_label("Window").fill("10000")
    page.get_by_label("z-score", exact=True).fill("1.6")
    found = preview(page)
    expect(found.get_by_role("progressbar")).to_be_visible()
    expect(found).to_contain_text("0 of 1 run looked at")
    found.get_by_role("button", name="Cancel").click()
    expect(found).to_contain_text("Cancelled.")
    expect(found.get_by_role("progressbar")).to_have_count(0)


# --- Why not --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def near(rest: Rest, lab: int) -> dict[str, Any]:
    """A rule that one run came near, and the run."""
    event = {"type": "run_metric_threshold", "metric": "val/loss", "comparison": "above", "threshold": 1.2}
    rule = rest.post(
        "automations/",
        {"name": "too high", "scope": {"type": "project", "id": lab}, "event": {**event, "window": 5}},
    )
    return {"rule": rule["id"], "run": logged(rest, "main/lab", "near", curve(random.Random(1), spike=False))}


def test_on_a_run_one_reads_why_a_rule_did_not_fire(visitor: Visitor, near: dict[str, Any]) -> None:
    page = visitor.page
    page.goto("/main/lab/runs/near/")
    asked = page.locator("details.asked").filter(has_text="too high")
    expect(asked).to_contain_text("Did not fire")
    asked.locator("summary").click()
    expect(asked).to_contain_text("was never met: the closest was")
    figure = drawn(asked.locator("figure"))
    assert has_ink(figure)
    expect(figure).to_contain_text("closest · step")
    asked.get_by_text("The numbers around it").click()
    expect(asked.get_by_role("columnheader", name="average(val/loss, 5)")).to_be_visible()
    assert_accessible_and_fitting(visitor)


def test_from_an_automation_one_finds_the_run_and_reads_why(visitor: Visitor, near: dict[str, Any]) -> None:
    page = visitor.page
    page.goto(f"/automations/{near['rule']}/")
    page.get_by_label("Run, by name or id").fill("exp-1")
    expect(page.locator("#offered li")).to_have_count(10)
    page.get_by_label("Run, by name or id").fill("near")
    expect(page.locator("#offered li")).to_have_count(1)
    page.locator("#offered").get_by_role("link", name="near").click()
    expect(page).to_have_url(re.compile(r"/why/\?run="))
    expect(page.locator(".answer")).to_contain_text("was never met")
    drawn(page.locator(".answer figure"))
    assert_accessible_and_fitting(visitor)
