"""Story three: the README's first run and first automation, pasted as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.stories import embedded_alone
from tests.stories.rest import Rest
from tests.upserver import ROOT, UpServer, up_server, wait_for

pytestmark = [embedded_alone, pytest.mark.slow]

SECTION = "## A first run and a first automation"
FIREWALL = "## Behind a firewall: no open port"
KEY, URL = "tl-…", "http://127.0.0.1:8000"  # what a reader replaces by what `up` printed


@dataclass(frozen=True)
class Story:
    rest: Rest
    section: str
    received: list[dict[str, Any]]
    executions: list[dict[str, Any]]


def section_of_readme(title: str) -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count(f"{title}\n") == 1
    return text.partition(f"{title}\n")[2].partition("\n## ")[0]


def commands(section: str) -> str:
    return "".join(re.findall(r"^```bash\n(.*?)^```$", section, re.DOTALL | re.MULTILINE))


def readers_environment() -> dict[str, str]:
    # `python3` is the one that runs the tests: the client needs no package, and every machine has another.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {name: value for name, value in os.environ.items() if not name.startswith("TRIPLINE_")}
    return {**env, "PATH": path, "no_proxy": "127.0.0.1"}


def paste(script: str, folder: Path) -> None:
    """Type it into a shell that stops at the first command that fails."""
    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=readers_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def follow(server: UpServer, folder: Path) -> Story:
    section = section_of_readme(SECTION)
    script = commands(section)
    assert (script.count(KEY), script.count(URL)) == (1, 1)
    paste(script.replace(KEY, server.key).replace(URL, server.url), folder)
    rest = Rest(server.url, server.key)
    (inbox,) = rest.results("inboxes/")
    requests = f"inboxes/{inbox['id']}/requests/"
    wait_for(lambda: rest.get(requests)["results"] and settled(rest), within=30)
    return Story(rest, section, rest.get(requests)["results"], rest.results("executions/"))


def settled(rest: Rest) -> bool:
    """The rule fired, and what matched later was held back and counted."""
    return sorted(row["state"] for row in rest.results("executions/")) == ["finished", "skipped"]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("readme")
    # With the canary that every installation has, and often: no list that the reader looks at shows it.
    with up_server(folder / "data", env={"TRIPLINE_CANARY_EVERY": "1"}, bare=True) as server:
        yield follow(server, folder)


def test_the_pasted_commands_log_two_runs(story: Story) -> None:
    runs = story.rest.results("runs/")
    assert [(run["status"], run["config"], run["summary"]) for run in runs] == [
        ("finished", {"learning_rate": 0.1}, {"loss": 0.025})
    ] * 2


def test_the_webhook_lies_in_the_inbox_once(story: Story) -> None:
    (received,) = story.received
    second = story.rest.results("runs/?ordering=id")[-1]
    losses = [1 / (step + 1) for step in range(40)]
    first = next(end for end in range(4, 40) if sum(losses[end - 4 : end + 1]) / 5 < 0.05)
    assert received["body"] == (
        f'{{"text":"{second["name"]}: average(loss, 5) < 0.05",'
        f'"value":{sum(losses[first - 4 : first + 1]) / 5!r},"step":{first}}}'
    )


def test_the_readme_says_itself_what_then_happens(story: Story) -> None:
    """The sentence and the number of the value in the README are those of the server."""
    (fired,) = [row["explanation"] for row in story.executions if row["state"] == "finished"]
    (sentence,) = re.findall(r"\*(average of .*?)\*", story.section)
    assert sentence == fired["text"]
    (number,) = re.findall(r"fires at the (\d+)(?:st|nd|rd|th) value", story.section)
    assert int(number) == fired["step"] + 1


# --- Behind a firewall ----------------------------------------------------------------------------


@contextmanager
def following(rest: Rest, key: str, folder: Path) -> Iterator[list[str]]:
    """What follow.py says, until it is killed at the end of the block."""
    said: list[str] = []
    env = {**readers_environment(), "URL": rest.url, "TRIPLINE_API_KEY": key}
    with subprocess.Popen(
        ["/usr/bin/env", "python3", "follow.py"], cwd=folder, env=env, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        reader = threading.Thread(target=said.extend, args=[process.stdout], daemon=True)
        reader.start()
        try:
            yield said
        finally:
            process.kill()
            reader.join(10)


def test_who_follows_the_feed_goes_on_where_they_were(tmp_path: Path) -> None:
    """Killed and started again; what happened in between comes too, and nothing comes twice."""
    paste(commands(section_of_readme(FIREWALL)), tmp_path)
    with up_server(tmp_path / "data") as server:
        rest = Rest(server.url, server.key)
        project = rest.post("projects/", {"team": "main", "name": "deployments"})["id"]
        models = rest.post("collections/", {"project": project, "name": "models"})["id"]

        def new_version() -> None:
            rest.post("versions/", {"collection": models, "aliases": ["production"]})

        new_version()
        with following(rest, server.key, tmp_path) as said:
            wait_for((tmp_path / "cursor.txt").exists)
            new_version()
            wait_for(lambda: told(said) == ["models:v1"])
            # Its cursor is written when it asks again, and not before.
            wait_for(lambda: (tmp_path / "cursor.txt").read_text().endswith(said[-1].split()[0]))
        new_version()
        with following(rest, server.key, tmp_path) as said:
            new_version()
            wait_for(lambda: told(said) == ["models:v2", "models:v3"])


def told(said: list[str]) -> list[str]:
    """The versions that `production` was said to be, in order."""
    return [line.split()[3] for line in said if line.split()[1] == "production"]
