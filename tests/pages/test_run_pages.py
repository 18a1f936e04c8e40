"""Runs in a real browser: found, opened, watched while they run, looked at closely, compared."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.pages.browsing import MARKUP, PATIENCE, Visitor, assert_accessible_and_fitting
from tests.stories import embedded_alone
from tests.stories.rest import Rest
from tests.upserver import wait_for

pytestmark = [pytest.mark.browser, embedded_alone, pytest.mark.slow]

PROJECT = "/main/digits/"


def start(rest: Rest, name: str, *, run_id: str, **config: Any) -> int:
    return int(
        rest.post("runs/", {"project": "main/digits", "name": name, "run_id": run_id, "config": config})["id"]
    )


def log(rest: Rest, run: int, rows: Iterable[Mapping[str, float | str]], *, first: int = 0) -> None:
    points = [{"step": step, "values": dict(values)} for step, values in enumerate(rows, start=first)]
    rest.post(f"runs/{run}/metrics/", {"points": points})


def finish(rest: Rest, run: int) -> None:
    rest._ask("PATCH", f"runs/{run}/", {"status": "finished"})


@pytest.fixture(scope="module")
def lab(rest: Rest) -> dict[str, int]:
    """Three runs of one project: one with a long curve, one that diverged, one still running."""
    long = start(rest, "steady-heron", run_id="long", lr=0.1, model={"layers": 3})
    log(rest, long, ({"train/loss": math.exp(-step / 800), "acc": step / 3000} for step in range(3000)))
    finish(rest, long)
    bad = start(rest, "wild-otter", run_id="bad", lr=3, model={"layers": 3})
    log(
        rest,
        bad,
        [{"train/loss": 1.0}, {"train/loss": "NaN"}, {"train/loss": "Infinity"}, {"train/loss": 2.0}],
    )
    finish(rest, bad)
    hostile = start(rest, MARKUP, run_id="hostile", **{MARKUP: MARKUP})
    log(rest, hostile, [{MARKUP: 1.0, f"{MARKUP}/a": 2.0}])
    return {"long": long, "bad": bad, "hostile": hostile}


def chart(page: Page, name: str) -> Locator:
    return page.locator(f'figure[data-name="{name}"]')


def drawn(page: Page, name: str) -> Locator:
    """The chart of a metric, once it has drawn its values."""
    found = chart(page, name)
    found.scroll_into_view_if_needed()
    expect(found).to_have_attribute("data-state", "drawn")
    return found


def has_ink(figure: Locator) -> bool:
    """Whether the canvas shows anything at all."""
    script = """canvas => {
        const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return new Uint32Array(pixels.buffer).some(Boolean);
    }"""
    return bool(figure.locator("canvas").evaluate(script))


# --- The table ------------------------------------------------------------------------------------


def test_typing_a_name_narrows_the_table_without_loading_the_page_anew(
    visitor: Visitor, lab: dict[str, int]
) -> None:
    page = visitor.page
    page.goto(PROJECT)
    rows = page.locator("table.runs tbody tr")
    expect(rows).to_have_count(3)
    page.evaluate("window.stayed = true")
    page.get_by_label("Name", exact=True).type("HERON")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("steady-heron")
    expect(page).to_have_url(re.compile("name=HERON"))
    assert page.evaluate("window.stayed") is True
    page.get_by_label("Name", exact=True).fill("")
    page.get_by_label("Status").select_option("running")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text(MARKUP)
    page.get_by_label("Status").select_option("")
    expect(rows).to_have_count(3)
    page.get_by_role("link", name="Run", exact=True).click()
    expect(rows.nth(1)).to_contain_text("steady-heron")
    page.go_back()
    expect(rows.nth(1)).to_contain_text("wild-otter")


def test_the_head_of_a_metric_sorts_the_table_by_it(visitor: Visitor, lab: dict[str, int]) -> None:
    page = visitor.page
    page.goto(f"{PROJECT}?metric=train/loss")
    names, head = page.locator("table.runs tbody tr .pick a"), page.get_by_role("columnheader")
    by_loss = head.filter(has_text="train/loss")
    by_loss.get_by_role("link").click()
    expect(by_loss).to_have_attribute("aria-sort", "ascending")
    expect(names).to_have_text(["steady-heron", "wild-otter", MARKUP])
    by_loss.get_by_role("link").click()
    expect(by_loss).to_have_attribute("aria-sort", "descending")
    expect(names).to_have_text(["wild-otter", "steady-heron", MARKUP])


def test_on_a_phone_the_table_is_sorted_by_a_menu(visitor: Visitor, lab: dict[str, int]) -> None:
    page = visitor.page
    page.goto(PROJECT)
    menu = page.locator(".sort")
    expect(menu).to_be_hidden()
    page.set_viewport_size({"width": 390, "height": 800})
    menu.locator("summary").click()
    menu.get_by_role("link", name="train/loss").click()
    expect(page.locator(".runs tbody tr").first).to_contain_text("steady-heron")
    menu.locator("summary").click()
    menu.get_by_role("link", name="train/loss").click()
    expect(page.locator(".runs tbody tr").first).to_contain_text("wild-otter")


def test_a_date_that_is_none_is_refused_in_words_in_place_of_the_table(
    visitor: Visitor, lab: dict[str, int]
) -> None:
    page = visitor.page
    page.goto(PROJECT)
    page.get_by_label("Created since").evaluate("field => { field.type = 'text'; field.value = 'soon' }")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("alert")).to_contain_text("created_after")
    expect(page.locator("table.runs")).to_have_count(0)
    assert re.match("400 .*created_after=soon", visitor.troubles.pop())  # as it should


def test_the_table_works_without_scripts(visitor: Visitor, lab: dict[str, int]) -> None:
    browser = visitor.page.context.browser
    assert browser is not None
    state = visitor.page.context.storage_state()
    with browser.new_context(
        base_url=visitor.server.url, storage_state=state, java_script_enabled=False
    ) as plain:
        page = plain.new_page()
        page.goto(PROJECT)
        expect(page.locator("svg.spark").first).to_be_visible()
        page.get_by_label("Name", exact=True).fill("otter")
        page.get_by_role("button", name="Show").click()
        expect(page.locator("table.runs tbody tr")).to_have_count(1)
        page.get_by_role("link", name="wild-otter").click()
        summary = page.locator("#summary").get_by_role("row").filter(has_text="train/loss")
        expect(summary.get_by_role("cell")).to_have_text(["2", "1", "2", "4"])


def test_runs_are_deleted_after_a_question_and_restored(
    visitor: Visitor, rest: Rest, lab: dict[str, int]
) -> None:
    page = visitor.page
    start(rest, "short-lived", run_id="short")
    page.goto(PROJECT)
    page.get_by_label("Select short-lived").check()
    page.get_by_role("button", name="Delete selected").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("1 run is deleted")
    page.get_by_label("short-lived").check()
    page.get_by_role("button", name="Restore selected").click()
    expect(page.locator("table.runs")).to_contain_text("short-lived")
    rest._ask("DELETE", f"runs/{rest.results('runs/?name=short-lived')[0]['id']}/", {})


# --- A run ----------------------------------------------------------------------------------------


def test_charts_are_grouped_and_drawn_when_they_come_into_view(visitor: Visitor, lab: dict[str, int]) -> None:
    page = visitor.page
    page.goto(PROJECT)
    page.get_by_role("link", name="steady-heron").click()
    loss = drawn(page, "train/loss")
    assert has_ink(loss)
    assert 100 < int(loss.get_attribute("data-points") or 0) <= 500  # thinned, of 3,000
    expect(page.locator("summary h2").first).to_have_text("Charts")
    expect(
        page.locator("details.group").filter(has=page.get_by_role("heading", name="train"))
    ).to_be_visible()
    expect(page.get_by_role("cell", name="0.1", exact=True)).to_be_visible()
    expect(page.get_by_role("rowheader", name="model.layers")).to_be_visible()


def test_dragging_over_a_chart_loads_that_stretch_finer(visitor: Visitor, lab: dict[str, int]) -> None:
    page = visitor.page
    page.goto(f"{PROJECT}runs/long/")
    loss = drawn(page, "train/loss")
    box = loss.locator("canvas").bounding_box()
    assert box
    with page.expect_response(lambda answer: "step_min=" in answer.url and "loss" in answer.url) as heard:
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 60, steps=5)
        page.mouse.up()
    steps = heard.value.json()["steps"]
    assert 1000 < steps[0] < steps[-1] < 2200
    assert steps == list(range(steps[0], steps[-1] + 1))  # every value of it, where one in six was
    expect(loss).to_have_attribute("data-first", str(steps[0]))
    expect(page.get_by_label("From step")).to_have_value(str(steps[0]))
    page.get_by_role("button", name="All steps").click()
    expect(loss).to_have_attribute("data-first", "0")


def test_a_range_is_typed_too_and_smoothing_and_scale_change_the_picture(
    visitor: Visitor, lab: dict[str, int]
) -> None:
    page = visitor.page
    page.goto(f"{PROJECT}runs/long/")
    loss = drawn(page, "train/loss")
    page.get_by_label("From step").fill("100")
    page.get_by_label("to step", exact=True).fill("120")
    page.keyboard.press("Tab")
    expect(loss).to_have_attribute("data-points", "21")
    straight = picture(loss)
    page.get_by_label("Logarithmic").check()
    wait_for(lambda: picture(loss) != straight)
    logarithmic = picture(loss)
    page.get_by_label("Smoothing").fill("90")
    wait_for(lambda: picture(loss) not in {straight, logarithmic})


def picture(figure: Locator) -> str:
    return str(figure.locator("canvas").evaluate("canvas => canvas.toDataURL()"))


def test_what_is_no_finite_number_is_shown_as_such(visitor: Visitor, lab: dict[str, int]) -> None:
    visitor.page.goto(f"{PROJECT}runs/bad/")
    notes = drawn(visitor.page, "train/loss").locator(".marks li")
    expect(notes.filter(has_text="NaN · step 1")).to_be_visible()
    expect(notes.filter(has_text="Infinity · step 2")).to_be_visible()


def test_points_arrive_and_a_marker_appears_while_the_run_runs(
    visitor: Visitor, rest: Rest, lab: dict[str, int]
) -> None:
    page = visitor.page
    live = start(rest, "live-wren", run_id="live")
    project = rest.results("projects/?name=digits")[0]["id"]
    rest.post(
        "automations/",
        {
            "name": "loss is back up",
            "scope": {"type": "project", "id": project},
            "event": {
                "type": "run_metric_threshold",
                "metric": "loss",
                "aggregation": "none",
                "comparison": "above",
                "threshold": 0.8,
            },
            "actions": [{"type": "noop"}],
        },
    )
    page.goto(f"{PROJECT}runs/live/")
    expect(page.get_by_role("heading", name="No metric yet")).to_be_visible()
    page.evaluate("window.stayed = true")
    log(rest, live, [{"loss": 0.7}, {"loss": 0.5}])
    loss = drawn(page, "loss")
    expect(loss).to_have_attribute("data-points", "2")
    expect(loss.locator(".marks li")).to_have_text("┄ loss is back up · 0.8")
    page.get_by_label("From step").fill("1")
    page.keyboard.press("Tab")
    expect(loss).to_have_attribute("data-points", "1")
    page.get_by_label("From step").fill("")
    page.keyboard.press("Tab")
    log(rest, live, [{"loss": 0.4}, {"loss": 0.9}], first=2)
    expect(loss).to_have_attribute("data-points", "4")
    expect(loss).to_have_attribute("data-marks", "1")
    fired = loss.get_by_role("link", name="loss is back up · step 3")
    expect(fired).to_be_visible()
    expect(page.locator("#panels")).to_contain_text("loss is back up")
    finish(rest, live)
    expect(page.locator("#head .badge")).to_have_text("Finished")
    assert page.evaluate("window.stayed") is True
    fired.click()
    expect(page).to_have_url(re.compile(r"/executions/\d+/$"))


_LABELS = """canvas => {
    const axis = Chart.getChart(canvas).scales.x;
    return axis.ticks.map((tick, i) => [tick.label, axis.getPixelForTick(i)]);
}"""


@pytest.mark.parametrize("steps", [4, 42, 142, 161, 1003])
def test_the_labels_of_an_axis_keep_their_distance(visitor: Visitor, rest: Rest, steps: int) -> None:
    """However far a run has come: its last step is a label too."""
    run = rest.post("runs/", {"project": "main/scales", "run_id": f"far-{steps}"})["id"]
    log(rest, run, [{"loss": 1 / (step + 1)} for step in range(steps)])
    visitor.page.goto(f"/main/scales/runs/far-{steps}/")
    found = drawn(visitor.page, "loss").locator("canvas").evaluate(_LABELS)
    assert len(found) > 2
    for (_left, at), (label, after) in pairwise(found):
        assert after - at > 8 * len(str(label)), found


# --- Several --------------------------------------------------------------------------------------


def test_two_runs_are_compared_in_one_chart_with_what_differs(visitor: Visitor, lab: dict[str, int]) -> None:
    page = visitor.page
    page.goto(PROJECT)
    page.get_by_label("Select steady-heron").check()
    page.get_by_label("Select wild-otter").check()
    page.get_by_role("button", name="Compare selected").click()
    loss = drawn(page, "train/loss")
    assert int(loss.get_attribute("data-points") or 0) > 100
    assert has_ink(loss)
    expect(page.locator(".legend li")).to_have_count(2)
    different = page.locator("table").first
    expect(different.get_by_role("rowheader")).to_have_text(["lr"])
    expect(different.get_by_role("cell")).to_have_text(["3", "0.1"])
    expect(page.get_by_text("1 value is the same in all")).to_be_visible()


def test_the_search_box_is_a_key_away_and_finds_runs(visitor: Visitor, lab: dict[str, int]) -> None:
    page = visitor.page
    page.goto("/")
    page.keyboard.press("/")
    page.keyboard.type("heron")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="steady-heron").click()
    expect(page.get_by_role("heading", name="steady-heron")).to_be_visible()


# --- For everybody --------------------------------------------------------------------------------

PLACES: Mapping[str, Callable[[Page], object] | None] = {
    PROJECT: None,
    f"{PROJECT}?status=crashed": None,
    f"{PROJECT}?ordering=shoes": None,
    f"{PROJECT}runs/long/": lambda page: drawn(page, "acc"),
    f"{PROJECT}runs/bad/": lambda page: drawn(page, "train/loss"),
    f"{PROJECT}runs/hostile/": None,
    f"{PROJECT}compare/?run=long&run=bad": lambda page: drawn(page, "train/loss"),
    f"{PROJECT}compare/": None,
    f"{PROJECT}delete/?run=long": None,
    f"{PROJECT}deleted/": None,
    "/search/?q=o": None,
    "/main/": None,
}


def test_pages_of_runs_are_accessible_and_fit_a_phone(reader: Visitor, lab: dict[str, int]) -> None:
    page = reader.page
    for place, ready in PLACES.items():
        page.set_viewport_size({"width": 1280, "height": 800})
        page.goto(place)
        if ready:
            ready(page)
        assert_accessible_and_fitting(reader)
    reader.troubles.remove(f"400 {reader.server.url}{PROJECT}?ordering=shoes")  # as it should


@pytest.mark.parametrize(
    "place", [PROJECT, f"{PROJECT}runs/hostile/", f"{PROJECT}compare/?run=hostile&run=bad"]
)
def test_markup_in_names_of_runs_metrics_and_settings_stays_text(
    visitor: Visitor, lab: dict[str, int], place: str
) -> None:
    page = visitor.page
    page.goto(place)
    written = page.locator("h1, th, .legend a").filter(has_text="<script>document.title='owned'</script>")
    expect(written.first).to_be_visible()
    page.wait_for_load_state("networkidle", timeout=PATIENCE)
    assert page.title().replace(MARKUP, "").find("owned") == -1
    assert page.locator("img[onerror]").count() == 0
