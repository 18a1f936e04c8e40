"""Story three: the README's first run and first automation, pasted as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.stories import embedded_alone
from tests.stories.rest import Rest
from tests.upserver import ROOT, UpServer, up_server, wait_for

pytestmark = embedded_alone

SECTION = "## A first run and a first automation"
KEY, URL = "tl-…", "http://127.0.0.1:8000"  # what a reader replaces by what `up` printed


@dataclass(frozen=True)
class Story:
    rest: Rest
    section: str
    received: list[dict[str, Any]]
    executions: list[dict[str, Any]]


def section_of_readme() -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count(f"{SECTION}\n") == 1
    return text.partition(f"{SECTION}\n")[2].partition("\n## ")[0]


def commands(section: str) -> str:
    return "".join(re.findall(r"^```bash\n(.*?)^```$", section, re.DOTALL | re.MULTILINE))


def paste(script: str, folder: Path) -> None:
    """Type it into a shell that stops at the first command that fails."""
    # `python3` is the one that runs the tests: the client needs no package, and every machine has another.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {name: value for name, value in os.environ.items() if not name.startswith("TRIPLINE_")}
    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**env, "PATH": path, "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def follow(server: UpServer, folder: Path) -> Story:
    section = section_of_readme()
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
    with up_server(folder / "data", env={"TRIPLINE_CANARY_EVERY": "1"}) as server:
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
