"""The pages in a real browser, on a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.pages.browsing import MARKUP, Visitor, assert_accessible_and_fitting, window
from tests.stories import embedded_alone
from tests.stories.rest import Rest, make_hook, make_rule

pytestmark = [pytest.mark.browser, embedded_alone, pytest.mark.slow]

BODY = '{"text": "</pre>' + MARKUP.replace('"', '\\"') + '"}'

# --- Signing in and out ---------------------------------------------------------------------------


def test_a_stranger_signs_in_and_comes_where_they_wanted_to_go(stranger: Visitor) -> None:
    page = stranger.page
    page.goto("/inboxes/")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("This name and password do not belong together.")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill(stranger.server.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile("/inboxes/$"))
    expect(page.get_by_role("heading", name="Inboxes")).to_be_visible()


def test_signing_out_ends_the_session(stranger: Visitor) -> None:
    stranger.sign_in()
    stranger.page.get_by_text("admin", exact=True).click()
    stranger.page.get_by_role("button", name="Sign out").click()
    expect(stranger.page.get_by_role("button", name="Sign in")).to_be_visible()
    stranger.page.goto("/")
    expect(stranger.page).to_have_url(re.compile("/accounts/login/"))


# --- The first run --------------------------------------------------------------------------------


def test_the_empty_start_page_shows_a_snippet_that_logs_the_first_run(
    visitor: Visitor, tmp_path: Path
) -> None:
    page = visitor.page
    page.goto("/")
    expect(page.get_by_role("heading", name="No run yet")).to_be_visible()
    snippet = page.locator("pre").inner_text()
    assert snippet.count("tl-…") == 1
    paste(snippet.replace("tl-…", visitor.server.key), tmp_path)
    page.reload()
    row = page.get_by_role("listitem").filter(has=page.locator(".badge"))
    expect(row).to_contain_text("main/first")
    expect(row.locator(".badge")).to_have_text("Finished")
    # Nine hours ahead of the UTC that was sent.
    moment = row.locator("time")
    expect(moment).to_have_attribute("title", re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$"))
    assert "UTC" not in moment.inner_text()


def paste(snippet: str, folder: Path) -> None:
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["/bin/bash", "-euc", snippet],
        cwd=folder,
        env={**env, "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# --- Inboxes --------------------------------------------------------------------------------------


def send(url: str, body: str, headers: dict[str, str] | None = None) -> None:
    request = urllib.request.Request(url, body.encode(), headers or {})  # noqa: S310  # our own server
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        assert answer.status == 200


def test_an_inbox_made_by_the_form_shows_what_arrives_and_its_verdict(visitor: Visitor, rest: Rest) -> None:
    page = visitor.page
    page.goto("/inboxes/")
    page.get_by_label("Name").fill("from the form")
    page.get_by_role("button", name="Make").click()
    expect(page.get_by_role("heading", name="from the form")).to_be_visible()
    expect(page.get_by_role("heading", name="Nothing has arrived yet")).to_be_visible()
    address = page.locator("p code").inner_text()
    assert address.startswith(f"{visitor.server.url}/inbox/")

    hook = make_hook(rest, address, name="signing", signing_secret="fish for breakfast")
    assert rest.post(f"integrations/{hook}/test/", {})["status"] == 200
    send(address, '{"sent": "by hand"}')
    send(address, "{}", {"X-Wandb-Signature": "0" * 64})
    page.reload()
    verdicts = page.locator("article .badge")
    expect(verdicts).to_have_text(["signature: invalid", "signature: unsigned", "signature: valid"])
    expect(page.locator("article pre").nth(1)).to_have_text('{\n  "sent": "by hand"\n}')
    signed = page.locator("article").nth(2)
    signed.get_by_text("Headers").click()
    expect(signed.get_by_role("rowheader", name="Webhook-Signature")).to_be_visible()


def test_a_name_that_is_taken_is_refused_in_words(visitor: Visitor, rest: Rest) -> None:
    rest.post("inboxes/", {"team": "main", "name": "taken"})
    visitor.page.goto("/inboxes/")
    visitor.page.get_by_label("Name").fill("taken")
    visitor.page.get_by_role("button", name="Make").click()
    expect(visitor.page.get_by_role("status")).to_be_visible()
    expect(visitor.page.get_by_role("link", name="taken", exact=True)).to_have_count(1)


# --- What people write stays text -----------------------------------------------------------------


@pytest.fixture(scope="module")
def full_of_markup(rest: Rest) -> dict[str, Any]:
    """An inbox, a run, a rule and a delivery, with script tags in everything that takes text."""
    inbox: dict[str, Any] = rest.post("inboxes/", {"team": "main", "name": MARKUP})
    hook = make_hook(rest, inbox["url"], name="to the inbox")
    project = rest.post("projects/", {"team": "main", "name": "markup", "description": MARKUP})["id"]
    make_rule(
        rest,
        MARKUP,
        {"type": "run_status", "statuses": ["running"]},
        project=project,
        hook=hook,
        payload={"text": "${run_name} " + MARKUP},
    )
    rest.post("runs/", {"project": project, "name": MARKUP, "config": {MARKUP: MARKUP}})
    send(inbox["url"], BODY, {"X-Note": MARKUP})
    return inbox


@pytest.mark.parametrize(
    ("place", "within"),
    [
        ("/", "li"),
        ("/inboxes/", "li"),
        ("/inboxes/{id}/", "pre"),
        ("/inboxes/{id}/", "h1"),
        ("/admin/runs/run/", "table"),
        ("/admin/automations/inbox/", "table"),
        ("/admin/automations/automation/", "table"),
        ("/admin/automations/execution/", "table"),
    ],
)
def test_markup_in_names_and_bodies_stays_text(
    visitor: Visitor, full_of_markup: dict[str, Any], place: str, within: str
) -> None:
    page = visitor.page
    page.goto(place.format(id=full_of_markup["id"]))
    written = page.locator(within).filter(has_text="<script>document.title='owned'</script>")
    expect(written.first).to_be_visible()
    assert "owned" not in page.title().replace(MARKUP, "")
    assert page.locator("img[onerror]").count() == 0


# --- For everybody --------------------------------------------------------------------------------

PLACES = ["/", "/inboxes/", "/inboxes/{id}/", "/status/", "/no-such-page/"]


def test_pages_are_accessible_and_fit_a_phone(
    chromium: Browser, reader: Visitor, full_of_markup: dict[str, Any]
) -> None:
    with window(chromium, reader.server, language=reader.language) as stranger:
        stranger.page.goto("/accounts/login/")
        assert_accessible_and_fitting(stranger)
    for place in PLACES:
        reader.page.goto(place.format(id=full_of_markup["id"]))
        assert_accessible_and_fitting(reader)
    reader.troubles.remove(f"404 {reader.server.url}/no-such-page/")  # as it should
