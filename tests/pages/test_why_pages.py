"""Why an automation fired or did not, read on the pages of runs and of automations."""

from __future__ import annotations

import json
from html import unescape
from typing import Any

import pytest

from automations.models import Automation, Mode
from registry.services.collections import create_collection, set_alias
from registry.services.versions import create_version, link_version
from runs.models import Run
from runs.services.projects import create_project
from runs.services.runs import delete_run
from tests import cast
from tests.automations.planted import KINDS, Watched, scene_of
from tests.cast import Cast, Clock, log, new_run, rule, threshold
from tests.pages.visitors import MARKUP, Visitor, assert_only_text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("calm")]

AVERAGE = threshold("loss", "above", 0.6, aggregation="average", window=3)


def place(automation: Automation, **query: Any) -> str:
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    return f"/automations/{automation.pk}/why/" + (f"?{asked}" if asked else "")


def told(visitor: Visitor, automation: Automation, **query: Any) -> Any:
    """The answer that the page shows, which must be there."""
    answer = visitor.client.get(place(automation, **query))
    assert answer.status_code == 200
    return answer.context["why"]


# --- The answer -----------------------------------------------------------------------------------


def test_a_run_that_came_near_is_told_and_drawn_with_the_step(penguins: Cast) -> None:
    made = rule(penguins.project, "run_metric_threshold", AVERAGE)
    run = new_run(penguins.project, name="exp-1")
    log(run, "loss", [0.1, 0.3, 0.5, 0.7, 0.2, 0.1], first_step=10)
    cast.decide()
    why = told(Visitor(penguins.vera), made, run=run.pk)
    assert not why.fired
    assert "the closest was 0.5 at step 13" in why.text
    drawing = json.loads(why.drawing.as_json)
    averages, values = drawing["lines"]
    assert (averages["label"], values["label"]) == ("average(loss, 3)", "loss")
    assert averages["steps"] == [10, 11, 12, 13, 14, 15]
    assert averages["values"][:2] == [None, None]  # the window is not full there
    assert averages["values"][3] == 0.5
    assert values["values"] == [0.1, 0.3, 0.5, 0.7, 0.2, 0.1]
    assert [mark["step"] for mark in drawing["marks"]] == [13]
    assert [line["value"] for line in drawing["thresholds"]] == [0.6]


def test_the_numbers_around_it_are_read_without_scripts(penguins: Cast) -> None:
    made = rule(penguins.project, "run_metric_threshold", AVERAGE)
    run = new_run(penguins.project)
    log(run, "loss", [number / 100 for number in range(50)], first_step=0)
    cast.decide()
    page = Visitor(penguins.vera).sees(place(made, run=run.pk))
    rows = told(Visitor(penguins.vera), made, run=run.pk).drawing.rows
    assert [(step, is_it) for step, _values, is_it in rows][-1] == (49, True)
    assert len(rows) == 6
    assert '<th scope="row">49 ◂</th><td>0.48</td><td>0.49</td>' in page


@pytest.mark.parametrize("kind", ["change", "values"])
def test_a_change_and_a_score_are_drawn_with_both_their_borders(
    penguins: Cast, clock: Clock, kind: str
) -> None:
    watched: Watched = KINDS[kind]
    scene = scene_of(penguins, clock, kind)
    made = scene.rule(direction="any" if kind == "change" else "either")
    run = scene.run(watched.cold)
    cast.decide()
    drawing = told(Visitor(penguins.vera), made, run=run.pk).drawing
    amount = watched.config["threshold"]
    assert sorted(border.value for border in drawing.thresholds) == [-amount, amount]
    assert len(drawing.lines) == 1  # it is of another kind than the metric itself
    assert drawing.lines[0].values[drawing.at] is not None


def test_what_fired_leads_to_what_it_did(penguins: Cast) -> None:
    made = rule(penguins.project, "run_metric_threshold", threshold())
    run = new_run(penguins.project)
    log(run, "loss", [0.9])
    cast.decide()
    why = told(Visitor(penguins.vera), made, run=run.pk)
    assert why.fired
    assert f'href="/executions/{why.execution.pk}/"' in Visitor(penguins.vera).sees(place(made, run=run.pk))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"metric": "lost"}, "the run never logged “lost”; it did log “loss”"),
        ({"user": "ada"}, "the rule watches runs of “ada”"),
        ({"run_name": "^foo"}, "the run's name “exp-1” does not match ^foo"),
        ({"aggregation": "average", "window": 9}, "2 of 9 values"),
    ],
)
def test_the_first_stop_is_told_in_words(penguins: Cast, options: dict[str, Any], says: str) -> None:
    made = rule(penguins.project, "run_metric_threshold", {**threshold(), **options})
    run = new_run(penguins.project, user=penguins.max, name="exp-1")
    log(run, "loss", [0.5, 0.4])
    cast.decide()
    why = told(Visitor(penguins.vera), made, run=run.pk)
    assert says in why.text
    assert why.drawing is None


# --- Versions -------------------------------------------------------------------------------------


def test_of_a_version_the_closest_name_is_told(penguins: Cast) -> None:
    fish = cast.collection(penguins.project, "fish")
    made = rule(penguins.project, "alias_added", {"alias": "^production$"})
    version, _created = create_version(fish, actor=None, aliases=["best", "Productions"])
    set_alias(fish, "zulu", version, actor=None)
    cast.decide()
    why = told(Visitor(penguins.vera), made, version=version.pk)
    assert "the closest is “Productions”" in why.text
    assert "“best”" in why.text
    assert why.subject.name == "fish:v0"


def test_names_that_are_nothing_like_it_are_told_without_a_closest(penguins: Cast) -> None:
    fish = cast.collection(penguins.project, "fish")
    made = rule(penguins.project, "tag_added", {"tag": "^production$"})
    version, _created = create_version(fish, actor=None, tags=["xyz"])
    cast.decide()
    why = told(Visitor(penguins.vera), made, version=version.pk)
    assert why.text == "“xyz” does not match ^production$"


def test_versions_are_found_by_name_and_number(penguins: Cast) -> None:
    fish, krill = (cast.collection(penguins.project, name) for name in ("fish", "krill"))
    made = rule(penguins.project, "alias_added", {"alias": "."})
    for where in (fish, krill):
        for digest in "ab":
            create_version(where, actor=None, digest=digest)
    visitor = Visitor(penguins.vera)

    def found(text: str) -> list[str]:
        page = visitor.client.get(place(made, q=text))
        return [each.name for each in page.context["offered"]]

    assert found("") == ["krill:v1", "krill:v0", "fish:v1", "fish:v0"]
    assert found("FISH") == ["fish:v1", "fish:v0"]
    assert found("fish:v0") == ["fish:v0"]
    assert found("fish:0") == ["fish:v0"]
    assert found("fish:v7") == []


def test_a_registry_offers_what_is_linked_to_it(penguins: Cast) -> None:
    shelf = create_collection(cast.registry("models", owner=penguins.ada), "shelf", actor=None)
    version, _created = create_version(cast.collection(penguins.project, "fish"), actor=None)
    made = rule(shelf.registry, "version_linked", {})  # type: ignore[arg-type]
    assert Visitor(penguins.ada).client.get(place(made)).context["offered"] == []
    link_version(shelf, version, actor=None)
    cast.decide()
    (each,) = Visitor(penguins.ada).client.get(place(made)).context["offered"]
    assert (each.name, each.fired) == ("shelf:v0", True)


def test_a_rule_on_collections_has_nothing_to_choose(penguins: Cast) -> None:
    made = rule(penguins.project, "collection_created", {})
    assert "It watches collections as a whole" in Visitor(penguins.vera).sees(place(made))


# --- Choosing -------------------------------------------------------------------------------------


def test_the_newest_runs_are_offered_and_others_found_by_name_and_id(penguins: Cast) -> None:
    made = rule(penguins.project, "run_metric_threshold", threshold())
    runs = [new_run(penguins.project, name=f"exp-{number}") for number in range(12)]
    elsewhere = new_run(create_project(penguins.team, "swim"), name="far-off")
    log(runs[3], "loss", [0.9])
    cast.decide()
    visitor = Visitor(penguins.vera)

    def found(text: str = "") -> dict[str, bool]:
        page = visitor.client.get(place(made, q=text))
        return {each.name: each.fired for each in page.context["offered"]}

    assert list(found()) == [f"exp-{number}" for number in range(11, 1, -1)]
    assert found()["exp-3"] is True
    assert found()["exp-4"] is False
    assert found("exp-11") == {"exp-11": False}
    assert found(runs[0].run_id) == {"exp-0": False}
    assert found("no such run") == {}
    assert found("far") == {"far-off": False}
    assert "this is not in it" in told(visitor, made, run=elsewhere.pk).text


def test_the_automations_page_asks_the_same(penguins: Cast) -> None:
    made = rule(penguins.project, "run_metric_threshold", threshold())
    page = Visitor(penguins.vera).sees(f"/automations/{made.pk}/")
    assert "There is no run yet that it watches." in page
    run = new_run(penguins.project, name="exp-1")
    assert place(made, run=run.pk) in Visitor(penguins.vera).sees(f"/automations/{made.pk}/")


# --- On the page of a run -------------------------------------------------------------------------


def test_a_run_shows_which_rules_watch_it_and_whether_they_fired(penguins: Cast) -> None:
    fires = rule(penguins.project, "run_metric_threshold", threshold(), name="too high")
    cold = rule(penguins.team, "run_metric_threshold", threshold(value=5), name="much too high")
    rule(penguins.project, "version_added", {}, name="of versions")
    rule(create_project(penguins.team, "swim"), "run_metric_threshold", threshold(), name="elsewhere")
    run = new_run(penguins.project)
    log(run, "loss", [0.9])
    cast.decide()
    page = Visitor(penguins.vera).client.get(run.page).content.decode()
    shown = page[page.index("Automations that watch it") :]
    assert shown.index("much too high") < shown.index("Did not fire") < shown.index("<strong>too high")
    for made in (fires, cold):
        assert f'hx-get="{place(made, run=run.pk)}"' in shown
    assert "elsewhere" not in shown
    assert "of versions" not in shown


def test_a_rule_that_was_edited_since_has_not_fired_yet(penguins: Cast, clock: Clock) -> None:
    made = rule(penguins.project, "run_metric_threshold", threshold(), period=0)
    run = new_run(penguins.project)
    log(run, "loss", [0.9])
    cast.decide()
    assert ">▼ Fired<" in Visitor(penguins.vera).sees(run.page)
    Automation.objects.filter(pk=made.pk).update(armed_at=clock.move(seconds=1))
    assert ">▼ Fired<" not in Visitor(penguins.vera).sees(run.page)
    assert "Did not fire" in Visitor(penguins.vera).sees(run.page)


# --- Who may ask, and at what price ---------------------------------------------------------------


def test_only_who_sees_both_is_answered(penguins: Cast) -> None:
    made = rule(penguins.project, "run_metric_threshold", threshold())
    run = new_run(penguins.project)
    foreign = new_run(create_project(penguins.otters, "raft"), name="raft-1")
    assert Visitor().status(place(made, run=run.pk)) == 302
    assert Visitor(penguins.vera).status(place(made, run=run.pk)) == 200
    assert Visitor(penguins.otto).status(place(made, run=run.pk)) == 404
    assert Visitor(penguins.vera).status(place(made, run=foreign.pk)) == 404
    assert "raft-1" not in Visitor(penguins.vera).sees(place(made, q="raft"))


@pytest.mark.parametrize("query", ["run=0", "run=x", "run=99999999999999999999", "version=1", "run="])
def test_what_is_not_there_is_not_found(penguins: Cast, query: str) -> None:
    made = rule(penguins.project, "run_metric_threshold", threshold())
    assert Visitor(penguins.vera).status(f"/automations/{made.pk}/why/?{query}") == 404


def test_a_deleted_run_is_not_found(penguins: Cast) -> None:
    made = rule(penguins.project, "run_metric_threshold", threshold())
    run = new_run(penguins.project)
    delete_run(run)
    assert Visitor(penguins.vera).status(place(made, run=run.pk)) == 404


def test_hostile_names_stay_text(penguins: Cast) -> None:
    made = rule(
        penguins.project, "run_metric_threshold", threshold(MARKUP, value=5), name=MARKUP, mode=Mode.ACTIVE
    )
    run = new_run(penguins.project, name=MARKUP)
    log(run, MARKUP, [0.5])
    cast.decide()
    page = Visitor(penguins.vera).sees(place(made, run=run.pk))
    assert "data-drawing" in page
    assert_only_text(page)
    assert_only_text(Visitor(penguins.vera).sees(run.page))
    assert MARKUP in unescape(page)


def test_more_runs_rules_and_values_cost_no_more_queries(penguins: Cast) -> None:
    visitor = Visitor(penguins.vera)
    made = rule(penguins.project, "run_metric_threshold", AVERAGE)

    def add() -> Run:
        run = new_run(penguins.project)
        for _batch in range(3):
            log(run, "loss", [0.5, 0.4, 0.3])
        log(run, "loss", [0.9, 0.9, 0.9])
        rule(penguins.team, "run_metric_threshold", threshold())
        cast.decide()
        return run

    run = add()
    asked = [f"/automations/{made.pk}/", place(made), place(made, run=run.pk), run.page]
    few = [visitor.queries(each) for each in asked]
    for _number in range(4):
        add()
    assert [visitor.queries(each) for each in asked] == few
