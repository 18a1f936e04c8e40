"""Story: somebody starts `up --demo`, watches something fire, comes back the next day, and clears it away."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from automations.events.base import EVENTS
from config.demo.cast import refuse_taken_names
from config.demo.making import Example, refuse_production
from config.embedded import StartError
from runs.models import RunStatus
from runs.services.people import create_team
from tests.cast import Cast, new_run
from tests.stories import embedded_alone
from tests.stories.rest import Rest
from tests.upserver import START_WITHIN, UpServer, run_python, up_server, wait_for

slow = [embedded_alone, pytest.mark.slow]

TEAMS = {"seabirds", "voyagers"}
LIVE = "voyagers/live-tuning"


@dataclass
class Sight:
    """What one sees over REST at some moment."""

    teams: set[str]
    registries: list[str]
    runs: list[dict[str, Any]]
    executions: list[dict[str, Any]]
    # By run, the versions that it read.
    read: dict[int, list[dict[str, Any]]]

    @classmethod
    def of(cls, rest: Rest) -> Sight:
        runs = rest.results("runs/?page_size=100")
        return cls(
            teams={row["name"] for row in rest.results("teams/")},
            registries=[row["name"] for row in rest.results("registries/")],
            runs=runs,
            read={run["id"]: rest.results(f"versions/?used_by={run['id']}") for run in runs},
            executions=rest.results("executions/?page_size=100"),
        )

    def training(self, *, live: bool) -> list[dict[str, Any]]:
        return [run for run in self.runs if is_live(run) == live]

    def past(self) -> list[dict[str, Any]]:
        return [run for run in self.training(live=False) if run["run_id"] != "mine"]


@dataclass
class Story:
    first: Sight
    said: str
    # Seconds from the start of the training that streams to its message in the inbox.
    noticed_after: float
    messages: list[dict[str, Any]]
    codes: list[int] = field(default_factory=list)
    again: Sight | None = None
    said_again: str = ""
    after: Sight | None = None
    files_left: list[Path] = field(default_factory=list)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    data_dir = tmp_path_factory.mktemp("demo") / "data"
    code, key = cut_short(data_dir)
    with up_server(data_dir, "--demo", wait=False) as server:
        wait_for(lambda: "made in" in server.output(), within=START_WITHIN)
        wait_for(server.learn, within=START_WITHIN)
        rest = Rest(server.url, key)
        rest.post("runs/", {"project": "main/mine", "run_id": "mine"})
        story = look_on(rest, server)
        story.codes += [code, server.stop()]
    with up_server(data_dir, "--demo") as server:
        rest = Rest(server.url, key)
        wait_for(lambda: running(rest))
        story.again, story.said_again = Sight.of(rest), server.output()
        story.codes.append(server.stop())
    done = run_python(server.env, "manage.py", "removedemo")
    assert done.returncode == 0, done.stderr
    with up_server(data_dir) as server:
        story.after = Sight.of(Rest(server.url, key))
    story.files_left = [path for path in (data_dir / "files").rglob("*") if path.is_file()]
    return story


def cut_short(data_dir: Path) -> tuple[int, str]:
    """Somebody is impatient: Ctrl-C while the example is being made. The exit code, and the admin's key."""
    with up_server(data_dir, "--demo", wait=False) as server:
        wait_for(lambda: "  7 of" in server.output(), within=START_WITHIN)
        code = server.stop()
        server.learn()
        return code, server.key


def look_on(rest: Rest, server: UpServer) -> Story:
    """Until the training that streams now was noticed, and the inbox has the message."""
    wait_for(lambda: running(rest))
    began = time.monotonic()
    inbox = re.search(r"(/inboxes/\d+/)", server.output())
    assert inbox, server.output()
    name = running(rest)[0]["name"]

    def messages() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = rest.get(f"{inbox[0].strip('/')}/requests/")["results"]
        return [row for row in found if json.loads(row["body"]).get("run") == name]

    wait_for(lambda: len(messages()) >= 2, within=60)
    noticed_after = time.monotonic() - began
    return Story(Sight.of(rest), server.output(), noticed_after, messages())


def is_live(run: dict[str, Any]) -> bool:
    return f"/{LIVE}/" in run["url"]


def running(rest: Rest) -> list[dict[str, Any]]:
    return [run for run in rest.results("runs/?status=running") if is_live(run)]


class TestTheStory:
    pytestmark = slow

    def test_there_are_two_teams_a_registry_and_forty_runs_that_ended_in_every_way(
        self, story: Story
    ) -> None:
        assert story.first.teams == {"main", *TEAMS}
        assert len(story.first.registries) == 1
        past = story.first.past()
        assert 38 <= len(past) <= 45
        assert {run["status"] for run in past} == set(RunStatus.values) - {"running"}

    def test_the_past_looks_past(self, story: Story) -> None:
        past = story.first.past()
        created = sorted(datetime.fromisoformat(run["created_at"]) for run in past)
        assert timedelta(days=18) < created[-1] - created[0] < timedelta(days=22)
        assert datetime.now(UTC) - created[-1] > timedelta(minutes=15)
        over = [run for run in past if run["finished_at"]]
        lasted = [
            datetime.fromisoformat(run["finished_at"]) - datetime.fromisoformat(run["started_at"])
            for run in over
        ]
        assert timedelta(minutes=3) < min(lasted) < max(lasted) < timedelta(hours=8)

    def test_every_kind_of_event_has_fired(self, story: Story) -> None:
        fired = {row["event"]["type"] for row in story.first.executions if row["state"] != "skipped"}
        assert fired == {event_type.key for event_type in EVENTS}
        assert {row["state"] for row in story.first.executions} >= {"finished", "failed", "skipped", "shadow"}

    def test_what_streams_now_is_noticed_within_a_minute(self, story: Story) -> None:
        assert 10 < story.noticed_after < 60
        assert {row["verdict"] for row in story.messages} == {"valid"}
        told = {json.loads(row["body"])["rule"] for row in story.messages}
        assert told == {"the loss jumps", "the gradient jumps"}

    def test_every_training_says_which_data_it_read(self, story: Story) -> None:
        waiting = {run["id"] for run in story.first.runs if run["status"] == "pending"}
        trained = {run["id"] for run in story.first.past()} - waiting
        (live,) = story.first.training(live=True)
        assert all(len(story.first.read[run]) == 1 for run in {*trained, live["id"]})
        (read,) = story.first.read[live["id"]]
        assert read["tags"] == ["checked"]

    def test_what_to_open_first_is_said(self, story: Story) -> None:
        (live,) = story.first.training(live=True)
        assert f"/{LIVE}/runs/{live['run_id']}/" in story.said

    def test_a_second_start_makes_only_a_new_training(self, story: Story) -> None:
        assert story.again is not None
        assert "Making the example" in story.said
        assert "Making the example" not in story.said_again
        before, now = story.first.training(live=False), story.again.training(live=False)
        assert {run["id"] for run in now} == {run["id"] for run in before}
        assert sorted(run["status"] for run in story.again.training(live=True)) == ["killed", "running"]

    def test_it_stops_cleanly(self, story: Story) -> None:
        assert story.codes == [0, 0, 0]

    def test_what_was_cut_short_is_made_anew(self, story: Story) -> None:
        assert "not made to its end" in story.said

    def test_it_can_be_removed_and_leaves_everything_else(self, story: Story) -> None:
        assert story.after is not None
        assert story.after.teams == {"main"}
        assert story.after.registries == []
        assert [run["run_id"] for run in story.after.runs] == ["mine"]
        assert story.after.executions == []
        assert story.files_left == []


@pytest.mark.django_db
def test_a_name_that_is_taken_is_said(penguins: Cast) -> None:
    refuse_taken_names()
    create_team("seabirds", owner=penguins.ada)
    with pytest.raises(StartError, match="the team “seabirds”"):
        refuse_taken_names()


def test_it_is_not_for_production(settings: Settings) -> None:
    settings.TRIPLINE_EMBEDDED = True
    refuse_production()
    settings.TRIPLINE_EMBEDDED = False
    with pytest.raises(StartError, match="without DATABASE_URL"):
        refuse_production()


@pytest.mark.django_db
class TestTheCardOnTheHomePage:
    @pytest.fixture(autouse=True)
    def _example(self, penguins: Cast, settings: Settings, tmp_path: Path) -> None:
        settings.TRIPLINE_DATA_DIR = tmp_path
        Example(penguins.organization.pk, penguins.team.pk, penguins.project.pk, "tl-key").save()

    def test_it_leads_to_the_training_that_streams_now(self, penguins: Cast, client: Client) -> None:
        client.force_login(penguins.vera)
        assert "removedemo" in client.get("/").content.decode()
        run = new_run(penguins.project)
        assert f'href="{run.page}"' in client.get("/").content.decode()

    def test_strangers_do_not_see_it(self, penguins: Cast, client: Client) -> None:
        client.force_login(penguins.otto)
        assert "removedemo" not in client.get("/").content.decode()
