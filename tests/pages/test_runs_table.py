"""The table of a project's runs, without a browser."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from runs.models import Run, RunStatus
from runs.services.runs import delete_run, set_status
from tests.cast import Cast, log, new_run

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("calm")]

HERE = "/penguins/waddle/"
MARKUP = "<script>alert(1)</script>"


@pytest.fixture
def max_(penguins: Cast, client: Client) -> Client:
    """A member."""
    client.force_login(penguins.max)
    return client


def shown(client: Client, query: str = "") -> list[str]:
    answer = client.get(HERE + query)
    assert answer.status_code == 200
    return [run.name for run in answer.context["page"].rows]


@pytest.fixture
def three(penguins: Cast) -> list[Run]:
    runs = [
        new_run(penguins.project, user=penguins.ada, name="alpha"),
        new_run(penguins.project, user=penguins.max, name="beta"),
        new_run(penguins.project, user=penguins.max, name="Alphabet"),
    ]
    set_status(runs[1], RunStatus.FAILED, actor=None)
    return runs


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["Alphabet", "beta", "alpha"]),
        ("?name=ALPHA", ["Alphabet", "alpha"]),
        ("?status=failed", ["beta"]),
        ("?user=max", ["Alphabet", "beta"]),
        ("?user=max&status=running&name=", ["Alphabet"]),
        ("?created_after=2020-01-01", ["Alphabet", "beta", "alpha"]),
        ("?created_before=2020-01-01", []),
        ("?ordering=name", ["Alphabet", "alpha", "beta"]),
        ("?ordering=-name&metric=loss", ["beta", "alpha", "Alphabet"]),
    ],
)
def test_runs_are_filtered_and_sorted(max_: Client, three: list[Run], query: str, names: list[str]) -> None:
    assert sorted(shown(max_, query)) == sorted(names)
    if "name" not in query.partition("ordering=")[2]:  # databases disagree about capitals
        assert shown(max_, query) == names


def test_days_of_the_filter_are_the_readers(max_: Client, penguins: Cast) -> None:
    """At 20:00 by UTC it is the next morning in Tokyo."""
    run = new_run(penguins.project, name="late")
    Run.objects.filter(pk=run.pk).update(created_at=datetime(2026, 9, 1, 20, tzinfo=UTC))
    assert shown(max_, "?created_after=2026-09-02") == []
    assert shown(max_, "?created_before=2026-09-02") == ["late"]
    max_.cookies["zone"] = "Asia%2FTokyo"
    assert shown(max_, "?created_after=2026-09-02") == ["late"]
    assert shown(max_, "?created_before=2026-09-02") == []


@pytest.mark.parametrize(
    "query",
    ["?status=lazy", "?colour=red", "?ordering=shoes", "?cursor=x", "?created_after=soon", "?page_size=0"],
)
def test_a_question_without_sense_is_answered_in_words(max_: Client, three: list[Run], query: str) -> None:
    answer = max_.get(HERE + query)
    assert answer.status_code == 400
    assert b'role="alert"' in answer.content


def test_pages_show_every_run_once(max_: Client, penguins: Cast) -> None:
    made = [new_run(penguins.project, name=f"run {number}").name for number in range(5)]
    query, seen = "?page_size=2", []
    while query:
        answer = max_.get(HERE + query)
        seen += [run.name for run in answer.context["page"].rows]
        query = answer.context["page"].next
    assert seen == made[::-1]
    back = max_.get(HERE + answer.context["page"].previous).context["page"]
    assert [run.name for run in back.rows] == ["run 2", "run 1"]


def test_the_metrics_one_chose_stand_beside_each_run_with_their_way(max_: Client, three: list[Run]) -> None:
    log(three[0], "loss", [3, 2, 1])
    log(three[0], "val/acc", [0.5])
    log(three[1], "loss", [1, "NaN"])
    page = max_.get(HERE + "?metric=loss")
    rows = {run.name: cells for run, cells in page.context["rows"]}
    assert [cell.value for cell in rows["alpha"]] == [1.0]
    assert rows["alpha"][0].line == "M2.0 2.0L48.0 11.0L94.0 20.0"
    assert rows["beta"][0].value == "NaN"
    assert rows["Alphabet"][0].value is None
    assert page.content.count(b"<svg") == 2
    assert max_.get(HERE).context["names"] == ["loss", "val/acc"]
    assert max_.get(HERE + "?metric=").context["names"] == []


# --- In the order of a metric ---------------------------------------------------------------------


@pytest.fixture
def ranked(penguins: Cast) -> list[Run]:
    """Losses: the last, the least and the greatest of each run order them in three ways."""
    values: dict[str, list[float | str]] = {
        "low": [5, 1],
        "lower": [-9, 2],
        "same": [2],
        "nan": [0, 8, "NaN"],
        "none": [],
        "high": [3.5],
        "other": [],
    }
    runs = [new_run(penguins.project, name=name) for name in values]
    for run, losses in zip(runs, values.values(), strict=True):
        if losses:
            log(run, "loss", losses)
    log(runs[-1], "acc", [100])
    return runs


LAST = ["low", "lower", "same", "high"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        # What has no number is last either way; equal ones are in the order of their making.
        ("?ordering=metric:loss", [*LAST, "nan", "none", "other"]),
        ("?ordering=-metric:loss", [*LAST[::-1], "other", "none", "nan"]),
        ("?ordering=metric:loss&value=min", ["lower", "nan", "low", "same", "high", "none", "other"]),
        ("?ordering=-metric:loss&value=max", ["nan", "low", "high", "same", "lower", "other", "none"]),
        ("?ordering=metric:loss&name=low", ["low", "lower"]),
        ("?ordering=-metric:acc&metric=loss", ["other", "high", "none", "nan", "same", "lower", "low"]),
        ("?ordering=-metric:nowhere", ["other", "high", "none", "nan", "same", "lower", "low"]),
    ],
)
def test_runs_are_sorted_by_what_the_column_shows(
    max_: Client, ranked: list[Run], query: str, names: list[str]
) -> None:
    assert shown(max_, query) == names


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("ordering", ["metric:loss", "-metric:loss"])
def test_pages_of_a_sorted_table_show_every_run_once_there_and_back(
    max_: Client, ranked: list[Run], ordering: str, size: int
) -> None:
    whole = shown(max_, f"?ordering={ordering}")
    pages = [max_.get(f"{HERE}?ordering={ordering}&page_size={size}").context["page"]]
    while pages[-1].next:
        pages.append(max_.get(HERE + pages[-1].next).context["page"])
    told = [[run.name for run in page.rows] for page in pages]
    assert [name for names in told for name in names] == whole
    assert len(pages) == -(-len(whole) // size)
    for earlier, page in pairwise(pages):
        back = max_.get(HERE + page.previous).context["page"]
        assert [run.name for run in back.rows] == [run.name for run in earlier.rows]
        assert max_.get(HERE + back.next).context["page"].rows == page.rows
    assert not pages[0].previous


def test_the_head_of_a_column_sorts_by_it_and_says_so(max_: Client, ranked: list[Run]) -> None:
    page = max_.get(HERE + "?value=min&metric=loss").content.decode()
    assert 'href="?value=min&amp;metric=loss&amp;ordering=metric%3Aloss"' in page
    page = max_.get(HERE + "?ordering=metric:loss&metric=loss").content.decode()
    assert page.count("aria-sort=") == 1
    assert re.search(r'aria-sort="ascending"><a href="[^"]*ordering=-metric%3Aloss&', page)
    # Without a choice, what sorts the table stands in it.
    assert max_.get(HERE + "?ordering=metric:loss").context["names"][0] == "loss"


@pytest.mark.parametrize(
    "values",
    ["[false]", "[false,1,2,3]", '[false,"NaN",1]', "[false,NaN,1]", '[false,"x",1]', "[false,1,[]]"],
)
def test_a_cursor_that_is_none_is_answered_in_words(max_: Client, ranked: list[Run], values: str) -> None:
    cursor = base64.urlsafe_b64encode(values.encode()).decode()
    answer = max_.get(f"{HERE}?ordering=metric:loss&cursor={cursor}")
    assert answer.status_code == 400
    assert b'role="alert"' in answer.content


def test_sorting_asks_as_often_for_many_runs_as_for_few(max_: Client, penguins: Cast) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as asked:
            shown(max_, "?ordering=-metric:loss")
        return len(asked)

    log(new_run(penguins.project), "loss", [1.0])
    few = count()
    for number in range(8):
        log(new_run(penguins.project), "loss", [float(number)])
    assert count() == few
    assert few <= 15


def test_a_deleted_run_is_in_no_order(max_: Client, ranked: list[Run]) -> None:
    delete_run(ranked[0])
    assert shown(max_, "?ordering=metric:loss") == [*LAST[1:], "nan", "none", "other"]


def test_names_stay_text(max_: Client, penguins: Cast) -> None:
    log(new_run(penguins.project, name=MARKUP), MARKUP, [1.0])
    page = max_.get(HERE).content.decode()
    assert MARKUP not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 3


def test_a_page_of_many_runs_asks_as_often_as_one_of_one(max_: Client, penguins: Cast) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as asked:
            shown(max_)
        return len(asked)

    def add(number: int) -> None:
        run = new_run(penguins.project, user=penguins.ada, name=f"run {number}")
        for value in (1.0, 2.0):
            log(run, "loss", [value])
            log(run, "acc", [value])

    add(0)
    few = count()
    for number in range(1, 8):
        add(number)
    assert count() == few
    assert few <= 14


def test_a_run_that_sends_no_heartbeats_is_silent_not_crashed(max_: Client, three: list[Run]) -> None:
    assert b"silent" not in max_.get(HERE).content
    long_ago = three[0].created_at.replace(year=2020)
    three[0].lane.__class__.objects.filter(run=three[0]).update(received_at=long_ago)
    assert max_.get(HERE).content.count(b">silent<") == 1


# --- Deleting -------------------------------------------------------------------------------------


def test_a_member_deletes_after_being_asked_and_brings_back(max_: Client, three: list[Run]) -> None:
    chosen = "&".join(f"run={run.run_id}" for run in three[:2])
    asked = max_.get(f"{HERE}delete/?{chosen}")
    assert asked.status_code == 200
    assert len(shown(max_)) == 3  # asking deletes nothing
    ids = re.findall(r'name="run" value="([^"]+)"', asked.content.decode())
    answer = max_.post(f"{HERE}delete/", {"run": ids}, follow=True)
    assert "2 runs are deleted" in answer.content.decode()
    assert shown(max_) == ["Alphabet"]
    max_.post(f"{HERE}deleted/", {"run": ids[:1]})
    assert sorted(shown(max_)) == ["Alphabet", "beta"]


def test_a_viewer_neither_deletes_nor_restores(client: Client, penguins: Cast, three: list[Run]) -> None:
    client.force_login(penguins.vera)
    assert "Delete selected" not in client.get(HERE).content.decode()
    for place in ("delete", "deleted"):
        refused = client.post(f"{HERE}{place}/", {"run": [three[0].run_id]})
        assert refused.status_code == 403
        assert "needs the role" in refused.content.decode()
    assert len(shown(client)) == 3


def test_runs_of_another_project_are_not_reached_from_here(max_: Client, penguins: Cast) -> None:
    from runs.services.projects import create_project

    other = new_run(create_project(penguins.otters, "swim"))
    max_.post(f"{HERE}delete/", {"run": [other.run_id]})
    other.refresh_from_db()
    assert other.deleted_at is None


def test_an_outsider_finds_nothing(client: Client, penguins: Cast, three: Sequence[Run]) -> None:
    client.force_login(penguins.otto)
    for place in ("", "delete/", "deleted/", "compare/"):
        assert client.get(HERE + place).status_code == 404
