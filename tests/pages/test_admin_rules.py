"""Rules made in the admin, in a real browser, and what changed in the admin fires them: each once."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.pages.browsing import Visitor, window
from tests.stories.rest import Rest
from tests.upserver import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ADD = "/admin/automations/automation/add/"


@pytest.fixture(scope="module")
def project(rest: Rest) -> int:
    """With a run that logged a loss, and a collection of two versions, of which one is in staging."""
    made = int(rest.post("projects/", {"team": "main", "name": "aquarium"})["id"])
    run = rest.post("runs/", {"project": made, "run_id": "carp1", "name": "carp"})
    points = [{"values": {"loss": 1 / step}} for step in range(1, 9)]
    rest.post(f"runs/{run['id']}/metrics/", {"points": points})
    fish = rest.post("collections/", {"project": made, "name": "fish"})
    for digest in ("a", "b"):
        rest.post("versions/", {"collection": fish["id"], "digest": digest, "aliases": ["staging"]})
    return made


def begin(page: Page, event: str) -> None:
    """The event and the scope chosen: the fields come without a reload, and nothing is lost."""
    page.goto(ADD)
    page.get_by_label("Name", exact=True).fill(f"on {event}")
    field(page, "event").select_option(event)
    expect(page.locator('[name="condition-shown"]')).to_have_value(event)
    with page.expect_response(lambda answer: "/add/" in answer.url):
        field(page, "scope").select_option(label="main/aquarium")
    expect(field(page, "scope").locator("option:checked")).to_have_text("main/aquarium")
    expect(page.get_by_label("Name", exact=True)).to_have_value(f"on {event}")


def field(page: Page, name: str) -> Locator:
    return page.locator(f'#rule [name="{name}"]')


def act_by(page: Page, action: str) -> None:
    """The action's own fields come in place of the last one's, if it was another."""
    if field(page, "action-0-type").input_value() != action:
        with page.expect_response(lambda answer: "/add/" in answer.url):
            field(page, "action-0-type").select_option(action)
    expect(field(page, "action-0-content-shown")).to_have_value(action)


def record_only(page: Page) -> None:
    act_by(page, "noop")


def save(page: Page, rest: Rest) -> dict[str, Any]:
    """The rule that the form made."""
    before = {row["id"] for row in rest.results("automations/")}
    page.locator('[name="_save"]').click()
    expect(page.get_by_text("was added successfully")).to_be_visible()
    (made,) = [row for row in rest.results("automations/") if row["id"] not in before]
    return dict(made)


def executions(rest: Rest, rule: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(row) for row in rest.results(f"executions/?automation={rule['id']}")]


def fired(rest: Rest, rule: dict[str, Any], *, times: int) -> list[dict[str, Any]]:
    wait_for(lambda: len(executions(rest, rule)) >= times)
    found = executions(rest, rule)
    assert len(found) == times
    return found


def test_an_artifact_rule_fires_once_for_a_form_an_inline_and_a_bulk_action(
    visitor: Visitor, rest: Rest, project: int
) -> None:
    page = visitor.page
    begin(page, "alias_added")
    alias = field(page, "condition-alias")
    alias.fill("(?=prod)")
    expect(page.locator("#id_condition-alias-live .problem")).to_be_visible()
    alias.fill("^sta")
    expect(page.locator("#id_condition-alias-live")).to_contain_text("staging")
    alias.fill("^prod")
    expect(page.locator("#id_condition-alias-live")).to_contain_text("None yet")
    record_only(page)
    expect(alias).to_have_value("^prod")
    added = save(page, rest)
    assert (added["event"]["alias"], added["scope"]) == ("^prod", {"type": "project", "id": project})
    begin(page, "alias_removed")
    field(page, "condition-alias").fill("^prod")
    record_only(page)
    removed = save(page, rest)

    (fish,) = rest.results(f"collections/?project={project}")
    page.goto("/admin/registry/alias/add/")
    page.locator('[name="name"]').fill("production")
    page.locator('[name="number"]').fill("0")
    page.evaluate(
        """pk => { const select = document.querySelector('[name="collection"]');
                   select.add(new Option("fish", pk, true, true)); }""",
        fish["id"],
    )
    page.locator('[name="_save"]').click()
    expect(page.get_by_text("was added successfully")).to_be_visible()
    fired(rest, added, times=1)

    page.goto(f"/admin/registry/collection/{fish['id']}/change/")
    position = page.locator('[name^="aliases-"][name$="-name"]').evaluate_all(
        "fields => fields.findIndex(each => each.value == 'production')"
    )
    page.locator(f'[name="aliases-{position}-number"]').fill("1")
    page.locator('[name="_save"]').click()
    expect(page.get_by_text("was changed successfully")).to_be_visible()
    fired(rest, added, times=2)
    assert executions(rest, removed) == [], "it moved"

    page.goto("/admin/registry/alias/?q=production")
    page.locator('[name="_selected_action"]').check()
    page.locator('select[name="action"]').select_option("delete_selected")
    page.locator('[name="index"]').click()
    page.locator('[type="submit"]', has_text="Yes").click()
    fired(rest, removed, times=1)
    fired(rest, added, times=2)


def test_a_status_rule_fires_once_for_a_bulk_action(visitor: Visitor, rest: Rest, project: int) -> None:
    page = visitor.page
    begin(page, "run_status")
    page.get_by_label("Failed", exact=True).check()
    page.get_by_label("Running", exact=True).check()
    expect(page.locator("#rule .caution").first).to_be_visible()
    page.get_by_label("Running", exact=True).uncheck()
    record_only(page)
    made = save(page, rest)
    assert made["event"]["statuses"] == ["failed"]
    page.goto("/admin/runs/run/?q=carp")
    page.locator('[name="_selected_action"]').check()
    page.locator('select[name="action"]').select_option("mark_failed")
    page.locator('[name="index"]').click()
    expect(page.get_by_text("1 run changed")).to_be_visible()
    fired(rest, made, times=1)


def test_a_threshold_rule_says_how_long_its_window_is_and_shows_what_it_sends(
    visitor: Visitor, rest: Rest, project: int
) -> None:
    hook = rest.post(
        "integrations/", {"team": "main", "type": "webhook", "name": "hall", "url": "https://example.com/"}
    )
    page = visitor.page
    begin(page, "run_metric_threshold")
    expect(field(page, "condition-window")).to_have_value("5")
    field(page, "condition-metric").fill("system.cpu")
    field(page, "condition-threshold").fill("90")
    expect(page.locator("#rule .caution").first).to_contain_text("75")
    field(page, "condition-metric").fill("loss")
    act_by(page, "webhook")
    field(page, "action-0-integration").select_option(str(hook["id"]))
    field(page, "action-0-content-payload").fill('{"run": ""}')
    field(page, "action-0-content-payload").evaluate("field => field.setSelectionRange(9, 9)")
    page.locator('[data-insert="run_name"]').click()
    expect(field(page, "action-0-content-payload")).to_have_value('{"run": "${run_name}"}')
    expect(page.locator("#rule pre").first).to_contain_text("example-run")
    made = save(page, rest)
    assert made["event"]["threshold"] == 90
    assert made["actions"][0]["payload"] == {"run": "${run_name}"}
    page.goto(f"/admin/automations/automation/{made['id']}/change/")
    page.locator('[name="_fire"]').click()
    expect(page).to_have_url(
        f"{visitor.server.url}/admin/automations/execution/{fired(rest, made, times=1)[0]['id']}/change/"
    )
    assert executions(rest, made)[0]["is_test"]


def test_a_zscore_rule_comes_with_its_reading_aid(visitor: Visitor, rest: Rest, project: int) -> None:
    page = visitor.page
    begin(page, "run_metric_zscore")
    expect(page.get_by_text("How to read a z-score")).to_be_visible()
    field(page, "condition-metric").fill("loss")
    field(page, "condition-threshold").fill("-1")
    record_only(page)
    page.locator('[name="_save"]').click()
    expect(page.locator(".problem").first).to_be_visible()
    field(page, "condition-threshold").fill("2.5")
    assert save(page, rest)["event"]["threshold"] == 2.5


def test_without_a_script_the_fields_come_with_a_reload(
    chromium: Any, visitor: Visitor, rest: Rest, project: int
) -> None:
    session = visitor.page.context.storage_state()
    with window(chromium, visitor.server, session, scripts=False) as plain:
        page = plain.page
        page.goto(ADD)
        field(page, "name").fill("plainly")
        field(page, "event").select_option("run_status")
        page.get_by_role("button", name="Show fields").first.click()
        expect(field(page, "name")).to_have_value("plainly")
        page.locator('[name="condition-statuses"][value="failed"]').check()
        field(page, "scope").select_option(label="main/aquarium")
        field(page, "action-0-type").select_option("noop")
        page.get_by_role("button", name="Show fields").last.click()
        page.locator('[name="_save"]').click()
        page.wait_for_url("**/automations/automation/")
        assert "plainly" in [row["name"] for row in rest.results("automations/")]
