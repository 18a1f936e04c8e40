"""`explain` over REST."""

from __future__ import annotations

import pytest

from automations.models import Execution
from registry.services.versions import create_version
from runs.services.projects import create_project
from runs.services.runs import delete_run
from tests import cast
from tests.api.house import Api
from tests.automations.planted import CHANGE
from tests.cast import Cast, log, new_run, rule, threshold

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(penguins: Cast) -> Api:
    return Api(penguins.ada)


def test_rest_answers_for_a_run_or_a_version_that_the_asker_sees(penguins: Cast, ada: Api) -> None:
    automation = rule(penguins.project, "run_metric_threshold", threshold(value=0.75))
    tagged = rule(penguins.project, "tag_added", {"tag": "."}, name="tagged")
    run = new_run(penguins.project)
    log(run, "loss", [0.5, 0.612])
    version, _created = create_version(cast.collection(penguins.project), actor=None)
    cast.decide()
    answer = ada.get(f"automations/{automation.pk}/explain/?run={run.pk}")
    assert answer.status == 200
    assert answer.json == {
        "fired": False,
        "code": "closest",
        "text": "the condition loss > 0.75 was never met: the closest was 0.612 at step 1; it would fire "
        "with threshold < 0.612",
        "execution": None,
        "state": None,
        "condition": "loss > 0.75",
        "value": 0.612,
        "window": [0.612],
        "step": 1,
        "would_fire": "threshold < 0.612",
    }
    answer = ada.get(f"automations/{tagged.pk}/explain/?version={version.pk}")
    assert (answer.status, answer.json["code"]) == (200, "never_happened")


def test_rest_refuses_what_it_cannot_answer(penguins: Cast, ada: Api) -> None:
    automation = rule(penguins.project, "run_metric_threshold", threshold())
    theirs = rule(penguins.otters, "run_metric_threshold", threshold())
    run = new_run(penguins.project)
    foreign = new_run(create_project(penguins.otters, "raft"))
    gone = new_run(penguins.project)
    delete_run(gone)
    version, _created = create_version(cast.collection(penguins.project), actor=None)
    path = f"automations/{automation.pk}/explain/"
    for query, status in {
        "": 400,
        f"?run={run.pk}&version={version.pk}": 400,
        "?run=": 400,
        "?run=abc": 400,
        "?run=-1": 400,
        "?run=1.5": 400,
        f"?run={run.pk}&step=3": 400,
        f"?run={foreign.pk}": 404,
        f"?run={gone.pk}": 404,
        "?run=" + "9" * 40: 404,
        "?version=999999": 404,
        f"?run={run.pk}": 200,
    }.items():
        assert ada.get(path + query).status == status, query
    assert ada.get(f"automations/{theirs.pk}/explain/?run={run.pk}").status == 404
    assert Api(penguins.vera).get(f"{path}?run={run.pk}").status == 200, "who may look may ask"
    assert Api().get(f"{path}?run={run.pk}").status == 401


@pytest.mark.parametrize("direction", ["increase", "decrease"])
def test_a_change_beyond_the_range_of_a_double_is_told_in_json(
    penguins: Cast, ada: Api, direction: str
) -> None:
    config = {**CHANGE, "direction": direction, "aggregation": "none", "change_type": "absolute"}
    automation = rule(penguins.project, "run_metric_change", config)
    run = new_run(penguins.project)
    log(run, "loss", [-1.7e308, 1.7e308])
    cast.decide()
    answer = ada.get(f"automations/{automation.pk}/explain/?run={run.pk}")
    assert answer.status == 200
    assert (answer.json["fired"], answer.json["value"]) == (direction == "increase", "Infinity")
    if direction == "increase":
        execution = Execution.objects.get(automation=automation)
        assert execution.event is not None
        assert execution.event.data["metric_value"] == "Infinity"
