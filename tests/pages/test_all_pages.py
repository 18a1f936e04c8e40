"""Every page there is, is looked at by axe somewhere: light and dark, wide and narrow, in both languages."""

from __future__ import annotations

import re
from collections.abc import Iterator

from django.urls import URLPattern, URLResolver, get_resolver, resolve

from tests.pages import test_pages, test_rules_and_artifacts, test_run_pages

LOOKED_AT = [*test_pages.PLACES, *test_rules_and_artifacts.PLACES, *test_run_pages.PLACES, "/accounts/login/"]
# They come out of packages.
FOREIGN = ("admin/", "api/v1/")
# For programs and scripts.
NO_PAGES = {"inbox-receive", "healthz", "metrics", "client", "run-series", "run-live"}
# Pieces of the form of a rule, which are looked at in it (`test_trying_rules`, `test_making_rules`).
PIECES = {
    *("automation-advice", "automation-matches", "automation-example", "automation-preview"),
    *("automation-preview-job", "automation-preview-run", "automation-preview-cancel"),
}
# Answers to a form, by which another page is shown.
DEEDS = {
    *("automation-mode", "automation-test", "execution-redeliver", "edit-collection", "edit-version"),
    *(
        "language",
        "key-revoke",
        "member-add",
        "member-change",
        "member-remove",
        "service-key-revoke",
        "logout",
    ),
}
# What "/artifacts/…" redirects to.
BY_REDIRECT = {"collection", "version"}


def names(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[str]:
    for each in patterns:
        path = prefix + str(each.pattern)
        if path.startswith(FOREIGN):
            continue
        if isinstance(each, URLResolver):
            yield from names(each.url_patterns, path)
        else:
            assert each.name, path
            yield each.name


def test_every_page_is_in_one_of_the_lists() -> None:
    looked_at = {
        resolve(re.sub(r"\{\w+\}", "1", place.partition("?")[0])).url_name
        for place in LOOKED_AT
        if place != "/no-such-page/"
    }
    known = set(names(get_resolver().url_patterns))
    assert len(known) > 40
    assert known - looked_at - NO_PAGES - PIECES - DEEDS - BY_REDIRECT == set()
    # And nothing is excused that is not there.
    assert known >= NO_PAGES | PIECES | DEEDS | BY_REDIRECT
