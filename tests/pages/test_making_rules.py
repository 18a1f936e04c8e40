"""Rules made in a real browser by their form, saved, and fired by what really happens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, StorageState, expect

from tests.pages.browsing import Visitor, assert_accessible_and_fitting, window
from tests.stories import embedded_alone
from tests.stories.rest import Rest
from tests.upserver import UpServer, wait_for

pytestmark = [pytest.mark.browser, embedded_alone, pytest.mark.slow]

EVENTS = {
    "alias_added": "An artifact alias is added",
    "run_status": "Run status change",
    "run_metric_threshold": "Run metrics threshold met",
    "run_metric_change": "Run metrics change threshold met",
    "run_metric_zscore": "Run metrics z-score threshold met",
    "run_metric_nonfinite": "Run metric is NaN or infinite",
}


@dataclass(frozen=True)
class Lab:
    """A project with a run that is going on, and a collection whose version has aliases."""

    rest: Rest
    project: int
    run: int
    collection: int
    version: int

    def log(self, metric: str, *values: float | str) -> None:
        points = [{"values": {metric: value}} for value in values]
        self.rest.post(f"runs/{self.run}/metrics/", {"points": points})

    def put_alias(self, alias: str) -> None:
        self.rest.put(f"collections/{self.collection}/aliases/{alias}/", {"version": self.version})

    def fail_a_run(self) -> None:
        run = self.rest.post("runs/", {"project": self.project, "run_id": "broken"})
        self.rest.patch(f"runs/{run['id']}/", {"status": "failed"})

    def received(self) -> list[Any]:
        """What came into the team's inbox, the newest first."""
        found: list[Any] = []
        for inbox in self.rest.results("inboxes/"):
            found += [
                json.loads(kept["body"]) for kept in self.rest.results(f"inboxes/{inbox['id']}/requests/")
            ]
        return found


@pytest.fixture(scope="module")
def lab(rest: Rest) -> Lab:
    project = rest.post("projects/", {"team": "main", "name": "lab"})["id"]
    run = rest.post("runs/", {"project": project, "run_id": "exp-1", "name": "exp-1"})["id"]
    rest.post(f"runs/{run}/metrics/", {"points": [{"values": {"val/loss": 0.5}}]})
    collection = rest.post("collections/", {"project": project, "name": "fish"})["id"]
    aliases = ["europe-west", "staging"]
    version = rest.post("versions/", {"collection": collection, "aliases": aliases})["id"]
    return Lab(rest, project, run, collection, version)


def choose_event(page: Page, event_type: str) -> None:
    page.get_by_label("Event", exact=True).select_option(label=EVENTS[event_type])
    expect(page.locator(f'[name="condition-shown"][value="{event_type}"]')).to_be_attached()


def send_to_the_inbox(page: Page, name: str) -> None:
    """A webhook to the inbox of the team, made with a click where there is none yet."""
    make = page.get_by_role("button", name="Send to an inbox of the team")
    if make.count():
        make.click()
    chosen = page.locator('[name="action-0-integration"]')
    expect(chosen).to_be_visible()
    chosen.select_option(label="inbox")
    page.get_by_label("Payload").fill(json.dumps({"rule": name, "type": "${event_type}", "at": "${step}"}))
    page.get_by_label("Name", exact=True).fill(name)


def save(page: Page) -> None:
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved.")


def metric(page: Page, name: str) -> None:
    page.get_by_label("Metric", exact=True).fill(name)


def threshold(page: Page) -> None:
    metric(page, "acc")
    page.get_by_label("Aggregation").select_option(label="None: the latest value")
    page.get_by_label("Comparison").select_option(label="above")
    page.get_by_label("Threshold", exact=True).fill("0.6")


def change(page: Page) -> None:
    metric(page, "reward")
    page.get_by_label("Current window").fill("1")
    page.get_by_label("Prior window").fill("2")
    page.get_by_label("Change", exact=True).select_option(label="Absolute")
    page.get_by_label("Direction").select_option(label="increases by at least")
    page.get_by_label("Amount").fill("0.5")


def zscore(page: Page) -> None:
    metric(page, "norm")
    expect(page.get_by_text("How to read a z-score")).to_be_visible()
    page.get_by_label("Compared with").select_option(label="the values before it in the same run")
    page.get_by_label("Window").fill("2")
    page.get_by_label("z-score", exact=True).fill("2")


# By the event: what is filled in, and what then happens.
KINDS: dict[str, tuple[Callable[[Page], Any], Callable[[Lab], None]]] = {
    "alias_added": (
        lambda page: page.get_by_label("Alias regex").fill("^production$"),
        lambda lab: lab.put_alias("production"),
    ),
    "run_status": (lambda page: page.get_by_label("Failed").check(), Lab.fail_a_run),
    "run_metric_threshold": (threshold, lambda lab: lab.log("acc", 0.5, 0.7)),
    "run_metric_change": (change, lambda lab: lab.log("reward", 1, 1, 2)),
    "run_metric_zscore": (zscore, lambda lab: lab.log("norm", 1, 2, 10)),
    "run_metric_nonfinite": (
        lambda page: page.get_by_label("Metric optional").fill("bad"),
        lambda lab: lab.log("bad", "NaN"),
    ),
}


@pytest.mark.parametrize("event_type", KINDS)
def test_a_rule_is_made_by_the_form_and_fires_once(visitor: Visitor, lab: Lab, event_type: str) -> None:
    page, (fill_in, happens) = visitor.page, KINDS[event_type]
    page.goto("/main/lab/automations/")
    page.get_by_role("link", name="New automation").click()
    choose_event(page, event_type)
    fill_in(page)
    send_to_the_inbox(page, event_type)
    save(page)
    happens(lab)
    wait_for(lambda: event_type in [data["rule"] for data in lab.received()])
    (told,) = [data for data in lab.received() if data["rule"] == event_type]
    assert told["type"] == event_type
    page.reload()
    expect(page.locator("table.fired, .fired").first).to_be_visible()


def test_a_saved_rule_is_fired_with_an_example_and_edited(visitor: Visitor, lab: Lab) -> None:
    page = visitor.page
    page.goto(f"/automations/new/?project={lab.project}&preset=failed")
    expect(page.get_by_label("Failed")).to_be_checked()
    send_to_the_inbox(page, "by hand")
    save(page)
    page.get_by_role("button", name="Fire a test").click()
    wait_for(lambda: "by hand" in [data["rule"] for data in lab.received()])
    page.get_by_role("link", name="by hand").first.click()
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Finished").check()
    save(page)
    expect(page.locator(".rule")).to_contain_text("finished or failed")


def test_a_wrong_pattern_is_explained_while_one_types_and_a_right_one_shows_what_it_matches(
    visitor: Visitor, lab: Lab
) -> None:
    page = visitor.page
    page.goto(f"/automations/new/?project={lab.project}&event=alias_added")
    pattern, said = page.get_by_label("Alias regex"), page.locator("#id_condition-alias-live")
    pattern.press_sequentially("^europe(")
    expect(said).to_contain_text("RE2 cannot read this pattern: missing ): ^europe(.")
    pattern.press("Backspace")
    expect(said).to_contain_text("It matches 1 of")
    expect(said).to_contain_text("europe-west")
    pattern.fill("^west")
    expect(said).to_contain_text("None yet: it matches none of the")
    pattern.fill("(?=west)")
    page.get_by_label("Name", exact=True).fill("wrong")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.locator("#id_condition-alias_error")).to_contain_text("invalid perl operator")
    assert pattern.input_value() == "(?=west)"


def test_a_text_is_written_with_clicks_and_shows_what_it_would_say(visitor: Visitor, lab: Lab) -> None:
    page = visitor.page
    page.goto(f"/automations/new/?project={lab.project}&metric=val%2Floss")
    page.get_by_label("Threshold", exact=True).fill("0.25")
    page.get_by_label("Action", exact=True).select_option(label="Slack")
    message, example = page.get_by_label("Message"), page.locator(".action .live").last
    message.fill("seen: ")
    page.get_by_role("button", name="metric_filter").click()
    expect(message).to_have_value("seen: ${metric_filter}")
    expect(message).to_be_focused()
    expect(example).to_contain_text("seen: average(val/loss, 5)")
    message.fill("${metric_valu}")
    expect(example).to_contain_text("did you mean ${metric_value}?")
    message.fill("${alias}")
    expect(example).to_contain_text("${alias} stays empty: this event has none.")


def test_what_was_written_and_the_place_in_the_form_stay_when_the_event_is_changed(
    visitor: Visitor, lab: Lab
) -> None:
    page = visitor.page
    page.goto(f"/automations/new/?project={lab.project}&event=run_metric_threshold")
    metric(page, "val/loss")
    page.get_by_label("Name", exact=True).fill("kept")
    page.get_by_label("Event", exact=True).focus()
    choose_event(page, "run_metric_change")
    expect(page.get_by_label("Metric", exact=True)).to_have_value("val/loss")
    expect(page.get_by_label("Name", exact=True)).to_have_value("kept")
    expect(page.get_by_label("Event", exact=True)).to_be_focused()
    assert "val/loss" in page.locator("#metric-names option").evaluate_all("all => all.map(one => one.value)")


def test_what_is_filled_in_while_the_form_is_on_its_way_is_kept(visitor: Visitor, lab: Lab) -> None:
    page = visitor.page
    page.goto(f"/automations/new/?project={lab.project}&event=run_metric_threshold")
    expect(page.locator('[name="action-0-content-shown"]')).not_to_have_value("noop")
    on_their_way: list[Route] = []

    def hold(route: Route) -> None:
        on_their_way.append(route)

    page.route("**/automations/new/**", hold)
    with page.expect_request("**/automations/new/**"):
        page.get_by_label("Event", exact=True).select_option(label=EVENTS["run_metric_change"])
    metric(page, "val/loss")
    page.get_by_label("Name", exact=True).fill("typed meanwhile")
    with page.expect_request("**/automations/new/**"):
        page.locator('[name="action-0-type"]').select_option("noop")
    page.get_by_label("Description").fill("at once")
    for route in on_their_way:
        route.continue_()
    page.unroute("**/automations/new/**")
    expect(page.locator('[name="condition-shown"]')).to_have_value("run_metric_change")
    expect(page.locator('[name="action-0-content-shown"]')).to_have_value("noop")
    expect(page.get_by_label("Metric", exact=True)).to_have_value("val/loss")
    expect(page.get_by_label("Name", exact=True)).to_have_value("typed meanwhile")
    expect(page.get_by_label("Description")).to_have_value("at once")


def test_running_beside_failed_is_warned_of_at_once(visitor: Visitor, lab: Lab) -> None:
    page = visitor.page
    with page.expect_response("**/automations/advice/"):
        page.goto(f"/automations/new/?project={lab.project}&event=run_status")
    with page.expect_response("**/automations/advice/"):
        page.get_by_label("Failed").check()
    expect(page.locator(".caution")).to_have_count(0)
    page.get_by_label("Running").check()
    warning = page.locator(".caution").first
    expect(warning).to_contain_text("A run that fires when it starts is not reported again when it ends")
    page.get_by_label("Count each status alone").check()
    expect(page.locator(".caution")).to_have_count(0)


def test_actions_are_added_filled_from_a_preset_and_removed(visitor: Visitor, lab: Lab) -> None:
    page = visitor.page
    page.goto(f"/automations/new/?project={lab.project}&event=run_status")
    page.get_by_role("button", name="Another action").click()
    expect(page.locator(".action")).to_have_count(2)
    page.get_by_role("button", name="Remove this action").first.click()
    expect(page.locator(".action")).to_have_count(1)
    page.get_by_text("Payloads to start from").click()
    page.get_by_role("button", name="Discord").click()
    expect(page.locator('[name$="-content-payload"]')).to_contain_text("allowed_mentions")


@pytest.fixture
def without_scripts(chromium: Browser, server: UpServer, session: StorageState) -> Iterator[Page]:
    with chromium.new_context(
        base_url=server.url, storage_state=session, locale="en-GB", java_script_enabled=False
    ) as context:
        yield context.new_page()


def test_a_rule_is_made_without_scripts(without_scripts: Page, lab: Lab) -> None:
    page = without_scripts
    page.goto(f"/automations/new/?project={lab.project}")
    page.get_by_label("Event", exact=True).select_option(label="Run status change")
    page.get_by_role("button", name="Show fields").first.click()
    page.get_by_label("Finished").check()
    page.get_by_label("Action", exact=True).select_option(label="Record only")
    page.get_by_role("button", name="Show fields").last.click()
    page.get_by_label("Name", exact=True).fill("by hand alone")
    page.get_by_label("Name", exact=True).press("Enter")
    expect(page.get_by_role("heading", name="by hand alone")).to_be_visible()


@pytest.mark.parametrize("event_type", ["alias_added", "run_metric_zscore", "run_status"])
def test_the_form_is_accessible_and_fits_a_phone(
    chromium: Browser, server: UpServer, session: StorageState, lab: Lab, event_type: str
) -> None:
    with window(chromium, server, session) as visitor:
        page = visitor.page
        page.goto(f"/automations/new/?project={lab.project}&event={event_type}")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("alert")).to_be_visible()
        assert_accessible_and_fitting(visitor)
