"""Every page that a link leads to, for a reader of Japanese: only what people named may be English."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urldefrag, urljoin, urlsplit

import pytest
from django.test import Client
from django.urls import Resolver404, resolve

from runs.models import Role, Run
from runs.services import people
from tests.api.house import furnish, superuser
from tests.cast import Cast
from tests.languages.visible import texts, words

# What is written so in Japanese too: names, units and formats.
LATIN = frozenset(
    [
        "API",
        "ASCII",
        "Accept",
        "Artifact",
        "CI",
        "CPU",
        "CSV",
        "Content",
        "Cookie",
        "Django",
        "English",
        "GPU",
        "HTTP",
        "JSONPath",
        "ID",
        "JSON",
        "LDAP",
        "MB",
        "NUL",
        "NaN",
        "OK",
        "PC",
        "RE",
        "RSS",
        "Run",
        "SHA",
        "Slack",
        "Tripline",
        "URL",
        "UTC",
        "Unicode",
        "Web",
        "Webhook",
        "beat",
        "celery",
        "kB",
        "loss",
        "ms",
        "score",
        *("Discord", "GitLab", "Jenkins", "Microsoft", "PagerDuty", "Teams"),
    ]
)
# Names of the cast, and what programs call things.
DATA = frozenset(
    [
        "about",
        "waddle",
        "webhook",
        *("sequence", "step", "url"),  # variables
        *("finished", "new", "old", "running"),  # data of an event, as programs get it
        "ada",
        "default",
        "latest",
        "main",
        "max",
        "model",
        "otters",
        "otto",
        "penguins",
        "production",
        "root",
        "vera",
    ]
)
# Pages of packages that describe the API, which is English.
ENGLISH = ("/api/",)
PER_KIND = 2


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]


def pages(client: Client, start: str) -> Iterator[tuple[str, str, str]]:
    """What links lead to: (kind, address, page), of each kind of page a few."""
    waiting, met, kinds = deque([start]), {start}, Counter[str]()
    while waiting:
        place = waiting.popleft()
        kind = kind_of(place)
        if kinds[kind] == PER_KIND:
            continue
        kinds[kind] += 1
        answer = client.get(place)
        if answer.status_code != 200 or not answer["Content-Type"].startswith("text/html"):
            continue
        page = answer.content.decode()
        yield kind, place, page
        reader = _Links()
        reader.feed(page)
        for link in reader.found:
            there = urldefrag(urljoin(place, link)).url
            if not urlsplit(there).netloc and there not in met and not there.startswith(ENGLISH):
                met.add(there)
                waiting.append(there)


def kind_of(place: str) -> str:
    try:
        return resolve(urlsplit(place).path).view_name
    except Resolver404:
        return ""


# What holds a name of the test, an id, a variable, or the fields of a rule as JSON has them.
_DATA = re.compile(
    r"^[a-z_]+: [a-z_, ]+$|\$\{\w+\}|tl-\w+|\S*pingu\S*|\S*[0-9]\S*|\b[A-Z]+_\w+|\b[a-z]+\.[a-z.]+\b",
    re.IGNORECASE,
)
_ICON = re.compile(r"<span[^>]*material-symbols[^>]*>[^<]*</span>")


def english(page: str, named: set[str]) -> list[str]:
    """Texts of a page that hold a word which is neither a name nor Latin in Japanese too."""
    return [text for text in texts(_ICON.sub("", page)) if _unknown(text, named)]


def _unknown(text: str, named: set[str]) -> set[str]:
    return {word for word in words(_DATA.sub(" ", text)) if word.lower() not in named} - LATIN


@pytest.mark.slow
def test_no_page_that_a_link_leads_to_is_english(penguins: Cast) -> None:
    furnish(penguins.team, penguins.ada, "pingu")
    root = superuser()
    people.set_language(root, "ja")
    people.set_member(penguins.team, root, role=Role.ADMIN)
    client = Client(headers={"Accept-Language": "en"})
    client.force_login(root)
    named = {*DATA, *Run.objects.values_list("run_id", flat=True)}
    seen: set[str] = set()
    found: dict[str, str] = {}
    for kind, place, page in pages(client, "/"):
        seen.add(kind)
        assert 'lang="ja"' in page, place
        found |= dict.fromkeys(english(page, named), place)
    assert "\n".join(f"{place}: {text}" for text, place in found.items()) == ""
    assert {"home", "team", "project", "run", "automation", "execution", "profile", "status"} <= seen
    assert len({kind for kind in seen if kind.startswith("admin:")}) > 40


def test_english_is_noticed_where_it_stands(penguins: Cast) -> None:
    page = '<p>Run は 3 件</p><p title="Not this">penguins</p><code>pip install</code><li>失敗 Failed</li>'
    assert english(page, {"penguins"}) == ["Not this", "失敗 Failed"]
    reader = Client(headers={"Accept-Language": "en"})
    reader.force_login(penguins.ada)
    assert {"Home", "Sign out"} <= set(english(reader.get("/").content.decode(), {"penguins"}))
