from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from runs.models import Project, Run, RunStatus
from runs.services.projects import create_project
from tests.api.house import Api, rows
from tests.cast import Cast, Clock, new_run, person

pytestmark = pytest.mark.django_db


def test_a_run_needs_nothing_but_a_project(penguins: Cast, max_: Api) -> None:
    run = max_.made("runs/", {"project": penguins.project.pk})
    assert set(run) >= {
        *("id", "project", "run_id", "name", "status", "config", "user", "created_at"),
        *("started_at", "finished_at", "heartbeat_at", "summary"),
    }
    assert run["status"] == "running"
    assert run["user"] == "max"
    assert run["config"] == run["summary"] == {}
    assert run["name"]
    assert run["run_id"]
    assert run["started_at"].endswith("Z")
    assert run["finished_at"] is run["heartbeat_at"] is None
    assert max_.get(f"runs/{run['id']}/").json == run


def test_a_project_named_by_its_path_is_made_when_it_is_missing(penguins: Cast, max_: Api) -> None:
    first = max_.made("runs/", {"project": "penguins/swim"})
    second = max_.made("runs/", {"project": "penguins/swim"})
    assert first["project"] == second["project"] == Project.objects.get(name="swim").pk
    # One is in a single team: its name may be left out. The two spellings of é are one name.
    assert max_.made("runs/", {"project": "swim"})["project"] == first["project"]
    composed = max_.made("runs/", {"project": "penguins/caf\u00e9"})
    assert max_.made("runs/", {"project": "penguins/cafe\u0301"})["project"] == composed["project"]


def test_a_project_is_not_made_for_a_run_that_is_refused(penguins: Cast, max_: Api, vera: Api) -> None:
    before = rows()
    for wrong in ({"status": "nonsense"}, {"run_id": "a/b"}, {"config": []}, {"nonsense": 1}, {"name": "\n"}):
        assert max_.post("runs/", {"project": "penguins/new", **wrong}).status == 400
    assert vera.post("runs/", {"project": "penguins/new"}).status == 403
    assert rows() == before


@pytest.mark.parametrize(
    ("project", "status"),
    [
        ("penguins/a/b", 404),
        ("penguins/", 400),
        ("/waddle", 200),
        ("", 400),
        ("nobody/x", 404),
        ("penguins/a%b", 400),
        ("penguins/" + "x" * 129, 400),
        (None, 400),
        (True, 400),
        (1.5, 400),
        ([], 400),
        ({}, 400),
        (-1, 404),
        (2**63, 404),
        (10**30, 404),
        ("9" * 30, 404),
    ],
)
def test_a_project_that_cannot_be_is_named(penguins: Cast, max_: Api, project: object, status: int) -> None:
    answer = max_.post("runs/", {"project": project})
    if status == 200:
        assert answer.status == 201
    else:
        assert (answer.status, list(answer.json)) == (status, ["project"]), answer


def test_a_run_id_is_resumed_with_200(penguins: Cast, max_: Api, ada: Api) -> None:
    body = {"project": "penguins/waddle", "run_id": "exp-1", "config": {"lr": 0.1, "seed": 1}}
    first = max_.made("runs/", body)
    max_.patch(f"runs/{first['id']}/", {"status": "finished"})
    again = ada.post("runs/", body | {"config": {"lr": 0.2}, "name": "second try"})
    assert again.status == 200
    assert again.json["id"] == first["id"]
    assert again.json["status"] == "running"
    assert again.json["finished_at"] is None
    assert again.json["config"] == {"lr": 0.2, "seed": 1}
    assert again.json["name"] == "second try"
    assert again.json["user"] == "max"
    # The same id in another project is another run.
    assert ada.made("runs/", body | {"project": "penguins/swim"})["id"] != first["id"]


def test_a_run_may_wait_before_it_starts(penguins: Cast, max_: Api) -> None:
    run = max_.made("runs/", {"project": "penguins/waddle", "status": "pending"})
    assert (run["status"], run["started_at"]) == ("pending", None)
    started = max_.patch(f"runs/{run['id']}/", {"status": "running"}).json
    assert started["status"] == "running"
    assert started["started_at"]


def test_what_a_change_leaves_out_stays(penguins: Cast, max_: Api) -> None:
    run = max_.made("runs/", {"project": "penguins/waddle", "name": "old", "config": {"lr": 0.1}})
    path = f"runs/{run['id']}/"
    assert max_.patch(path, {}).json == run
    assert max_.patch(path, {"name": "new"}).json == run | {"name": "new"}
    assert max_.patch(path, {"config": {"b": [1, None, {"c": "d"}]}}).json["config"] == {
        "lr": 0.1,
        "b": [1, None, {"c": "d"}],
    }
    over = max_.patch(path, {"status": "failed"}).json
    assert over["status"] == "failed"
    assert over["finished_at"]
    assert over["name"] == "new"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("status", value) for value in ("nonsense", "", None, 1, [], {})),
        *(("name", value) for value in ("", "  ", None, 1, True, [], {}, "x" * 251, "a\nb")),
        *(("config", value) for value in ("", None, 1, [])),
        *((field, 1) for field in ("id", "project", "run_id", "user", "summary", "started_at", "nonsense")),
    ],
)
def test_a_change_that_cannot_be_is_named_and_changes_nothing(
    penguins: Cast, max_: Api, field: str, value: object
) -> None:
    run = new_run(penguins.project)
    refused = max_.patch(f"runs/{run.pk}/", {"config": {"a": 1}, "name": "new", field: value})
    assert refused.status == 400, refused
    assert list(refused.json) == [field]
    fresh = Run.objects.get(pk=run.pk)
    assert (fresh.name, fresh.config, fresh.status) == (run.name, {}, "running")


def test_a_deleted_run_is_nowhere_until_it_is_restored(penguins: Cast, max_: Api) -> None:
    run = max_.made("runs/", {"project": "penguins/waddle", "run_id": "r1"})
    path = f"runs/{run['id']}/"
    assert max_.delete(path).status == 204
    assert max_.get(path).status == max_.delete(path).status == max_.get(f"{path}metrics/").status == 404
    assert max_.post(f"{path}metrics/", {"points": []}).status == max_.post(f"{path}heartbeat/").status == 404
    assert max_.listed("runs/") == []
    assert max_.get(f"executions/?run={run['id']}").status == 404
    resumed = max_.post("runs/", {"project": "penguins/waddle", "run_id": "r1"})
    assert (resumed.status, list(resumed.json)) == (409, ["run_id"])
    restored = max_.post(f"{path}restore/")
    assert (restored.status, restored.json) == (200, run)
    assert max_.get(path).json == run


def test_runs_are_found_by_every_filter(penguins: Cast, vera: Api, clock: Clock) -> None:
    swim = create_project(penguins.team, "swim")
    early = new_run(penguins.project, user=penguins.ada, name="Exp-1")
    noon = clock.moment
    late = new_run(swim, user=penguins.max, name="baseline", status=RunStatus.PENDING)
    Run.objects.filter(pk=early.pk).update(created_at=noon)
    Run.objects.filter(pk=late.pk).update(created_at=noon + timedelta(hours=1))

    def found(query: str) -> list[int]:
        return [row["id"] for row in vera.listed(f"runs/?{query}")]

    assert found(f"project={swim.pk}") == [late.pk]
    assert found("status=running") == [early.pk]
    assert found("user=max") == [late.pk]
    assert found("user=otto") == found("user=nobody") == []
    assert found("name=exp") == [early.pk]
    assert found("name=%25") == []
    assert found("created_after=2026-09-01T12:00:00Z") == [late.pk, early.pk]
    assert found("created_after=2026-09-01T14:30:00%2B02:00") == [late.pk]
    assert found("created_before=2026-09-01T13:00:00Z") == [early.pk]
    assert found("status=running&user=max") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=nonsense", "status"),
        ("project=abc", "project"),
        ("project=1.5", "project"),
        ("project=NaN", "project"),
        ("project=1e400", "project"),
        ("project=1e999999999", "project"),
        ("created_after=yesterday", "created_after"),
        ("created_after=0001-01-01T00:00:00%2B23:59", "created_after"),
        ("created_before=9999-12-31T23:59:59-23:59", "created_before"),
        ("state=running", "state"),
    ],
)
def test_a_filter_that_cannot_be_is_named(penguins: Cast, vera: Api, query: str, field: str) -> None:
    refused = vera.get(f"runs/?{query}")
    assert refused.status == 400
    assert list(refused.json) == [field]


@pytest.mark.parametrize("pk", ["0", "-1", "9223372036854775807", "9223372036854775808", "1" + "0" * 40])
def test_a_filter_by_an_id_that_cannot_be_is_a_404(penguins: Cast, vera: Api, pk: str) -> None:
    refused = vera.get(f"runs/?project={pk}")
    assert (refused.status, list(refused.json)) == (404, ["project"])


def test_a_project_is_described_renamed_and_found(penguins: Cast, max_: Api) -> None:
    made = max_.made("projects/", {"team": "penguins", "name": "swim", "description": "in the sea"})
    assert {"team": "penguins", "name": "swim", "description": "in the sea"}.items() <= made.items()
    path = f"projects/{made['id']}/"
    assert max_.patch(path, {"description": ""}).json == made | {"description": ""}
    assert max_.patch(path, {"name": "dive", "team": "penguins"}).json["name"] == "dive"
    assert [row["name"] for row in max_.listed("projects/?team=penguins&ordering=name")] == ["dive", "waddle"]
    assert [row["name"] for row in max_.listed("projects/?name=dive")] == ["dive"]
    taken = max_.post("projects/", {"team": "penguins", "name": "waddle"})
    assert (taken.status, list(taken.json)) == (409, ["name"])
    assert max_.patch(path, {"name": "waddle"}).status == 409


def test_a_project_stays_in_its_team(penguins: Cast, max_: Api) -> None:
    """Its rules send to the team's integrations, and its history is the team's."""
    from runs.models import Role
    from runs.services.people import set_member

    set_member(penguins.otters, penguins.max, role=Role.ADMIN)
    refused = max_.patch(f"projects/{penguins.project.pk}/", {"team": "otters"})
    assert (refused.status, list(refused.json)) == (400, ["team"])
    penguins.project.refresh_from_db()
    assert penguins.project.team == penguins.team


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x"}, "team"),
        ({"team": "penguins"}, "name"),
        ({"team": 1, "name": "x"}, "team"),
        ({"team": "penguins", "name": "a/b"}, "name"),
        ({"team": "penguins", "name": "."}, "name"),
        ({"team": "penguins", "name": "x" * 129}, "name"),
        ({"team": "penguins", "name": "x", "description": 1}, "description"),
        ({"team": "penguins", "name": "x", "description": "x" * 100_001}, "description"),
    ],
)
def test_a_project_that_cannot_be_is_refused_by_field(
    penguins: Cast, max_: Api, body: dict[str, Any], field: str
) -> None:
    refused = max_.post("projects/", body)
    assert (refused.status, list(refused.json)) == (400, [field])


def test_a_service_account_without_a_team_of_its_own_says_so(penguins: Cast) -> None:
    nina = Api(person("nina"))
    assert nina.post("runs/", {"project": "waddle"}).json == {"project": ["Write the project as team/name."]}
    assert nina.listed("runs/") == nina.listed("teams/") == []
