"""Artifacts, automations and keys in a real browser: downloaded, opened, sent again, made and revoked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.pages.browsing import MARKUP, Visitor, assert_accessible_and_fitting, window
from tests.stories import embedded_alone
from tests.stories.rest import Rest, make_hook, make_rule
from tests.upserver import UpServer, wait_for

pytestmark = [pytest.mark.browser, embedded_alone, pytest.mark.slow]

# Names that are parts of paths hold no slash, and so no closing tag.
OPENING = "<script>document.title='owned'"
CONTENT = b"weights of a fish classifier \x00\xff" * 100
PASSWORD = "ice floe and krill"


@dataclass
class Target:
    """A receiver that refuses with markup until it is mended."""

    url: str
    is_mended: bool = False
    bodies: list[bytes] = field(default_factory=list)

    def answer(self, request: Request) -> Response:
        self.bodies.append(request.get_data())
        return Response("fine") if self.is_mended else Response(f"</pre>{MARKUP}", status=400)


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with HTTPServer(host="127.0.0.1", port=0) as server:
        found = Target(server.url_for("/hook"))
        server.expect_request("/hook").respond_with_handler(found.answer)
        yield found


@pytest.fixture(scope="module")
def lab(rest: Rest, target: Target) -> dict[str, Any]:
    """A version with files, linked; rules that fired on a run and on an alias; a message that was refused."""
    project = rest.post("projects/", {"team": "main", "name": "lab", "description": MARKUP})["id"]
    hook = make_hook(rest, target.url, name="strict")
    rule = make_rule(
        rest,
        MARKUP,
        {"type": "run_status", "statuses": ["running"]},
        project=project,
        hook=hook,
        payload={"text": "${run_name}"},
    )
    run = rest.post("runs/", {"project": project, "run_id": "first", "name": MARKUP})["id"]
    collection = rest.post("collections/", {"project": project, "name": OPENING, "description": MARKUP})["id"]
    version = rest.post(
        "versions/",
        {
            "collection": collection,
            "run": run,
            "state": "pending",
            "metadata": {MARKUP: [1, MARKUP]},
            "aliases": [OPENING],
            "tags": ["good one"],
        },
    )["id"]
    rest._request("PUT", f"/api/v1/versions/{version}/files/weights/model.bin", CONTENT)
    rest._request("PUT", f"/api/v1/versions/{version}/files/%3Cscript%3E.html", MARKUP.encode())
    rest.post(f"versions/{version}/commit/", {})
    registry = rest.post("registries/", {"name": "shelves", "description": MARKUP})["id"]
    shelf = rest.post("collections/", {"registry": registry, "name": "fish"})["id"]
    scope = {"type": "registry", "id": registry}
    event = {"type": "alias_added", "alias": "^production$"}
    rest.post(
        "automations/", {"name": "promoted", "scope": scope, "event": event, "actions": [{"type": "noop"}]}
    )
    rest.post(f"collections/{shelf}/links/", {"version": version, "aliases": ["production"]})
    rest.post("users/", {"username": "vera", "password": PASSWORD})
    team = rest.results("teams/")[0]["id"]
    rest.post(f"teams/{team}/members/", {"user": "vera", "role": "viewer"})
    inbox = rest.post("inboxes/", {"team": "main", "name": MARKUP})["id"]

    def refused() -> bool:
        found = rest.results(f"executions/?automation={rule}")
        return [each["state"] for each in found] == ["failed"]

    wait_for(refused)
    (execution,) = (each["id"] for each in rest.results(f"executions/?automation={rule}"))
    return {
        "collection": collection,
        "shelf": shelf,
        "version": version,
        "rule": rule,
        "execution": execution,
        "inbox": inbox,
    }


@pytest.fixture
def vera(chromium: Browser, server: UpServer, lab: dict[str, Any]) -> Iterator[Visitor]:
    """Somebody who may look."""
    with window(chromium, server) as found:
        found.page.goto("/")
        found.page.get_by_label("User name").fill("vera")
        found.page.get_by_label("Password").fill(PASSWORD)
        found.page.get_by_role("button", name="Sign in").click()
        expect(found.page.get_by_role("heading", name="Home")).to_be_visible()
        yield found


# --- Stories --------------------------------------------------------------------------------------


def test_from_the_home_page_to_a_file_on_the_disk(visitor: Visitor, lab: dict[str, Any]) -> None:
    page = visitor.page
    page.goto("/")
    page.get_by_role("link", name="shelves").click()
    page.get_by_role("link", name="fish", exact=True).click()
    page.get_by_role("link", name="production").click()
    expect(page).to_have_url(re.compile("/registries/shelves/fish/v0/$"))
    with page.expect_download() as started:
        page.get_by_role("link", name="weights/model.bin").click()
    assert started.value.suggested_filename == "model.bin"
    assert started.value.path().read_bytes() == CONTENT
    with page.expect_download() as started:
        page.get_by_role("link", name="<script>.html").click()  # saved, not opened
    assert started.value.path().read_bytes() == MARKUP.encode()
    expect(page).to_have_url(re.compile("/registries/shelves/fish/v0/$"))


def test_a_viewer_reads_everything_and_changes_nothing(vera: Visitor, lab: dict[str, Any]) -> None:
    page = vera.page
    page.goto(f"/executions/{lab['execution']}/")
    expect(page.get_by_text("status 400")).to_be_visible()
    expect(page.get_by_role("button", name="Send again")).to_have_count(0)
    page.goto(f"/automations/{lab['rule']}/")
    expect(page.get_by_role("heading", name="Executions")).to_be_visible()
    expect(page.locator("main form[method=post]")).to_have_count(0)
    # The form that is not offered, sent all the same.
    answer = page.evaluate(
        """async (place) => {
          const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
          const body = new URLSearchParams({csrfmiddlewaretoken: token});
          return (await fetch(place, {method: "POST", body})).status;
        }""",
        f"/executions/{lab['execution']}/redeliver/",
    )
    assert answer == 403
    vera.troubles.remove(f"403 {vera.server.url}/executions/{lab['execution']}/redeliver/")  # as it should
    assert all("403" in trouble for trouble in vera.troubles)
    vera.troubles.clear()


def test_a_refused_message_is_found_read_and_sent_again(
    visitor: Visitor, lab: dict[str, Any], target: Target
) -> None:
    page = visitor.page
    page.goto("/main/lab/automations/")
    page.get_by_role("row").nth(1).get_by_role("link").first.click()
    expect(page.locator(".rule")).to_contain_text("When a run changes to running, in project main/lab")
    page.locator(".fired .when").first.click()
    expect(page).to_have_url(re.compile(f"/executions/{lab['execution']}/$"))
    expect(page.get_by_role("group", name="Answer")).to_contain_text(MARKUP)
    assert page.title().startswith(MARKUP)
    before = len(target.bodies)
    target.is_mended = True
    page.get_by_role("button", name="Send again").click()
    expect(page.get_by_role("status")).to_have_text("1 message is sent again.")
    wait_for(lambda: len(target.bodies) > before)

    expect(page.get_by_text("✓ Succeeded")).to_be_visible()  # the page looks again by itself
    expect(page.get_by_text("Attempt 2")).to_be_visible()
    expect(page.get_by_role("button", name="Send again")).to_have_count(0)
    assert target.bodies[-1] == target.bodies[-2]  # the same message


def test_a_rule_is_muted_and_active_again(visitor: Visitor, lab: dict[str, Any]) -> None:
    page = visitor.page
    page.goto(f"/automations/{lab['rule']}/")
    page.get_by_label("How long").select_option(label="for 8 hours")
    page.get_by_role("button", name="Mute").click()
    expect(page.get_by_role("status")).to_have_text("The automation is muted for 8 hours.")
    expect(page.get_by_text("Muted until")).to_be_visible()
    page.get_by_role("button", name="Unmute").click()
    expect(page.locator("h1 .badge")).to_have_text("Active")


def test_a_key_is_made_copied_used_and_revoked(visitor: Visitor, server: UpServer) -> None:
    page = visitor.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.url)
    page.goto("/profile/")
    page.get_by_label("What it is for").fill("a laptop")
    page.get_by_role("button", name="Make").click()
    key = page.locator("#made-key").inner_text()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == key
    assert Rest(server.url, key).get("me/")["username"] == "admin"
    page.goto("/profile/")
    assert key not in page.content()
    row = page.get_by_role("row").filter(has_text="a laptop")
    row.get_by_text("Revoke").first.click()
    row.get_by_role("button", name="Yes, revoke it").click()
    expect(page.get_by_role("status")).to_have_text("The key “a laptop” is revoked.")
    with pytest.raises(AssertionError, match="401"):
        Rest(server.url, key).get("me/")


def test_forms_work_without_scripts(
    chromium: Browser, server: UpServer, session: StorageState, lab: dict[str, Any]
) -> None:
    with chromium.new_context(
        base_url=server.url, storage_state=session, java_script_enabled=False
    ) as context:
        page = context.new_page()
        page.goto(f"/automations/{lab['rule']}/")
        page.get_by_role("button", name="Only record").click()
        expect(page.locator("h1 .badge")).to_have_text("Shadow")
        page.get_by_role("button", name="Enable").click()
        expect(page.locator("h1 .badge")).to_have_text("Active")
        page.goto("/teams/main/")
        row = page.get_by_role("row").filter(has_text="vera")
        row.get_by_role("combobox").select_option("member")
        row.get_by_role("button", name="Change").click()
        expect(page.get_by_role("status")).to_have_text("vera has the role “Member” now.")
        row.get_by_role("combobox").select_option("viewer")
        row.get_by_role("button", name="Change").click()
        expect(page.get_by_role("status")).to_have_text("vera has the role “Viewer” now.")


def test_an_alias_is_put_on_a_version_and_taken_away_on_its_page(
    visitor: Visitor, lab: dict[str, Any]
) -> None:
    page = visitor.page
    page.goto("/registries/shelves/fish/v0/")
    page.get_by_text("Change aliases and tags").click()
    form = page.locator(".edit").filter(has=page.get_by_role("heading", name="Aliases"))
    form.get_by_label("Alias").fill("champion")
    form.get_by_role("button", name="Add").click()
    expect(page.get_by_role("status")).to_have_text("The alias “champion” is on v0 now.")
    page.get_by_text("Change aliases and tags").click()
    page.get_by_role("button", name="champion Remove").click()
    expect(page.get_by_role("status")).to_have_text("The alias “champion” is removed.")


# --- For everybody --------------------------------------------------------------------------------

PLACES = [
    "/registries/",
    "/registries/shelves/",
    "/registries/shelves/fish/",
    "/registries/shelves/fish/v0/",
    "/registries/shelves/automations/",
    "/registries/shelves/automations/history/",
    "/main/lab/collections/",
    "/artifacts/{collection}/",
    "/artifacts/{collection}/v0/",
    "/main/lab/automations/",
    "/main/lab/automations/history/?state=eaten",
    "/main/lab/automations/history/?state=skipped",
    "/automations/",
    "/automations/{rule}/",
    "/automations/{rule}/edit/",
    "/automations/{rule}/why/?q=first",
    "/automations/new/?event=run_metric_zscore&metric=loss",
    "/automations/new/?event=alias_added",
    "/executions/",
    "/executions/{execution}/",
    "/inboxes/",
    "/inboxes/{inbox}/",
    "/profile/",
    "/teams/main/",
    "/accounts/password/",
    "/",
]


def _open_everything(page: Page) -> None:
    """Whatever is folded belongs to the page."""
    page.evaluate("document.querySelectorAll('main details').forEach((each) => each.open = true)")


def test_pages_are_accessible_fit_a_phone_and_run_nothing(reader: Visitor, lab: dict[str, Any]) -> None:
    page = reader.page
    for place in PLACES:
        page.set_viewport_size({"width": 1280, "height": 800})
        page.goto(place.format(**lab))
        _open_everything(page)
        assert_accessible_and_fitting(reader)
        assert page.title() != "owned", place
        assert page.locator("img[onerror]").count() == 0


def test_one_gets_around_with_the_keyboard(visitor: Visitor, lab: dict[str, Any]) -> None:
    page = visitor.page
    page.goto(f"/executions/{lab['execution']}/")
    attempt = page.locator("details.attempt").first
    attempt.locator("summary").focus()
    was_open = attempt.get_attribute("open") is not None
    page.keyboard.press("Enter")
    expect(attempt).to_have_js_property("open", not was_open)
