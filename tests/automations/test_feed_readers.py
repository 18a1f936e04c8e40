"""Readers who follow the feed while many write to it: every number once, in order, none left out.

The writers' transactions hold several events, stay open after they took their numbers, and are partly
given up; two organizations are written to at once, one of them by two teams.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from django.db import transaction

from automations.models import Event
from registry.models import Collection
from registry.services.collections import tag_collection
from runs.models import Organization, Project
from runs.services import people
from runs.services.projects import create_project
from tests import cast
from tests.api.house import Api, superuser
from tests.cast import Cast, at_once

WRITERS, TURNS = 6, 12
LATE_BY = 0.01  # seconds, at most
GIVEN_UP = 5  # of so many transactions one is rolled back


class Abandoned(Exception):  # noqa: N818  # nothing went wrong
    """Rolls a transaction back."""


@dataclass
class Follower:
    """Asks page by page for what comes after its cursor."""

    api: Api
    page_size: int
    query: str = ""
    cursor: str = ""
    pages: int = 0
    # Team and number of each event, as they came.
    seen: list[tuple[str, int]] = field(default_factory=list)

    def read(self) -> bool:
        """One page; whether there was anything."""
        page = self.api.get(f"events/?after={self.cursor}&page_size={self.page_size}{self.query}").json
        self.seen += [(row["data"]["team_name"], row["sequence"]) for row in page["results"]]
        self.cursor = page["next"]
        self.pages += bool(page["results"])
        return bool(page["results"])

    def follow(self, is_over: Callable[[], bool]) -> None:
        """Until everybody has left, and from then on to the end."""
        while not is_over():
            self.read()
        while self.read():
            pass

    def numbers(self, *teams: str) -> list[int]:
        return [number for team, number in self.seen if team in teams]


def write(place: Collection, number: int, *, is_enough: Callable[[], bool]) -> None:
    """So many turns, and on a machine that lets the readers wait as many more as it takes, within reason."""
    dice = random.Random(number)
    for turn in range(20 * TURNS):
        if turn >= TURNS and is_enough():
            return
        try:
            with transaction.atomic():
                for part in range(dice.randrange(1, 4)):
                    tag_collection(place, f"{number}-{turn}-{part}", actor=None)
                time.sleep(dice.uniform(0, LATE_BY))
                if dice.randrange(GIVEN_UP) == 0:
                    raise Abandoned
        except Abandoned:
            pass


def numbers_of(*teams: str) -> list[int]:
    """The numbers of everything that was committed in these teams, in order."""
    found = Event.objects.filter(team__name__in=teams).order_by("sequence")
    return list(found.values_list("sequence", flat=True))


@pytest.fixture
def places(penguins: Cast) -> list[Collection]:
    """A collection of the penguins, one of the otters, and one of the walruses, who live elsewhere."""
    other = people.create_team("walruses", organization=Organization.objects.create(name="elsewhere"))
    projects: list[Project] = [penguins.project, *(create_project(t, "p") for t in (penguins.otters, other))]
    return [cast.collection(project) for project in projects]


@pytest.mark.django_db(transaction=True)
def test_whoever_follows_sees_everything_that_is_theirs_once_and_in_order(
    penguins: Cast, places: list[Collection]
) -> None:
    root, max_, otto = Api(superuser()), Api(penguins.max), Api(penguins.otto)
    followers = [
        Follower(root, page_size=3),
        Follower(root, page_size=1000),
        Follower(max_, page_size=7),
        Follower(otto, page_size=2, query="&type=collection_tag_added"),
    ]
    gone: list[int] = []

    def all_read_along() -> bool:
        return min(follower.pages for follower in followers) > 5

    def work(number: int) -> None:
        if number < WRITERS:
            write(places[number % len(places)], number, is_enough=all_read_along)
            gone.append(number)
        else:
            followers[number - WRITERS].follow(lambda: len(gone) == WRITERS)

    at_once(WRITERS + len(followers), work, within=60)

    here, there = numbers_of("penguins", "otters"), numbers_of("walruses")
    assert here == list(range(1, len(here) + 1))
    assert there == list(range(1, len(there) + 1))
    for follower in followers[:2]:
        assert follower.numbers("penguins", "otters") == here
        assert follower.numbers("walruses") == there
    assert followers[2].seen == [("penguins", number) for number in numbers_of("penguins")]
    # All of the otters' but the making of their collection.
    assert followers[3].seen == [("otters", number) for number in numbers_of("otters")[1:]]
    # They read along, and not only at the end; and the feed was not theirs alone.
    assert all_read_along()
    assert len(here) > len(numbers_of("otters")) > 10
