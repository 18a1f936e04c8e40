"""What runs read: noted by their teams, shown to those who see both ends."""

from __future__ import annotations

import pytest

from registry.models import Registry, Use
from registry.services.collections import set_registry_member
from registry.services.versions import link_version
from runs.models import Role
from runs.services.runs import delete_run
from tests import cast
from tests.api.house import Api, House
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def test_a_use_is_noted_once_and_taken_back(max_: Api, penguins: Cast, ours: House) -> None:
    run = cast.new_run(penguins.project, user=penguins.max)
    place = f"versions/{ours.version.pk}/uses/"
    noted = max_.put(f"{place}{run.pk}/")
    assert (noted.status, noted.json["run"], noted.json["version"]) == (201, run.pk, ours.version.pk)
    assert max_.put(f"{place}{run.pk}/").status == 200
    assert [row["run"] for row in max_.listed(place)] == [run.pk]
    assert [row["id"] for row in max_.listed(f"versions/?used_by={run.pk}")] == [ours.version.pk]
    assert max_.listed(f"versions/?run={run.pk}") == []  # which it did not make
    assert max_.delete(f"{place}{run.pk}/").status == 204
    assert max_.delete(f"{place}{run.pk}/").status == 404
    assert not Use.objects.exists()


def test_a_draft_is_nothing_to_read(max_: Api, ours: House) -> None:
    refused = max_.put(f"versions/{ours.draft.pk}/uses/{ours.run.pk}/")
    assert (refused.status, list(refused.json)) == (400, ["version"])
    assert not Use.objects.exists()


@pytest.fixture
def shared(penguins: Cast, ours: House) -> House:
    """The penguins' version, which Otto of the otters reads by a link in their registry."""
    link_version(ours.shelf, ours.version, actor=penguins.ada)
    set_registry_member(Registry.objects.get(pk=ours.registry.pk), penguins.otto, role=Role.VIEWER)
    return ours


def test_a_linked_version_is_used_by_runs_of_other_teams_that_see_it(
    otto: Api, ada: Api, shared: House, theirs: House
) -> None:
    place = f"versions/{shared.version.pk}/uses/"
    assert otto.put(f"{place}{theirs.run.pk}/").status == 201
    assert ada.put(f"{place}{shared.run.pk}/").status == 201
    # Each sees the runs of their own team.
    assert [row["run"] for row in otto.listed(place)] == [theirs.run.pk]
    assert [row["run"] for row in ada.listed(place)] == [shared.run.pk]


def test_nobody_notes_what_another_teams_run_read(otto: Api, shared: House) -> None:
    for verb in ("PUT", "DELETE"):
        assert otto.ask(verb, f"versions/{shared.version.pk}/uses/{shared.run.pk}/").status == 404
    assert not Use.objects.exists()


def test_a_version_one_does_not_see_cannot_be_used(otto: Api, ours: House, theirs: House) -> None:
    assert otto.put(f"versions/{ours.version.pk}/uses/{theirs.run.pk}/").status == 404
    assert otto.put(f"versions/{theirs.version.pk}/uses/{theirs.run.pk}/").status == 201


def test_a_deleted_run_is_left_out(ada: Api, ours: House) -> None:
    place = f"versions/{ours.version.pk}/uses/"
    ada.put(f"{place}{ours.run.pk}/")
    assert len(ada.listed(place)) == 1
    delete_run(ours.run)
    assert ada.listed(place) == []
