"""The page of a run, comparing runs and the search box, without a browser."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from automations.models import Mode
from runs.models import Run
from runs.services.projects import create_project
from runs.services.runs import delete_run, start_run
from tests import cast
from tests.cast import Cast, collection, log, new_run, rule, threshold

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("calm")]

HERE = "/penguins/waddle/"


@pytest.fixture
def vera(penguins: Cast, client: Client) -> Client:
    """Somebody who may look."""
    client.force_login(penguins.vera)
    return client


@pytest.fixture
def run(penguins: Cast) -> Run:
    return new_run(penguins.project, user=penguins.max, name="exp-1")


def live(client: Client, run: Run) -> dict[str, Any]:
    answer = client.get(f"{run.page}live/")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def queries(client: Client, place: str) -> int:
    with CaptureQueriesContext(connection) as asked:
        assert client.get(place).status_code == 200
    return len(asked)


# --- The page of a run ----------------------------------------------------------------------------


def test_metrics_are_grouped_by_what_stands_before_the_slash(vera: Client, run: Run) -> None:
    for name in ("val/acc", "loss", "train/loss", "val/a/b", "lr"):
        log(run, name, [1.0])
    log(run, "cpu", [50.0], source="system")
    page = vera.get(run.page)
    groups = [(group.prefix, [row.name for row in group.rows]) for group in page.context["groups"]]
    assert groups == [("", ["loss", "lr"]), ("train", ["train/loss"]), ("val", ["val/a/b", "val/acc"])]
    assert [row.name for row in page.context["system"]] == ["cpu"]


def test_it_can_be_read_without_scripts(vera: Client, run: Run) -> None:
    log(run, "loss", [3, 1, 2, "-Infinity"])
    page = vera.get(run.page).content.decode()
    assert "last -Infinity · min 1 · max 3" in page
    assert "<td>-Infinity</td><td>1</td><td>3</td><td>4</td>" in page


def test_the_config_is_shown_flat(vera: Client, penguins: Cast) -> None:
    config = {"b": {"x": [1, 2], "empty": {}}, "a": "text", "n": None}
    run, _created = start_run(penguins.project, None, config=config)
    assert vera.get(run.page).context["config"] == [
        ("a", "text"),
        ("b.empty", "{}"),
        ("b.x", "[1, 2]"),
        ("n", "null"),
    ]


def test_a_run_of_thousands_of_metrics_shows_the_first_charts_and_finds_the_others(
    vera: Client, run: Run
) -> None:
    cast.log_points(run, [{"values": {f"m{number:04}": 1 for number in range(400)}}])
    page = vera.get(run.page)
    assert page.content.count(b"<figure") == 300
    assert page.context["left_out"] == 100
    assert vera.get(f"{run.page}?metrics=m039").content.count(b"<figure") == 10


def test_a_deleted_run_has_no_page(vera: Client, run: Run) -> None:
    assert vera.get(run.page).status_code == 200
    delete_run(run)
    for place in ("", "series/?name=loss", "live/"):
        assert vera.get(run.page + place).status_code == 404


@pytest.mark.parametrize("place", ["", "series/?name=loss", "live/"])
def test_an_outsider_finds_nothing_of_it(client: Client, penguins: Cast, run: Run, place: str) -> None:
    log(run, "loss", [1.0])
    client.force_login(penguins.vera)
    assert client.get(run.page + place).status_code == 200
    client.force_login(penguins.otto)
    assert client.get(run.page + place).status_code == 404


def test_more_metrics_and_firings_cost_no_more_queries(vera: Client, penguins: Cast, run: Run) -> None:
    rule(penguins.project, "run_metric_threshold", threshold("m0", value=0.5), period=0)
    log(run, "m0", [1.0])
    cast.decide()
    few = queries(vera, run.page), queries(vera, f"{run.page}live/")
    for number in range(8):
        rule(penguins.project, "run_metric_threshold", threshold(f"m{number}", value=0.6), period=0)
        log(run, f"m{number}", [1.0])
    cast.decide()
    assert (queries(vera, run.page), queries(vera, f"{run.page}live/")) == few
    assert len(live(vera, run)["marks"]) == 10


# --- What charts ask for --------------------------------------------------------------------------


def test_a_series_is_thinned_to_what_was_asked_for_and_says_what_is_no_number(vera: Client, run: Run) -> None:
    log(run, "loss", [*range(1000), "NaN", 7], first_step=0)
    whole = vera.get(f"{run.page}series/?name=loss&max_points=50").json()
    assert len(whole["steps"]) <= 50
    assert "NaN" in whole["values"]
    part = vera.get(f"{run.page}series/?name=loss&step_min=10&step_max=12").json()
    assert (part["steps"], part["values"]) == ([10, 11, 12], [10, 11, 12])
    assert part["text"] == "last 7 · min 0 · max 999"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("?name=loss&max_points=0", 400),
        ("?name=loss&step_min=x", 400),
        ("?name=loss&source=elsewhere", 400),
        ("?name=loss&colour=red", 400),
        ("?name=other", 404),
        ("?name=loss&source=system", 404),
        ("?name=loss&step_min=99", 200),
    ],
)
def test_a_question_without_sense_is_refused(vera: Client, run: Run, query: str, status: int) -> None:
    log(run, "loss", [1.0])
    assert vera.get(f"{run.page}series/{query}").status_code == status


def test_how_a_run_stands_is_its_status_and_how_much_there_is(vera: Client, run: Run) -> None:
    log(run, "loss", [1.0, 2.0])
    log(run, "cpu", [1.0], source="system")
    found = live(vera, run)
    assert (found["status"], found["over"]) == ("running", False)
    assert found["counts"] == {"history/loss": 2, "system/cpu": 1}


# --- What automations draw ------------------------------------------------------------------------


def test_a_firing_marks_its_metric_and_step_and_its_threshold_is_drawn(
    vera: Client, penguins: Cast, run: Run
) -> None:
    made = rule(penguins.project, "run_metric_threshold", threshold("loss", value=0.6), name="too high")
    log(run, "loss", [0.5, 0.7, 0.8], first_step=10)
    cast.decide()
    found = live(vera, run)
    (mark,) = found["marks"]  # the daily limit held the third value back
    assert (mark["source"], mark["metric"], mark["step"], mark["label"]) == (
        "history",
        "loss",
        11,
        "too high",
    )
    assert vera.get(mark["url"]).status_code == 200
    (line,) = found["thresholds"]
    assert (line["metric"], line["value"], line["url"]) == ("loss", 0.6, f"/automations/{made.pk}/")


@pytest.mark.parametrize(
    ("metric", "options", "drawn"),
    [
        ("loss", {}, "history/loss"),
        ("cpu", {}, "system/cpu"),
        ("system.cpu", {}, "system/cpu"),
        ("loss", {"source": "system"}, "system/loss"),
        ("loss", {"user": "max"}, "history/loss"),
        ("loss", {"user": "ada"}, ""),
        ("loss", {"run_name": "^exp-"}, "history/loss"),
        ("loss", {"run_name": "^foo"}, ""),
    ],
)
def test_a_threshold_is_drawn_for_the_runs_that_its_rule_watches(
    vera: Client, penguins: Cast, run: Run, metric: str, options: dict[str, Any], drawn: str
) -> None:
    log(run, "loss", [0.1])
    log(run, "cpu", [0.1], source="system")
    rule(penguins.project, "run_metric_threshold", threshold(metric, **options))
    found = [f"{line['source']}/{line['metric']}" for line in live(vera, run)["thresholds"]]
    assert found == ([drawn] if drawn else [])


def test_rules_that_are_off_or_elsewhere_draw_nothing(vera: Client, penguins: Cast, run: Run) -> None:
    elsewhere = create_project(penguins.team, "swim")
    rule(elsewhere, "run_metric_threshold", threshold())
    off = rule(penguins.project, "run_metric_threshold", threshold(), mode=Mode.DISABLED)
    log(run, "loss", [0.7])
    cast.decide()
    assert live(vera, run)["thresholds"] == []
    off.__class__.objects.filter(pk=off.pk).update(mode=Mode.ACTIVE)
    assert len(live(vera, run)["thresholds"]) == 1


def test_a_run_that_diverges_is_marked_where_it_does(vera: Client, penguins: Cast, run: Run) -> None:
    rule(penguins.project, "run_metric_nonfinite", {})
    log(run, "loss", [1, "NaN"], first_step=0)
    cast.decide()
    (mark,) = live(vera, run)["marks"]
    assert (mark["metric"], mark["step"]) == ("loss", 1)


# --- Comparing ------------------------------------------------------------------------------------


def test_runs_are_compared_by_what_each_logged_and_was_told(vera: Client, penguins: Cast) -> None:
    runs = [
        start_run(penguins.project, None, run_id=name, name=name, config=config)[0]
        for name, config in [("a", {"lr": 1, "seed": 7}), ("b", {"lr": 2, "seed": 7}), ("c", {"seed": 7})]
    ]
    log(runs[0], "loss", [0.5])
    log(runs[2], "loss", [0.25])
    log(runs[1], "acc", [1.0])
    page = vera.get(f"{HERE}compare/?run=c&run=a&run=b&run=a&run=nobody")
    assert [run.name for run in page.context["runs"]] == ["c", "a", "b"]  # as they were asked for
    assert [(row.key, list(row.texts)) for row in page.context["different"]] == [("lr", [None, "1", "2"])]
    assert [row.key for row in page.context["equal"]] == ["seed"]
    shared = {row.name: (row.lines, list(row.last)) for row in page.context["shared"]}
    assert shared == {"acc": ("2", [None, None, 1.0]), "loss": ("0 1", [0.25, 0.5, None])}


def test_at_most_ten_are_compared_and_ten_cost_as_many_queries_as_one(vera: Client, penguins: Cast) -> None:
    runs = [new_run(penguins.project) for _number in range(12)]
    for run in runs:
        log(run, "loss", [1.0])
    place = f"{HERE}compare/?" + "&".join(f"run={run.run_id}" for run in runs)
    page = vera.get(place)
    assert len(page.context["runs"]) == 10
    assert "The first 10 of them are shown." in page.content.decode()
    assert queries(vera, place) == queries(vera, f"{HERE}compare/?run={runs[0].run_id}")


def test_runs_of_other_projects_are_not_compared_here(vera: Client, penguins: Cast) -> None:
    other = new_run(create_project(penguins.team, "swim"))
    page = vera.get(f"{HERE}compare/?run={other.run_id}")
    assert page.context["runs"] == []
    assert b"Select runs in the table first." in page.content


# --- The search box and the first page ------------------------------------------------------------


def test_the_search_box_finds_by_name_what_one_may_see(client: Client, penguins: Cast) -> None:
    new_run(penguins.project, name="Blue Fin")
    collection(penguins.project, "finder")
    rule(penguins.project, "run_metric_threshold", threshold(), name="fin is up")
    create_project(penguins.team, "final")
    create_project(penguins.otters, "fins of otters")

    def found(place: str) -> list[tuple[str, str]]:
        return [(hit.kind, hit.name) for hit in client.get(place).context["hits"]]

    client.force_login(penguins.vera)
    assert found("/search/?q=FIN") == [
        ("Project", "final"),
        ("Run", "Blue Fin"),
        ("Collection", "finder"),
        ("Automation", "fin is up"),
    ]
    assert all(client.get(hit.url).status_code == 200 for hit in client.get("/search/?q=fin").context["hits"])
    assert found("/search/?q=+") == []
    client.force_login(penguins.otto)
    assert found("/search/?q=fin") == [("Project", "fins of otters")]


def test_a_run_is_found_by_its_id(vera: Client, run: Run) -> None:
    assert [hit.name for hit in vera.get(f"/search/?q={run.run_id}").context["hits"]] == ["exp-1"]


def test_the_first_page_costs_as_many_queries_with_many_projects(vera: Client, penguins: Cast) -> None:
    def add(number: int) -> None:
        run = new_run(create_project(penguins.team, f"project {number}"), user=penguins.max)
        rule(run.project, "run_metric_threshold", threshold(), name=f"rule {number}")
        log(run, "loss", [1.0])
        cast.decide()

    add(0)
    few = queries(vera, "/"), queries(vera, "/penguins/"), queries(vera, "/search/?q=project")
    for number in range(1, 6):
        add(number)
    many = queries(vera, "/"), queries(vera, "/penguins/"), queries(vera, "/search/?q=project")
    assert many == few


def test_somebody_without_runs_is_shown_how_to_log_one(vera: Client, client: Client, penguins: Cast) -> None:
    for place in ("/", "/penguins/waddle/"):
        assert "tripline.init(project=" in vera.get(place).content.decode()
    client.force_login(cast.person("loner"))
    assert b"You are in no team yet. Ask an admin" in client.get("/").content
