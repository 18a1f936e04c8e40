"""Rules of every kind, made on the page, from the bell and in the admin: what happens fires each once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from automations.events.base import EVENTS
from tests.pages.browsing import Visitor
from tests.stories import embedded_alone
from tests.stories.rest import Rest
from tests.upserver import wait_for

pytestmark = [pytest.mark.browser, embedded_alone, pytest.mark.slow]

PLACE, SHELVES = "main/lab", "shelves"
STARTS = {"page": "/automations/new/", "admin": "/admin/automations/automation/add/"}


@dataclass(frozen=True)
class Lab:
    """A project with a run and a collection, and a registry with a collection of links."""

    rest: Rest
    run: int
    collection: int
    version: int
    shelf: int
    project: int

    def log(self, *values: float | str) -> None:
        points = [{"values": {"loss": value}} for value in values]
        self.rest.post(f"runs/{self.run}/metrics/", {"points": points})

    def tag(self, verb: str, path: str) -> None:
        self.rest._request(verb, f"/api/v1/{path}/tags/ripe/")

    def alias(self, verb: str) -> None:
        body = {"version": self.version}
        path = f"collections/{self.collection}/aliases/production/"
        self.rest.put(path, body) if verb == "PUT" else self.rest._request(verb, f"/api/v1/{path}")

    def link(self, verb: str) -> None:
        path = f"collections/{self.shelf}/links/"
        if verb == "POST":
            self.rest.post(path, {"version": self.version})
        else:
            self.rest._request(verb, f"/api/v1/{path}{self.version}/")


@dataclass(frozen=True)
class Kind:
    """What is filled in, what then happens, and where the rule watches."""

    filled: dict[str, Any]
    happens: Callable[[Lab], Any]
    scope: str = PLACE


LOSS = {"metric": "loss"}
# In an order in which each can happen.
KINDS = {
    "collection_created": Kind(
        {"name": "^shark"},
        lambda lab: lab.rest.post("collections/", {"project": lab.project, "name": "sharks"}),
    ),
    "version_added": Kind(
        {"alias": "^best$"},
        lambda lab: lab.rest.post(
            "versions/", {"collection": lab.collection, "digest": "new", "aliases": ["best"]}
        ),
    ),
    "version_linked": Kind({}, lambda lab: lab.link("POST"), SHELVES),
    "version_unlinked": Kind({}, lambda lab: lab.link("DELETE"), SHELVES),
    "alias_added": Kind({"alias": "^prod"}, lambda lab: lab.alias("PUT")),
    "alias_removed": Kind({"alias": "^prod"}, lambda lab: lab.alias("DELETE")),
    "tag_added": Kind({"tag": "^ripe$"}, lambda lab: lab.tag("PUT", f"versions/{lab.version}")),
    "tag_removed": Kind({"tag": "^ripe$"}, lambda lab: lab.tag("DELETE", f"versions/{lab.version}")),
    "collection_tag_added": Kind(
        {"tag": "^ripe$"}, lambda lab: lab.tag("PUT", f"collections/{lab.collection}")
    ),
    "collection_tag_removed": Kind(
        {"tag": "^ripe$"}, lambda lab: lab.tag("DELETE", f"collections/{lab.collection}")
    ),
    "run_metric_threshold": Kind(
        {**LOSS, "aggregation": "none", "comparison": "above", "threshold": "90"}, lambda lab: lab.log(91, 1)
    ),
    "run_metric_change": Kind(
        {**LOSS, "window": "1", "prior_window": "1", "change_type": "absolute", "threshold": "400"},
        lambda lab: lab.log(1, 500, 500),
    ),
    "run_metric_zscore": Kind(
        {**LOSS, "baseline": "values", "window": "2", "direction": "above", "threshold": "900"},
        lambda lab: lab.log(1, 2, 1000, 1000),
    ),
    "run_metric_nonfinite": Kind(LOSS, lambda lab: lab.log("NaN")),
    "run_status": Kind(
        {"statuses": ["failed"]},
        lambda lab: lab.rest._request("PATCH", f"/api/v1/runs/{lab.run}/", b'{"status": "failed"}'),
    ),
}
BELL = [kind for kind in KINDS if kind.startswith("run_metric")]


@pytest.fixture(scope="module")
def lab(rest: Rest) -> Lab:
    project = rest.post("projects/", {"team": "main", "name": "lab"})["id"]
    run = rest.post("runs/", {"project": project, "run_id": "exp-1"})["id"]
    rest.post(f"runs/{run}/metrics/", {"points": [{"values": {"loss": 1}}]})
    fish = rest.post("collections/", {"project": project, "name": "fish"})["id"]
    version = rest.post("versions/", {"collection": fish, "digest": "old"})["id"]
    registry = rest.post("registries/", {"name": SHELVES})["id"]
    shelf = rest.post("collections/", {"registry": registry, "name": "shelf"})["id"]
    return Lab(rest, run, fish, version, shelf, project)


def field(page: Page, name: str) -> Locator:
    return page.locator(f'#rule [name="{name}"]')


@contextmanager
def renewed(page: Page) -> Iterator[None]:
    """The form comes anew meanwhile, with what was chosen."""
    with page.expect_response(lambda answer: answer.request.method == "POST" and is_form(answer.url)):
        yield


def is_form(url: str) -> bool:
    return any(part in url for part in ("/automations/new/", "/automation/add/"))


def choose(page: Page, name: str, **chosen: str) -> None:
    with renewed(page):
        field(page, name).select_option(**chosen)  # type: ignore[arg-type]  # value or label


def fill_in(page: Page, filled: dict[str, Any]) -> None:
    for name, value in filled.items():
        place = field(page, f"condition-{name}")
        if isinstance(value, list):
            for each in value:
                page.locator(f'#rule [name="condition-{name}"][value="{each}"]').check()
        elif place.evaluate("field => field.tagName") == "SELECT":
            place.select_option(value)
        else:
            place.fill(value)


def finish(page: Page, name: str, rest: Rest) -> int:
    """Record only; named and saved. The rule."""
    if field(page, "action-0-type").input_value() != "noop":
        choose(page, "action-0-type", value="noop")
        expect(field(page, "action-0-content-shown")).to_have_value("noop")
    page.get_by_label("Name", exact=True).fill(name)
    page.locator('[name="_save"]').or_(page.get_by_role("button", name="Save", exact=True)).first.click()
    wait_for(lambda: any(row["name"] == name for row in rest.results("automations/")))
    return next(int(row["id"]) for row in rest.results("automations/") if row["name"] == name)


def made(page: Page, way: str, event_type: str, rest: Rest) -> int:
    kind = KINDS[event_type]
    page.goto(STARTS[way])
    choose(page, "event", value=event_type)
    expect(field(page, "condition-shown")).to_have_value(event_type)
    choose(page, "scope", label=kind.scope)
    expect(field(page, "scope").locator("option:checked")).to_have_text(kind.scope)
    fill_in(page, kind.filled)
    return finish(page, f"{event_type} by {way}", rest)


def made_from_the_bell(page: Page, event_type: str, rest: Rest) -> int:
    page.goto("/main/lab/runs/exp-1/")
    page.get_by_role("link", name="Make an automation on loss").click()
    expect(field(page, "condition-metric")).to_have_value("loss")
    if field(page, "event").input_value() != event_type:
        choose(page, "event", value=event_type)
    expect(field(page, "condition-shown")).to_have_value(event_type)
    expect(field(page, "condition-metric")).to_have_value("loss")
    fill_in(page, KINDS[event_type].filled)
    return finish(page, f"{event_type} by bell", rest)


def fired(rest: Rest, rule: int) -> int:
    return len(rest.results(f"executions/?automation={rule}&state=finished"))


def test_every_kind_is_here() -> None:
    assert set(KINDS) == {event_type.key for event_type in EVENTS}


@pytest.mark.parametrize("event_type", KINDS)
def test_a_rule_is_made_by_hand_in_every_way_and_fires_once(
    visitor: Visitor, rest: Rest, lab: Lab, event_type: str
) -> None:
    rules = [made(visitor.page, way, event_type, rest) for way in STARTS]
    if event_type in BELL:
        rules.append(made_from_the_bell(visitor.page, event_type, rest))
    assert [fired(rest, rule) for rule in rules] == [0] * len(rules)
    KINDS[event_type].happens(lab)
    wait_for(lambda: all(fired(rest, rule) for rule in rules))
    assert [fired(rest, rule) for rule in rules] == [1] * len(rules)
