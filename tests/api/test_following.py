"""Following the feed: where a reader stands, what it waits for, and what it is told that it missed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from automations import retention, waiting
from automations.models import Event, Feed
from registry.services.collections import set_registry_member
from runs import clock
from runs.models import Organization, Project, Role
from runs.services import people
from runs.services.projects import create_project
from tests import cast
from tests.api.house import Api
from tests.cast import Cast

PATIENT = {"wsgi.multithread": True}


@pytest.fixture
def burrow(penguins: Cast) -> Project:
    """The otters' project, in the same organization."""
    return create_project(penguins.otters, "burrow")


@pytest.fixture
def far_away() -> Project:
    """A project of another organization."""
    other = Organization.objects.create(name="elsewhere")
    return create_project(people.create_team("walruses", organization=other), "dive")


def read(api: Api, cursor: str, query: str = "") -> tuple[list[int], str]:
    """The numbers of one page after the cursor, and the next cursor."""
    page = api.get(f"events/?after={cursor}{query}").json
    return [row["sequence"] for row in page["results"]], page["next"]


def happens(project: Project, times: int = 1) -> None:
    for _time in range(times):
        cast.new_run(project)


def forget_all_but(number: int) -> None:
    """Everything up to this number becomes old, and is deleted as it is every day."""
    cast.decide()
    Event.objects.filter(sequence__lte=number).update(received_at=clock.now() - timedelta(days=31))
    retention.prune()


@pytest.mark.django_db
class TestWhereOneStands:
    def test_the_cursor_moves_on_past_what_is_not_for_the_reader(
        self, penguins: Cast, burrow: Project, max_: Api
    ) -> None:
        org = penguins.organization.pk
        happens(penguins.project)
        assert read(max_, "") == ([1], f"{org}:1")
        happens(burrow, 3)
        assert read(max_, f"{org}:1") == ([], f"{org}:4")
        happens(penguins.project)
        assert read(max_, f"{org}:4") == ([5], f"{org}:5")
        assert read(max_, f"{org}:1", "&type=alias_added") == ([], f"{org}:5")

    def test_a_full_page_moves_it_to_its_last_event_only(
        self, penguins: Cast, burrow: Project, max_: Api
    ) -> None:
        org = penguins.organization.pk
        happens(penguins.project, 2)
        happens(burrow)
        happens(penguins.project)
        assert read(max_, "", "&page_size=2") == ([1, 2], f"{org}:2")
        assert read(max_, f"{org}:2", "&page_size=2") == ([4], f"{org}:4")

    def test_now_is_after_all_that_was(self, penguins: Cast, max_: Api) -> None:
        org = penguins.organization.pk
        assert read(max_, "now") == ([], f"{org}:0")
        happens(penguins.project, 2)
        assert read(max_, "now") == ([], f"{org}:2")
        assert read(max_, f"{org}:0") == ([1, 2], f"{org}:2")

    def test_who_joins_a_team_gets_what_happens_from_then_on(
        self, penguins: Cast, burrow: Project, max_: Api
    ) -> None:
        happens(burrow, 2)
        _nothing, cursor = read(max_, "")
        people.set_member(penguins.otters, penguins.max, role=Role.VIEWER)
        happens(burrow, 2)
        assert read(max_, cursor)[0] == [3, 4]
        assert read(max_, "")[0] == [1, 2, 3, 4]

    def test_an_organization_that_is_new_to_the_reader_is_read_from_its_beginning(
        self, penguins: Cast, far_away: Project, max_: Api
    ) -> None:
        _nothing, cursor = read(max_, "now")
        happens(far_away, 2)
        assert read(max_, cursor) == ([], cursor)
        people.set_member(far_away.team, penguins.max, role=Role.VIEWER)
        assert read(max_, cursor)[0] == [1, 2]

    def test_who_leaves_and_comes_back_goes_on_where_they_were(
        self, penguins: Cast, far_away: Project, max_: Api
    ) -> None:
        people.set_member(far_away.team, penguins.max, role=Role.VIEWER)
        happens(far_away, 2)
        _seen, cursor = read(max_, "")
        far_away.team.members.all().delete()
        happens(far_away)
        unseen, cursor = read(max_, cursor)
        people.set_member(far_away.team, penguins.max, role=Role.VIEWER)
        assert unseen == []
        assert read(max_, cursor)[0] == [3]

    def test_a_member_of_nothing_but_a_registry_reads_its_events(self, penguins: Cast) -> None:
        nina = cast.person("nina")
        models = cast.registry("models")
        set_registry_member(models, nina, role=Role.VIEWER)
        happens(penguins.project)
        cast.collection(models)
        assert read(Api(nina), "")[0] == [2]

    def test_nobody_waits_for_ever_beside_a_feed_that_is_never_quiet(
        self, penguins: Cast, far_away: Project, everything: Api
    ) -> None:
        """There is room for one event in a page, and the penguins always have one more."""
        cursor = read(everything, "now")[1]
        happens(penguins.project)
        happens(far_away)
        seen: set[int] = set()
        for _page in range(100):
            page = everything.get(f"events/?after={cursor}&page_size=1").json
            seen |= {row["project"] for row in page["results"]}
            if far_away.pk in seen:
                return
            cursor = page["next"]
            happens(penguins.project)
        raise AssertionError(seen)


@pytest.mark.django_db
class TestWhatWasMissed:
    def test_a_cursor_before_what_is_kept_is_refused_and_not_skipped(
        self, penguins: Cast, everything: Api
    ) -> None:
        org = penguins.organization.pk
        happens(penguins.project, 6)
        forget_all_but(4)
        refused = everything.get(f"events/?after={org}:1")
        assert (refused.status, list(refused.json)) == (410, ["after"])
        [sentence] = refused.json["after"]
        assert f"Events 2 to 4 of organization {org} are gone." in sentence
        assert "after=now" in sentence
        assert read(everything, f"{org}:4")[0] == read(everything, "")[0] == [5, 6]

    def test_the_same_when_nothing_is_kept(self, penguins: Cast, everything: Api) -> None:
        org = penguins.organization.pk
        happens(penguins.project, 3)
        forget_all_but(3)
        assert not Event.objects.exists()
        assert everything.get(f"events/?after={org}:2").status == 410
        assert read(everything, f"{org}:3") == read(everything, "") == ([], f"{org}:3")
        happens(penguins.project)
        assert read(everything, f"{org}:3")[0] == [4]

    def test_who_reads_along_misses_nothing_though_all_of_it_was_for_others(
        self, penguins: Cast, burrow: Project, max_: Api
    ) -> None:
        happens(burrow, 5)
        _nothing, cursor = read(max_, "")
        forget_all_but(5)
        assert read(max_, cursor) == ([], cursor)

    def test_what_is_kept_has_no_hole(self, penguins: Cast, everything: Api) -> None:
        """An event that still waits is kept however old it is: all after it are kept with it."""
        happens(penguins.project, 5)
        cast.decide()
        Event.objects.filter(sequence=3).update(decided_at=None)
        Event.objects.filter(sequence__lte=4).update(received_at=clock.now() - timedelta(days=31))
        retention.prune()
        assert read(everything, "")[0] == [3, 4, 5]
        assert everything.get(f"events/?after={penguins.organization.pk}:1").status == 410

    def test_one_organization_forgets_without_the_other(
        self, penguins: Cast, far_away: Project, everything: Api
    ) -> None:
        here, there = penguins.organization.pk, far_away.team.organization_id
        happens(penguins.project, 2)
        happens(far_away, 2)
        cast.decide()
        Event.objects.filter(organization=there).update(received_at=clock.now() - timedelta(days=31))
        retention.prune()
        assert read(everything, f"{here}:0,{there}:2")[0] == [1, 2]
        assert everything.get(f"events/?after={here}:0,{there}:1").status == 410

    def test_a_cursor_of_a_database_that_was_set_back_is_refused(
        self, penguins: Cast, everything: Api
    ) -> None:
        org = penguins.organization.pk
        happens(penguins.project, 2)
        refused = everything.get(f"events/?after={org}:3")
        assert (refused.status, list(refused.json)) == (410, ["after"])
        assert f"Organization {org} has had 2 events only." in refused.json["after"][0]

    def test_a_cursor_tells_nothing_about_an_organization_that_one_does_not_see(
        self, penguins: Cast, far_away: Project, max_: Api
    ) -> None:
        happens(far_away, 2)
        there = far_away.team.organization_id
        assert read(max_, f"{there}:1")[0] == read(max_, f"{there}:999")[0] == []


# --- Waiting --------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("wait", ["", "x", "-1", "31", "999999999999999999999", "1.5", "٣", "+1", "1e1"])
def test_a_wait_that_cannot_be_is_named(penguins: Cast, max_: Api, wait: str) -> None:
    refused = max_.get(f"events/?wait={wait.replace('+', '%2B')}")
    assert (refused.status, list(refused.json)) == (400, ["wait"])


@pytest.mark.django_db(transaction=True)
class TestWaiting:
    @pytest.fixture
    def patient(self, penguins: Cast) -> Api:
        return Api(penguins.max, environ=PATIENT)

    @pytest.fixture
    def looks(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Semaphore]:
        """Counts the looks of everybody who waits."""
        found = threading.Semaphore(0)
        goes_on = waiting.Wait.goes_on

        def counted(wait: waiting.Wait) -> bool:
            found.release()
            return goes_on(wait)

        monkeypatch.setattr(waiting.Wait, "goes_on", counted)
        return iter([found])

    def asked(self, api: Api, work: Any, looks: Iterator[threading.Semaphore]) -> tuple[Any, float]:
        """The answer to a request that waits while `work` is done, and the seconds from then to it."""
        seen, done, cursor = next(looks), [0.0], read(api, "now")[1]

        def ask(number: int) -> Any:
            if number == 0:
                return api.get(f"events/?after={cursor}&wait=30"), time.monotonic()
            assert all(seen.acquire(timeout=10) for _look in range(2))
            work()
            done[0] = time.monotonic()
            return None

        (answer, at), _nothing = cast.at_once(2, ask)
        return answer, at - done[0]

    def test_the_answer_comes_when_something_happens(
        self, penguins: Cast, patient: Api, looks: Iterator[threading.Semaphore]
    ) -> None:
        answer, late = self.asked(patient, lambda: happens(penguins.project), looks)
        assert [row["sequence"] for row in answer.json["results"]] == [1]
        assert late < 2
        assert "Retry-After" not in answer.headers

    def test_what_happens_to_others_does_not_end_the_wait(
        self, penguins: Cast, burrow: Project, patient: Api, looks: Iterator[threading.Semaphore]
    ) -> None:
        def others_first() -> None:
            happens(burrow, 3)
            happens(penguins.project)

        answer, _late = self.asked(patient, others_first, looks)
        assert [row["sequence"] for row in answer.json["results"]] == [4]

    def test_after_the_wait_the_answer_is_empty_and_the_cursor_goes_on(
        self, penguins: Cast, patient: Api
    ) -> None:
        began = time.monotonic()
        cursor = f"{penguins.organization.pk}:0"
        assert read(patient, cursor, "&wait=1") == ([], cursor)
        assert 1 <= time.monotonic() - began < 3

    def test_who_has_no_cursor_yet_gets_one_at_once(self, penguins: Cast, patient: Api) -> None:
        """If they waited and the answer were lost, so were the events in it."""
        began = time.monotonic()
        assert read(patient, "now", "&wait=30") == ([], f"{penguins.organization.pk}:0")
        assert time.monotonic() - began < 5

    def test_what_is_there_already_is_not_waited_for(self, penguins: Cast, patient: Api) -> None:
        happens(penguins.project)
        began = time.monotonic()
        assert read(patient, "", "&wait=30")[0] == [1]
        assert time.monotonic() - began < 5

    def test_who_finds_no_place_is_answered_at_once_and_told_when_to_come(
        self, penguins: Cast, patient: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(waiting, "_places", threading.Semaphore(1))
        cursor = read(patient, "now")[1]
        with waiting.place(PATIENT) as taken:
            assert taken
            answer = patient.get(f"events/?after={cursor}&wait=30")
        assert (answer.json["results"], answer.headers["Retry-After"]) == ([], "1")
        # The place is free again, and was given back.
        assert all(
            "Retry-After" not in patient.get(f"events/?after={penguins.organization.pk}:0&wait=1").headers
            for _n in range(2)
        )

    def test_where_one_request_is_all_that_a_process_can_serve_nobody_waits(
        self, penguins: Cast, max_: Api
    ) -> None:
        answer = max_.get(f"events/?after={penguins.organization.pk}:0&wait=30")
        assert (answer.json["results"], answer.headers["Retry-After"]) == ([], "1")

    def test_a_server_that_stops_ends_the_wait(
        self, penguins: Cast, looks: Iterator[threading.Semaphore]
    ) -> None:
        stopping = threading.Event()
        api = Api(penguins.max, environ={**PATIENT, waiting.STOPPING: stopping})
        answer, late = self.asked(api, stopping.set, looks)
        assert (answer.json["results"], late < 2) == ([], True)

    def test_nothing_is_held_while_waiting(
        self, penguins: Cast, patient: Api, looks: Iterator[threading.Semaphore]
    ) -> None:
        """Two looks after it began, somebody locks the feed and everything else that is written."""
        answer, _late = self.asked(patient, lambda: cast.collection(penguins.project), looks)
        assert [row["type"] for row in answer.json["results"]] == ["collection_created"]
        assert Feed.objects.get().head == 1
