"""A rule that is being written is tried on stored runs, before it is saved."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from pytest_django import Settings

from automations.backtests import jobs
from automations.models import Automation, Backtest, BacktestState, Execution
from automations.services import backtests
from registry.services.collections import set_alias
from registry.services.versions import create_version
from runs.models import Run, RunStatus
from runs.services.projects import create_project
from runs.services.runs import set_status
from tests import cast
from tests.cast import Cast, Clock, log, new_run
from tests.pages.visitors import MARKUP, Visitor, assert_only_text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("calm")]

TRY = "/automations/preview/"


def written(place: Any, event: str = "run_metric_threshold", **condition: Any) -> dict[str, str]:
    """What a browser posts of the form, as far as it decides when the rule fires."""
    high = {"metric": "loss", "aggregation": "none", "window": 5, "comparison": "above", "threshold": 0.6}
    given = {"source": "auto", "warmup": 0, "hold": 1, **high} if event == "run_metric_threshold" else {}
    fields = {f"condition-{name}": str(value) for name, value in {**given, **condition}.items()}
    scope = f"{place._meta.model_name}:{place.pk}"
    return {"event": event, "scope": scope, "condition-shown": event, "period": "86400", **fields}


def shown(visitor: Visitor, place: str, **fields: str) -> Any:
    """The part of the page that answers."""
    answer = visitor.client.post(place, fields, headers={"HX-Request": "true"})
    assert answer.status_code == 200, answer.content
    return answer


def text(answer: Any) -> str:
    """As it is read."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", answer.content.decode())))


@pytest.fixture
def season(penguins: Cast, clock: Clock) -> dict[str, Run]:
    """Two runs that failed, one of them caught; two that finished, one of them disturbed; one of others."""
    runs = {}
    for name, values, status in [
        ("calm", [0.1, 0.2, 0.3], RunStatus.FINISHED),
        ("wild", [0.1, 0.7, 0.3, 0.2], RunStatus.FINISHED),
        ("burst", [0.1, 0.9, 1.0, 1.1], RunStatus.FAILED),
        ("quiet", [0.1, 0.1], RunStatus.CRASHED),
    ]:
        runs[name] = run = new_run(penguins.project, name=name)
        for value in values:
            log(run, "loss", [value])
            clock.move(seconds=90)
        set_status(run, status, actor=None)
    runs["other"] = new_run(penguins.project, name="other")
    log(runs["other"], "accuracy", [0.9])
    return runs


# --- What is said ---------------------------------------------------------------------------------


def test_it_says_on_how_many_runs_it_would_have_fired_and_what_it_would_have_been_good_for(
    penguins: Cast, season: dict[str, Run]
) -> None:
    answer = shown(Visitor(penguins.max), TRY, **written(penguins.project))
    said = text(answer)
    assert "It would have fired on 2 of 5 runs in the last 30 days." in said
    assert (
        "It would have caught 1 of 2 failed or crashed runs, typically 2 steps (4 min) before their end."
        in said
    )
    assert "It would have disturbed 1 of 2 runs that finished well." in said
    assert "2 more matches would have been held back" in said
    assert "1 run could not be judged: the metric was never logged." in said
    assert [tried.run.name for tried in answer.context["preview"].fired] == ["burst", "wild"]
    assert "loss = 0.9 > 0.6 at step 1" in said
    assert not Automation.objects.exists()
    assert not Execution.objects.exists()
    assert not Backtest.objects.exists()


def test_the_first_run_on_which_it_would_have_fired_is_drawn_with_markers_and_threshold(
    penguins: Cast, season: dict[str, Run]
) -> None:
    answer = shown(Visitor(penguins.max), TRY, **{**written(penguins.project), "period": "0"})
    drawing = json.loads(answer.context["preview"].drawing.as_json)
    assert drawing["title"] == "burst: loss"
    assert drawing["lines"][0]["values"] == [0.1, 0.9, 1.0, 1.1]
    assert [mark["step"] for mark in drawing["marks"]] == [1, 2, 3]
    assert [border["value"] for border in drawing["thresholds"]] == [0.6]


def test_another_run_is_drawn_on_demand(penguins: Cast, season: dict[str, Run]) -> None:
    visitor, fields = Visitor(penguins.max), written(penguins.project)
    wild = str(season["wild"].pk)
    part = shown(visitor, f"{TRY}run/", **fields, **{"try": wild})
    assert part.context["drawing"].title == "wild: loss"
    assert [mark.step for mark in part.context["drawing"].marks] == [1]
    whole = shown(visitor, TRY, **fields, **{"try": wild})  # as without scripts
    assert whole.context["preview"].drawing.title == "wild: loss"


def test_what_is_compared_is_drawn_before_the_values_it_is_made_of(
    penguins: Cast, season: dict[str, Run]
) -> None:
    fields = written(penguins.project, aggregation="average", window=2, threshold=0.45)
    drawing = shown(Visitor(penguins.max), TRY, **fields).context["preview"].drawing
    averages, values = drawing.lines
    assert (averages.label, averages.values) == ("average(loss, 2)", [None, 0.5, 0.95, 1.05])
    assert (values.label, values.faint) == ("loss", True)


def test_of_a_rule_on_any_metric_the_one_that_diverged_is_drawn(penguins: Cast) -> None:
    run = new_run(penguins.project, name="wreck")
    log(run, "val/loss", [1, 2, "NaN", 3], first_step=0)
    fields = written(penguins.project, "run_metric_nonfinite", source="auto", warmup=0, hold=1)
    preview = shown(Visitor(penguins.max), TRY, **fields).context["preview"]
    assert preview.drawing.title == "wreck: val/loss"
    assert preview.drawing.lines[0].values == [1, 2, "NaN", 3]
    assert [mark.step for mark in preview.drawing.marks] == [2]


def test_a_rule_on_a_status_has_sentences_and_no_picture(penguins: Cast, season: dict[str, Run]) -> None:
    fields = written(penguins.project, "run_status", statuses="failed")
    answer = shown(Visitor(penguins.max), TRY, **fields)
    assert "It would have fired on 2 of 5 runs" in text(answer)
    assert answer.context["preview"].drawing is None


@pytest.mark.parametrize(
    ("condition", "warning"),
    [
        ({"metric": "lost"}, "It never fires: no run logged “lost”. Runs did log “loss”."),
        ({"threshold": -1}, "It fires on nearly every run: 4 of 4."),
        ({"aggregation": "average", "window": 50}, "It never fires: it looks at 50 values"),
        ({"run_name": "^nobody"}, "It never fires: no run has a name that matches ^nobody."),
    ],
)
def test_a_rule_that_never_or_always_fires_is_warned_of(
    penguins: Cast, season: dict[str, Run], condition: dict[str, Any], warning: str
) -> None:
    for run in list(season.values())[:2]:  # so that there are enough to judge by
        log(run, "loss", [0.1])
    extra = new_run(penguins.project, name="extra")
    log(extra, "loss", [0.1])
    said = text(shown(Visitor(penguins.max), TRY, **written(penguins.project, **condition)))
    assert warning.replace("4 of 4", "5 of 5") in said


def test_a_run_that_came_near_can_be_looked_at_too(penguins: Cast, season: dict[str, Run]) -> None:
    preview = shown(Visitor(penguins.max), TRY, **written(penguins.project, threshold=9)).context["preview"]
    assert preview.fired == []
    assert [tried.run.name for tried in preview.others] == ["other", "quiet", "burst", "wild", "calm"]
    assert preview.others[1].text == "the condition was never met"


def test_a_span_is_chosen(penguins: Cast, season: dict[str, Run], clock: Clock) -> None:
    Run.objects.update(created_at=clock.moment - timedelta(days=20))
    visitor, fields = Visitor(penguins.max), written(penguins.project)
    assert "It would have fired on 2 of 5 runs in the last 30 days." in text(shown(visitor, TRY, **fields))
    assert "on 0 of 0 runs in the last 7 days." in text(shown(visitor, TRY, **fields, days="7"))
    assert "in the last 90 days" in text(shown(visitor, TRY, **fields, days="90"))
    assert "in the last 30 days" in text(shown(visitor, TRY, **fields, days="5000"))


def test_without_any_run_it_says_so(penguins: Cast) -> None:
    said = text(shown(Visitor(penguins.max), TRY, **written(penguins.project)))
    assert "There was no run in this time to try the rule on." in said


# --- What is not complete, and what is no rule on runs --------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"event": ""}, "As soon as event, scope and condition are complete"),
        ({"scope": ""}, "As soon as event, scope and condition are complete"),
        ({"condition-threshold": ""}, "As soon as event, scope and condition are complete"),
        ({"condition-threshold": "high"}, "Enter a number."),
        ({"condition-run_name": "("}, "missing )"),
        ({"condition-window": "0"}, "greater than or equal to 1"),
    ],
)
def test_what_is_wrong_is_said_and_what_is_missing_only_waited_for(
    penguins: Cast, changes: dict[str, str], says: str
) -> None:
    said = text(shown(Visitor(penguins.max), TRY, **{**written(penguins.project), **changes}))
    assert says in said
    assert "It would have fired" not in said


def test_a_rule_on_artifacts_is_tried_on_what_happened_to_them(penguins: Cast) -> None:
    fish = cast.collection(penguins.project, "fish")
    version, _created = create_version(fish, actor=None)
    elsewhere = cast.collection(create_project(penguins.team, "swim"), "krill")
    set_alias(elsewhere, "production", create_version(elsewhere, actor=None)[0], actor=None)
    for alias in ("production", "staging", "production-2"):
        set_alias(fish, alias, version, actor=None)
    answer = shown(Visitor(penguins.max), TRY, **written(fish, "alias_added", alias="^production"))
    said = text(answer)
    assert "It would have fired 2 times. Such changes in its scope in the last 30 days: 4." in said
    assert "“production-2” matches ^production" in said
    assert "kept for" not in said
    longer = shown(Visitor(penguins.max), TRY, **written(fish, "alias_added", alias="x"), days="90")
    assert "What happened to artifacts is kept for 30 days." in text(longer)


# --- Jobs -----------------------------------------------------------------------------------------


@pytest.fixture
def later(settings: Settings) -> None:
    """Nothing is done at once."""
    settings.TRIPLINE_BACKTEST_AT_ONCE = 0


def worked_on(job: Backtest) -> None:
    lease = backtests.claim(job.pk)
    assert lease is not None
    jobs.work(job.pk, lease)


@pytest.mark.usefixtures("later")
def test_a_long_one_says_how_far_it_is_until_it_is_done(penguins: Cast, season: dict[str, Run]) -> None:
    visitor = Visitor(penguins.max)
    first = shown(visitor, TRY, **written(penguins.project))
    job = Backtest.objects.get()
    place = f"{TRY}{job.pk}/"
    assert "0 of 5 runs looked at" in text(first)
    assert f'hx-get="{place}"' in first.content.decode()
    assert "Cancel" in text(first)
    worked_on(job)
    done = visitor.client.get(place, headers={"HX-Request": "true"})
    assert "It would have fired on 2 of 5 runs" in text(done)
    assert done.context["preview"].drawing.title == "burst: loss"
    assert "every 1s" not in done.content.decode()


@pytest.mark.usefixtures("later")
def test_a_picture_that_is_there_is_not_drawn_anew(penguins: Cast, season: dict[str, Run]) -> None:
    visitor = Visitor(penguins.max)
    shown(visitor, TRY, **written(penguins.project))
    job = Backtest.objects.get()
    worked_on(job)
    Backtest.objects.update(state=BacktestState.RUNNING)
    burst = season["burst"].pk
    moving = visitor.client.get(f"{TRY}{job.pk}/?drawn={burst}", headers={"HX-Request": "true"})
    assert moving.context["preview"].drawing is None
    assert f'hx-get="{TRY}{job.pk}/?drawn={burst}"' in moving.content.decode()
    assert "hx-select-oob" not in moving.content.decode()


@pytest.mark.usefixtures("later")
def test_it_can_be_cancelled_and_keeps_what_it_found(penguins: Cast, season: dict[str, Run]) -> None:
    visitor = Visitor(penguins.max)
    shown(visitor, TRY, **written(penguins.project))
    job = Backtest.objects.get()
    said = text(shown(visitor, f"{TRY}{job.pk}/cancel/"))
    assert "Cancelled. Until then: It would have fired on 0 of 0 runs" in said
    assert Backtest.objects.get().state == BacktestState.CANCELLED
    assert backtests.claim(job.pk) is None


@pytest.mark.usefixtures("later")
def test_a_new_edit_ends_the_older_job(penguins: Cast, season: dict[str, Run], settings: Settings) -> None:
    visitor = Visitor(penguins.max)
    for threshold in ("0.5", "0.6"):
        shown(visitor, TRY, **{**written(penguins.project), "condition-threshold": threshold})
    older, newer = Backtest.objects.order_by("pk")
    assert (older.state, newer.state) == (BacktestState.CANCELLED, BacktestState.PENDING)
    shown(visitor, TRY, **{**written(penguins.project), "condition-threshold": ""})
    newer.refresh_from_db()
    assert newer.state == BacktestState.CANCELLED, "what it tried is not wanted any more"
    shown(visitor, TRY, **written(penguins.project))
    settings.TRIPLINE_BACKTEST_AT_ONCE = 10
    shown(visitor, TRY, **written(penguins.project))
    assert not Backtest.objects.exclude(state=BacktestState.CANCELLED).exists()


@pytest.mark.usefixtures("later")
def test_without_scripts_a_job_has_a_page_that_looks_again(penguins: Cast, season: dict[str, Run]) -> None:
    visitor = Visitor(penguins.max)
    shown(visitor, TRY, **written(penguins.project))
    place = f"{TRY}{Backtest.objects.get().pk}/"
    waiting = visitor.client.get(place)
    assert waiting["Refresh"] == "2"
    assert "0 of 5 runs looked at" in text(waiting)
    assert visitor.client.post(f"{place}cancel/").status_code == 302
    assert "Refresh" not in visitor.client.get(place)


# --- Who may, and at what price -------------------------------------------------------------------


def test_only_who_may_write_there_tries_a_rule(penguins: Cast, season: dict[str, Run]) -> None:
    fields = written(penguins.project)
    for person in (penguins.vera, penguins.otto):
        said = text(shown(Visitor(person), TRY, **fields))
        assert "It would have fired" not in said
        drawn = Visitor(person).submits(f"{TRY}run/", **fields, **{"try": str(season["burst"].pk)})
        assert drawn.status_code == 404
    assert "It would have fired" in text(shown(Visitor(penguins.max), TRY, **fields))
    assert Visitor().submits(TRY, **fields).status_code == 302


@pytest.mark.usefixtures("later")
def test_a_job_is_its_own_persons(penguins: Cast, season: dict[str, Run]) -> None:
    shown(Visitor(penguins.max), TRY, **written(penguins.project))
    place = f"{TRY}{Backtest.objects.get().pk}/"
    assert Visitor(penguins.max).status(place) == 200
    for person in (penguins.ada, penguins.otto):
        assert Visitor(person).status(place) == 404
        assert Visitor(person).submits(f"{place}cancel/").status_code == 404
    assert Backtest.objects.get().state == BacktestState.PENDING


def test_a_run_of_another_project_is_not_drawn(penguins: Cast, season: dict[str, Run]) -> None:
    elsewhere = new_run(create_project(penguins.team, "swim"))
    log(elsewhere, "loss", [0.9])
    visitor, fields = Visitor(penguins.max), written(penguins.project)
    for number in (str(elsewhere.pk), "0", "x", ""):
        assert visitor.submits(f"{TRY}run/", **fields, **{"try": number}).status_code == 404


def test_hostile_names_stay_text(penguins: Cast) -> None:
    run = new_run(penguins.project, name=MARKUP)
    log(run, MARKUP, [0.9])
    answer = shown(Visitor(penguins.max), TRY, **written(penguins.project, metric=MARKUP))
    assert answer.context["preview"].drawing is not None
    assert_only_text(answer.content.decode())


def test_many_runs_cost_few_more_queries(
    penguins: Cast, season: dict[str, Run], django_assert_max_num_queries: Any
) -> None:
    fields = written(penguins.project, threshold=0.95)
    for number in range(40):
        log(new_run(penguins.project, name=f"more-{number}"), "loss", [0.1])
    with django_assert_max_num_queries(40):
        shown(Visitor(penguins.max), TRY, **fields)
