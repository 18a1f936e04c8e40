"""The feed of an organization: everything observed, numbered without a gap, in the order of commits."""

from __future__ import annotations

import pytest

from automations.models import Event
from registry.services.collections import tag_collection
from registry.services.versions import create_version
from runs.models import Organization, RunStatus
from runs.services.people import create_team
from runs.services.projects import create_project
from runs.services.runs import set_status
from tests import cast
from tests.cast import Cast, at_once, log, new_run, rule, threshold


def feed(organization: Organization) -> list[tuple[int, str]]:
    events = Event.objects.filter(organization=organization).order_by("sequence")
    return list(events.values_list("sequence", "type"))


@pytest.mark.django_db
def test_the_feed_counts_everything_that_was_observed(penguins: Cast) -> None:
    rule(penguins.project, "run_metric_threshold", threshold(), period=0)
    run = new_run(penguins.project)
    log(run, "loss", [0.1, 0.9])
    create_version(cast.collection(penguins.project), actor=None)
    set_status(run, RunStatus.FINISHED, actor=None)
    cast.decide()
    assert feed(penguins.organization) == [
        (1, "run_status"),
        (2, "collection_created"),
        (3, "version_added"),
        (4, "alias_added"),
        (5, "run_status"),
        (6, "run_metric_threshold"),
    ]
    assert not Event.objects.filter(decided_at=None).exists()


@pytest.mark.django_db
def test_each_organization_counts_its_own(penguins: Cast) -> None:
    other = Organization.objects.create(name="elsewhere")
    new_run(penguins.project)
    new_run(create_project(create_team("walruses", organization=other), "dive"))
    assert feed(penguins.organization) == feed(other) == [(1, "run_status")]


@pytest.mark.django_db
def test_an_event_keeps_what_was_true_then(penguins: Cast) -> None:
    run = new_run(penguins.project, user=penguins.ada, name="first")
    event = Event.objects.get(run=run)
    penguins.project.name = "renamed"
    penguins.project.save()
    event.refresh_from_db()
    assert {name: event.data[name] for name in ("project_name", "team_name", "run_name", "event_author")} == {
        "project_name": "waddle",
        "team_name": "penguins",
        "run_name": "first",
        "event_author": "ada",
    }
    assert event.data["run_url"].endswith(f"/penguins/waddle/runs/{run.run_id}")
    assert event.data["scopes"] == [
        f"project:{penguins.project.pk}",
        f"team:{penguins.team.pk}",
        f"organization:{penguins.organization.pk}",
    ]


@pytest.mark.django_db(transaction=True)
def test_many_who_write_at_once_leave_no_gap_and_no_double(penguins: Cast) -> None:
    """Status changes, artifacts and firing rules, which all come to the feed by other ways."""
    rule(penguins.project, "run_metric_threshold", threshold(), period=0)
    fish = cast.collection(penguins.project)
    runs = [new_run(penguins.project) for _run in range(3)]

    def work(who: int) -> None:
        for turn in range(4):
            if who < 2:
                tag_collection(fish, f"{who}-{turn}", actor=None)
            elif who < 4:
                new_run(penguins.project)
            else:
                log(runs[who - 4], "loss", [0.9])
                cast.decide()

    at_once(7, work)
    cast.decide()
    numbers = [number for number, _type in feed(penguins.organization)]
    # A collection, 3 runs, 8 tags, 8 runs, 12 firings.
    assert numbers == list(range(1, 33))
