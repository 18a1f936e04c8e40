"""A rule is tried on stored runs: at once, or by a job with progress that can be cancelled."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django import Settings

from automations import tasks
from automations.backtests import jobs
from automations.models import Automation, Backtest, Execution
from automations.services import backtests
from runs.models import RunStatus
from runs.services.projects import create_project
from runs.services.runs import set_status
from tests.api.house import Api
from tests.cast import Cast, Clock, log, new_run

pytestmark = pytest.mark.django_db

EVENT = {"type": "run_metric_threshold", "metric": "loss", "aggregation": "none"}
HIGH = {**EVENT, "comparison": "above", "threshold": 0.6}


def body(penguins: Cast, **changes: Any) -> dict[str, Any]:
    return {"scope": {"type": "project", "id": penguins.project.pk}, "event": HIGH, **changes}


@pytest.fixture
def season(penguins: Cast) -> None:
    """Two runs that failed, of which one was caught, two that finished, one of them disturbed, and one that
    logged something else."""
    for name, values, status in [
        ("calm", [0.1, 0.2, 0.3], RunStatus.FINISHED),
        ("wild", [0.1, 0.7, 0.3, 0.2], RunStatus.FINISHED),
        ("burst", [0.1, 0.9, 1.0, 1.1], RunStatus.FAILED),
        ("quiet", [0.1, 0.1], RunStatus.CRASHED),
    ]:
        run = new_run(penguins.project, name=name)
        for value in values:
            log(run, "loss", [value])
        set_status(run, status, actor=None)
    log(new_run(penguins.project, name="other"), "accuracy", [0.9])


@pytest.fixture
def later(settings: Settings) -> None:
    """Nothing is done at once."""
    settings.TRIPLINE_BACKTEST_AT_ONCE = 0


@pytest.mark.usefixtures("season")
def test_a_small_one_is_answered_at_once_with_everything(max_: Api, penguins: Cast) -> None:
    answer = max_.post("automations/backtest/", body(penguins))
    assert answer.status == 200, answer
    told = answer.json
    assert (told["id"], told["state"], told["done"], told["total"]) == (None, "finished", 5, 5)
    summary = told["summary"]
    assert (summary["runs"], summary["evaluated"], summary["fired"], summary["firings"]) == (5, 4, 2, 2)
    assert summary["held_back"] == 2, "of burst, within a day of its first"
    seconds = summary["failed"].pop("seconds_before")
    assert summary["failed"] == {"runs": 2, "caught": 1, "steps_before": 2}
    assert 0 <= seconds < 60
    assert summary["healthy"] == {"runs": 2, "disturbed": 1}
    assert summary["not_evaluated"] == [
        {"code": "never_logged", "runs": 1, "text": "the metric was never logged"}
    ]
    assert [run["name"] for run in told["runs"]] == ["other", "quiet", "burst", "wild", "calm"]
    burst = told["runs"][2]
    (firing,) = burst["firings"]
    assert (firing["step"], firing["value"], firing["text"]) == (1, 0.9, "loss = 0.9 > 0.6 at step 1")
    assert (burst["steps_before"], burst["count"], burst["held_back"]) == (2, 1, 2)
    assert told["runs"][1]["reason"] == {
        "code": "condition_not_met",
        "text": "the condition was never met",
    }
    assert not Automation.objects.exists()
    assert not Execution.objects.exists()
    assert not Backtest.objects.exists()


@pytest.mark.usefixtures("season")
def test_the_newest_runs_of_a_span_are_looked_at(max_: Api, penguins: Cast) -> None:
    few = max_.post("automations/backtest/", body(penguins, limit=2)).json
    assert [run["name"] for run in few["runs"]] == ["other", "quiet"]
    none = max_.post("automations/backtest/", body(penguins, since="2999-01-01T00:00:00Z")).json
    assert (none["total"], [one["code"] for one in none["warnings"]]) == (0, ["no_runs"])


@pytest.mark.usefixtures("season", "later")
def test_a_long_one_becomes_a_job_that_can_be_read_while_it_runs(
    max_: Api, penguins: Cast, rings: list[tuple[str, int | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = max_.post("automations/backtest/", body(penguins))
    assert answer.status == 202, answer
    job = answer.json
    assert (job["state"], job["done"], job["total"], job["runs"]) == ("pending", 0, 5, [])
    seen = []

    def look() -> bool:
        told = max_.get(f"automations/backtests/{job['id']}/").json
        seen.append((told["state"], told["done"], [run["name"] for run in told["runs"]]))
        return True

    monkeypatch.setattr(jobs, "_NOTE_EVERY", 0)
    lease = backtests.claim(job["id"])
    assert lease is not None
    jobs.work(job["id"], lease, goes_on=look)
    assert ("running", 2, ["other", "quiet"]) in seen
    done = max_.get(f"automations/backtests/{job['id']}/").json
    assert (done["state"], done["done"], done["summary"]["fired"]) == ("finished", 5, 2)
    assert done["runs"][2]["firings"][0]["text"] == "loss = 0.9 > 0.6 at step 1"


@pytest.mark.usefixtures("season", "later")
def test_where_workers_are_processes_of_their_own_the_task_does_it(
    max_: Api, penguins: Cast, settings: Settings
) -> None:
    settings.TRIPLINE_EMBEDDED = False
    job = max_.post("automations/backtest/", body(penguins)).json["id"]
    tasks.backtest(job)
    told = max_.get(f"automations/backtests/{job}/").json
    assert (told["state"], told["done"], told["summary"]["fired"]) == ("finished", 5, 2)
    Backtest.objects.update(done=0)
    tasks.backtest(job)
    assert max_.get(f"automations/backtests/{job}/").json["done"] == 0, "a second message changes nothing"


@pytest.mark.usefixtures("season", "later")
def test_what_is_cancelled_stops_and_keeps_what_it_found(
    max_: Api, penguins: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = max_.post("automations/backtest/", body(penguins)).json
    looks = []

    def cancel_after_three() -> bool:
        looks.append(1)
        if len(looks) == 4:
            told = max_.post(f"automations/backtests/{job['id']}/cancel/").json
            assert told["state"] == "cancelled"
        return True

    monkeypatch.setattr(jobs, "_NOTE_EVERY", 0)
    lease = backtests.claim(job["id"])
    assert lease is not None
    jobs.work(job["id"], lease, goes_on=cancel_after_three)
    assert len(looks) == 4, "it stopped at once"
    told = max_.get(f"automations/backtests/{job['id']}/").json
    assert (told["state"], told["done"]) == ("cancelled", len(told["runs"]))
    assert 0 < told["done"] < 5
    assert backtests.claim(job["id"]) is None, "nobody takes it up again"


@pytest.mark.usefixtures("season", "later")
def test_a_new_one_ends_the_persons_former_one_and_nobody_elses(max_: Api, ada: Api, penguins: Cast) -> None:
    hers = ada.post("automations/backtest/", body(penguins)).json["id"]
    first, second = (max_.post("automations/backtest/", body(penguins)).json["id"] for _time in range(2))
    states = dict(Backtest.objects.values_list("pk", "state"))
    assert states == {hers: "pending", first: "cancelled", second: "pending"}


@pytest.mark.usefixtures("season", "later")
def test_a_job_whose_worker_died_says_so(max_: Api, penguins: Cast, clock: Clock) -> None:
    job = max_.post("automations/backtest/", body(penguins)).json["id"]
    lease = backtests.claim(job)
    assert lease is not None
    backtests.sweep(clock.move(seconds=29))
    assert max_.get(f"automations/backtests/{job}/").json["state"] == "running"
    backtests.sweep(clock.move(seconds=2))
    told = max_.get(f"automations/backtests/{job}/").json
    assert (told["state"], told["problem"]) == ("failed", "Whoever worked on it died; try it again.")
    jobs.work(job, lease)
    assert max_.get(f"automations/backtests/{job}/").json["state"] == "failed", "it was given up"


@pytest.mark.usefixtures("season", "later")
def test_a_job_that_nobody_heard_of_is_rung_for_again(
    max_: Api,
    penguins: Cast,
    clock: Clock,
    rings: list[tuple[str, int | None]],
    django_capture_on_commit_callbacks: Any,
) -> None:
    job = max_.post("automations/backtest/", body(penguins)).json["id"]
    rings.clear()
    with django_capture_on_commit_callbacks(execute=True):
        backtests.sweep(clock.move(seconds=4))
        assert rings == []
        backtests.sweep(clock.move(seconds=2))
    assert rings == [("backtest", job)]


@pytest.mark.usefixtures("season", "later")
def test_so_many_run_at_once_and_the_next_one_is_rung_for_when_one_ends(
    max_: Api,
    ada: Api,
    everything: Api,
    penguins: Cast,
    rings: list[tuple[str, int | None]],
    django_capture_on_commit_callbacks: Any,
) -> None:
    ids = [api.post("automations/backtest/", body(penguins)).json["id"] for api in (max_, ada, everything)]
    leases = [backtests.claim(job) for job in ids]
    assert [lease is not None for lease in leases] == [True, True, False]
    rings.clear()
    assert leases[0] is not None
    with django_capture_on_commit_callbacks(execute=True):
        jobs.work(ids[0], leases[0])
    assert rings == [("backtest", ids[2])]
    assert backtests.claim(ids[2]) is not None


@pytest.mark.usefixtures("season", "later")
def test_a_job_is_its_owners_and_only_while_they_see_the_scope(
    max_: Api, ada: Api, otto: Api, penguins: Cast
) -> None:
    job = max_.post("automations/backtest/", body(penguins)).json["id"]
    assert [api.get(f"automations/backtests/{job}/").status for api in (max_, ada, otto)] == [200, 404, 404]
    assert ada.post(f"automations/backtests/{job}/cancel/").status == 404
    penguins.team.members.get(user=penguins.max).delete()
    assert max_.get(f"automations/backtests/{job}/").status == 404


@pytest.mark.usefixtures("season", "later")
def test_a_rule_whose_scope_is_gone_when_its_turn_comes_has_failed(everything: Api, penguins: Cast) -> None:
    job = everything.post("automations/backtest/", body(penguins)).json["id"]
    Backtest.objects.update(draft={**Backtest.objects.get().draft, "scope": {"type": "project", "id": 0}})
    lease = backtests.claim(job)
    assert lease is not None
    jobs.work(job, lease)
    found = Backtest.objects.get()
    assert (found.state, found.problem) == ("failed", "The scope does not exist any more.")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"event": {"type": "alias_added", "alias": "^a"}}, "event"),
    ({"event": {**HIGH, "window": 0}}, "event"),
    ({"event": {**HIGH, "run_name": "(?=x)"}}, "event"),
    ({"event": "x"}, "event"),
    ({"scope": {"type": "project", "id": "x"}}, "scope"),
    ({"period": -1}, "period"),
    ({"days": 0}, "days"),
    ({"days": 10**30}, "days"),
    ({"days": "7"}, "days"),
    ({"days": 7, "since": "2026-01-01T00:00:00Z"}, "days"),
    ({"since": "yesterday"}, "since"),
    ({"since": "0001-01-01T00:00:00+14:00"}, "since"),
    ({"limit": 5001}, "limit"),
    ({"limit": None}, "limit"),
    ({"name": 5}, "name"),
    ({"actions": [{"type": "nonsense"}]}, "actions"),
    ({"armed_at": "2026-01-01T00:00:00Z"}, "armed_at"),
    ({"nonsense": 1}, "nonsense"),
]


@pytest.mark.parametrize(("change", "field"), REFUSED, ids=[str(change)[:50] for change, _field in REFUSED])
def test_what_makes_no_rule_cannot_be_tried(
    max_: Api, penguins: Cast, change: dict[str, Any], field: str
) -> None:
    answer = max_.post("automations/backtest/", body(penguins, **change))
    assert answer.status == 400, answer
    assert field in answer.json
    assert not Backtest.objects.exists()


def test_an_artifact_rule_is_refused_with_what_can_be_tried(max_: Api, penguins: Cast) -> None:
    answer = max_.post("automations/backtest/", body(penguins, event={"type": "tag_added", "tag": "eu"}))
    assert answer.status == 400
    (text,) = answer.json["event"]
    assert "“Run status change”" in text


def test_trying_needs_what_saving_needs(
    vera: Api, max_: Api, otto: Api, everything: Api, penguins: Cast
) -> None:
    people = (Api(), vera, max_, otto, everything)
    assert [api.post("automations/backtest/", body(penguins)).status for api in people] == [
        401,
        403,
        200,
        404,
        200,
    ]
    whole = body(penguins, scope={"type": "organization", "id": penguins.organization.pk})
    assert [api.post("automations/backtest/", whole).status for api in (max_, everything)] == [403, 200]


def test_a_team_is_tried_on_the_runs_of_all_its_projects_and_no_others(max_: Api, penguins: Cast) -> None:
    dive, foreign = create_project(penguins.team, "dive"), create_project(penguins.otters, "x")
    for place in (penguins.project, dive, foreign):
        log(new_run(place, name=f"in {place}"), "loss", [0.9])
    told = max_.post("automations/backtest/", body(penguins, scope={"type": "team", "id": penguins.team.pk}))
    assert told.json["summary"]["fired"] == 2
    assert "otters" not in told.text
