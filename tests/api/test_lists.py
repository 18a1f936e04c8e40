"""Lists: pages that neither repeat nor skip, an order, and filters that are known."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection

from runs import clock
from runs.models import Run, RunStatus
from tests.api.house import Api, House
from tests.api.test_isolation import places
from tests.cast import Cast, new_run

pytestmark = pytest.mark.django_db


def pages(api: Api, path: str, *, link: str = "next") -> Iterator[list[int]]:
    """The ids of every page from this one on; more pages than rows are a circle."""
    for _page in range(100):
        answer = api.get(path)
        assert answer.status == 200, answer
        assert set(answer.json) == {"next", "previous", "results"}
        yield [row["id"] for row in answer.json["results"]]
        following = answer.json[link]
        if following is None:
            return
        parts = urlsplit(following)
        assert (parts.scheme, parts.netloc) == ("http", "testserver")
        path = f"{parts.path}?{parts.query}"
    raise AssertionError(f"{path} goes round in circles")


LONG_AGO = '[false, "0001-01-01T00:00:00+23:59", 1]'


def token(text: str) -> str:
    """A cursor as a list writes it, around this JSON."""
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize("ordering", ["", "id", "-name", "status", "-status", "created_at", "status,-name"])
@pytest.mark.parametrize("size", [2, 7])
def test_pages_show_every_row_once_in_order_forward_and_backward(
    penguins: Cast, vera: Api, ordering: str, size: int
) -> None:
    for number in range(7):
        new_run(penguins.project, name=f"run {number % 2}")
    Run.objects.filter(name="run 1").update(status="failed")
    query = f"runs/?page_size={size}" + (f"&ordering={ordering}" if ordering else "")
    order = ordering.split(",") if ordering else ["-id"]
    order += [] if "id" in order[0] else ["-id" if order[0].startswith("-") else "id"]
    expected = list(Run.objects.order_by(*order).values_list("pk", flat=True))

    forward = list(pages(vera, query))
    assert [pk for page in forward for pk in page] == expected
    assert [len(page) for page in forward[:-1]] == [size] * (len(forward) - 1)

    last = query
    while following := vera.get(last).json["next"]:
        last = following.removeprefix("http://testserver")
    backward = list(pages(vera, last, link="previous"))
    assert [pk for page in reversed(backward) for pk in page] == expected


def test_more_equal_rows_than_a_page_holds_are_all_shown(penguins: Cast, vera: Api) -> None:
    Run.objects.bulk_create(
        Run(project=penguins.project, run_id=f"r{number}", name="same", status="running")
        for number in range(1_101)
    )
    seen = [pk for page in pages(vera, "runs/?ordering=name&page_size=50") for pk in page]
    assert len(seen) == len(set(seen)) == 1_101


def test_a_row_that_is_added_meanwhile_shifts_no_page(penguins: Cast, vera: Api) -> None:
    old = [new_run(penguins.project).pk for _number in range(4)]
    first = vera.get("runs/?page_size=2").json
    new_run(penguins.project)
    second = vera.get(first["next"].removeprefix("http://testserver")).json
    assert [row["id"] for row in first["results"] + second["results"]] == old[::-1]


@pytest.mark.parametrize(
    "times", ["created_after=2026-09-01T12:00:00Z", "created_before=2026-09-02T12:00:00Z"]
)
@pytest.mark.parametrize("of_project", [False, True])
def test_between_times_the_newest_are_first_by_their_time(
    penguins: Cast, vera: Api, times: str, of_project: bool
) -> None:
    runs = [new_run(penguins.project, status=RunStatus.PENDING) for _number in range(5)]
    for run, hour in zip(runs, (0, 14, 20, 14, 36), strict=True):
        moment = datetime(2026, 9, 1, tzinfo=UTC) + timedelta(hours=hour)
        Run.objects.filter(pk=run.pk).update(created_at=moment)
    early, second, latest, fourth, late = (run.pk for run in runs)
    between = [late, latest, fourth, second] if "after" in times else [latest, fourth, second, early]
    query = f"runs/?page_size=2&{times}" + (f"&project={penguins.project.pk}" if of_project else "")

    assert list(pages(vera, query)) == [between[:2], between[2:]]
    last = vera.get(query).json["next"].removeprefix("http://testserver")
    assert list(pages(vera, last, link="previous")) == [between[2:], between[:2]]
    by_id = sorted(between, reverse=True)
    for asked in ("ordering=-id", "status=pending"):
        assert list(pages(vera, f"{query}&{asked}")) == [by_id[:2], by_id[2:]]


def test_the_next_takes_the_place_of_a_row_that_is_deleted_while_its_page_is_read(
    penguins: Cast, vera: Api
) -> None:
    oldest, old, doomed, new = (new_run(penguins.project).pk for _number in range(4))
    deleted: list[int] = []

    def delete_in_between(execute: Any, sql: str, *rest: Any) -> Any:
        if '"runs_run"."id" IN (' in sql and not deleted:
            deleted.append(doomed)
            Run.objects.filter(pk=doomed).update(deleted_at=clock.now())
        return execute(sql, *rest)

    with connection.execute_wrapper(delete_in_between):
        first = vera.get("runs/?page_size=2").json
    assert deleted
    assert [row["id"] for row in first["results"]] == [new, old]
    assert list(pages(vera, first["next"].removeprefix("http://testserver"))) == [[oldest]]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page_size=0", "page_size"),
        ("page_size=-1", "page_size"),
        ("page_size=1001", "page_size"),
        ("page_size=ten", "page_size"),
        ("page_size=", "page_size"),
        ("page_size=٣", "page_size"),
        ("page_size=" + "9" * 5000, "page_size"),
        ("ordering=config", "ordering"),
        ("ordering=user__password", "ordering"),
        ("ordering=name,nonsense", "ordering"),
        ("cursor=nonsense", "cursor"),
        ("cursor=é", "cursor"),
        *(
            (f"cursor={token(text)}", "cursor")
            for text in (
                *("null", "7", "[]", "[false]", '[false, "abc"]', "[false, 1, 2]", "[false, {}]"),
                *("[false, 1e999]", "[false, null]", "[" * 5000, "[false, " + "9" * 5000 + "]"),
            )
        ),
        (f"ordering=created_at&cursor={token('[false, 1, 1]')}", "cursor"),
        (f"ordering=created_at&cursor={token(LONG_AGO)}", "cursor"),
        ("nonsense=1", "nonsense"),
        ("format=xml", "format"),
    ],
)
def test_a_query_that_means_nothing_is_refused_by_name(
    penguins: Cast, vera: Api, query: str, field: str
) -> None:
    refused = vera.get(f"runs/?{query}")
    assert refused.status == 400
    assert list(refused.json) == [field]


def test_a_cursor_beyond_every_id_is_the_end(penguins: Cast, vera: Api) -> None:
    new_run(penguins.project)
    high, low = token(f"[false, {10**30}]"), token(f"[false, {-(10**30)}]")
    assert len(vera.listed(f"runs/?cursor={high}")) == 1
    assert vera.get(f"runs/?cursor={low}").json == {"next": None, "previous": None, "results": []}


def test_every_list_has_the_same_form_and_knows_its_filters(ada: Api, ours: House) -> None:
    for place, pk in places(ours).items():
        answer = ada.get(f"{place}/?page_size=1000")
        assert pk in [row["id"] for row in answer.json["results"]]
        if place != "events":
            assert set(answer.json) == {"next", "previous", "results"}
            assert ada.get(f"{place}/?ordering=-id").status == 200
            assert ada.get(f"{place}/?ordering=nonsense").status == 400
            assert ada.get(f"{place}/?cursor=nonsense").status == 400
        refused = ada.get(f"{place}/?nonsense=1")
        assert (refused.status, list(refused.json)) == (400, ["nonsense"]), place


def test_a_query_on_one_object_neither_hides_nor_refuses_it(penguins: Cast, max_: Api) -> None:
    run = new_run(penguins.project)
    assert max_.get(f"runs/{run.pk}/?status=failed&nonsense=1").status == 200
    assert max_.post(f"runs/{run.pk}/restore/?nonsense=1").status == 200
