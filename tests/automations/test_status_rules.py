from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from automations.models import Event
from runs.models import RunStatus
from runs.services.runs import heartbeat, set_status, start_run, update_run
from tests import cast
from tests.cast import Cast, fired, new_run, rule

pytestmark = pytest.mark.django_db

ALL = ["running", "finished", "failed"]


@pytest.mark.parametrize(
    ("path", "watched", "fires"),
    [
        (["running"], ["running"], 1),
        (["running"], ["finished", "failed"], 0),
        (["pending"], ALL, 0),
        (["pending", "running"], ALL, 1),
        (["running", "finished"], ["finished"], 1),
        (["running", "finished", "running"], ["running"], 2),
        (["running", "running"], ["running"], 1),
        (["running", "failed"], ["failed"], 1),
        (["running", "crashed"], ["failed"], 1),
        (["running", "failed", "crashed"], ["failed"], 1),
        (["running", "crashed", "failed"], ["failed"], 1),
        (["running", "crashed", "running", "crashed"], ["failed"], 2),
        (["running", "finished", "failed"], ALL, 3),
        (["running", "killed"], ["finished", "failed"], 0),
        (["running", "killed", "running"], ["running"], 2),
        (["running", "preempting", "preempted", "running"], ["running"], 2),
        (["running", "preempting", "failed"], ALL, 2),
    ],
)
def test_a_rule_fires_when_the_coarse_state_changes_to_a_chosen_one(
    penguins: Cast, path: list[str], watched: list[str], fires: int
) -> None:
    automation = rule(penguins.project, "run_status", {"statuses": watched}, period=0)
    run = new_run(penguins.project, status=RunStatus(path[0]))
    for status in path[1:]:
        set_status(run, RunStatus(status), actor=None)
    cast.decide()
    assert fired(automation) == fires
    assert not Event.objects.filter(decided_at=None).exists()


def test_the_fine_state_is_kept_in_the_event(penguins: Cast) -> None:
    automation = rule(penguins.project, "run_status", {"statuses": ["failed"]})
    run = new_run(penguins.project)
    set_status(run, RunStatus.CRASHED, actor=None)
    cast.decide()
    event = automation.executions.get().event
    assert event is not None
    assert (event.data["run_status"], event.data["previous_status"]) == ("crashed", "running")


def test_resuming_by_id_and_a_heartbeat_after_a_crash_are_changes_to_running(penguins: Cast) -> None:
    automation = rule(penguins.project, "run_status", {"statuses": ["running"]}, period=0)
    run, _created = start_run(penguins.project, None, run_id="r1")
    set_status(run, RunStatus.FINISHED, actor=None)
    start_run(penguins.project, None, run_id="r1")
    set_status(run, RunStatus.CRASHED, actor=None)
    heartbeat(run, actor=None)
    cast.decide()
    assert fired(automation) == 3


@pytest.mark.parametrize(
    ("filters", "fires"),
    [
        ({}, 1),
        ({"user": "ada"}, 1),
        ({"user": "max"}, 0),
        ({"user": "Ada"}, 0),
        ({"run_name": "night"}, 1),
        ({"run_name": "^night"}, 0),
        ({"run_name": "Night"}, 0),
        ({"user": "ada", "run_name": "night$"}, 1),
        ({"user": "max", "run_name": "night$"}, 0),
        ({"user": "ada", "run_name": "^day"}, 0),
        ({"user": None, "run_name": None}, 1),
    ],
)
def test_both_filters_must_match(penguins: Cast, filters: dict[str, str | None], fires: int) -> None:
    automation = rule(penguins.project, "run_status", {"statuses": ["running"], **filters})
    start_run(penguins.project, penguins.ada, name="all night")
    cast.decide()
    assert fired(automation) == fires


def test_a_run_that_nobody_owns_matches_no_user(penguins: Cast) -> None:
    automation = rule(penguins.project, "run_status", {"statuses": ["running"], "user": "ada"})
    new_run(penguins.project)
    cast.decide()
    assert fired(automation) == 0


def test_renaming_is_no_event(penguins: Cast) -> None:
    automation = rule(penguins.project, "run_status", {"statuses": ["running"], "run_name": "^exp-"})
    run = new_run(penguins.project, name="foo")
    update_run(run, name="exp-1")
    cast.decide()
    assert fired(automation) == 0
    assert Event.objects.count() == 1


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "statuses"),
        ({"statuses": []}, "statuses"),
        ({"statuses": ["killed"]}, "killed"),
        ({"statuses": ["crashed"]}, "crashed"),
        ({"statuses": "failed"}, "statuses"),
        ({"statuses": [1]}, "statuses"),
        ({"statuses": ["failed"], "status": "x"}, "Unknown field"),
        ({"statuses": ["failed"], "run_name": "(?=a)"}, "RE2"),
        ({"statuses": ["failed"], "run_name": "(a"}, "RE2"),
        ({"statuses": ["failed"], "run_name": "\\1"}, "RE2"),
        ({"statuses": ["failed"], "run_name": "nul\x00"}, "NUL"),
        ({"statuses": ["failed"], "run_name": "lone\ud800"}, "surrogate"),
        ({"statuses": ["failed"], "user": 7}, "user"),
    ],
)
def test_nonsense_is_refused_when_saved(penguins: Cast, config: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        rule(penguins.project, "run_status", config)
    assert list(refusal.value.message_dict) == ["event"]
    assert said in refusal.value.message_dict["event"][0]
    assert not penguins.project.automations.exists()
