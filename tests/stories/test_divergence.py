"""Story two: the learning rate is absurd, the loss leaves the range of floats, the script dies."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.stories import embedded_alone
from tests.stories.receiver import Letter, receiving
from tests.stories.rest import Rest, make_hook, make_rule
from tests.stories.training import Training, spelled, train
from tests.upserver import up_server, wait_for

pytestmark = [embedded_alone, pytest.mark.slow]

# So large that scores overflow at once, and the weights a little later.
ABSURD = 1e307


@dataclass(frozen=True)
class Story:
    rest: Rest
    training: Training
    letters: list[Letter]
    run: dict[str, Any]

    def letter(self, rule: str) -> Any:
        (data,) = [letter.data for letter in self.letters if letter.data["rule"] == rule]
        return data


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("diverging")
    with receiving() as receiver, up_server(folder / "data") as server:
        rest = Rest(server.url, server.key)
        make_rules(rest, make_hook(rest, receiver.url))
        training = train(rest, server.key, folder, learning_rate=ABSURD, project="main/digits")
        wait_for(lambda: everything_is_decided(rest), within=30)
        (run,) = rest.results("runs/")
        yield Story(rest, training, receiver.letters, run)


def make_rules(rest: Rest, hook: int) -> None:
    project = rest.post("projects/", {"team": "main", "name": "digits"})["id"]
    common = {"rule": "${automation_name}", "text": "${run_name} is ${run_status}"}
    metric = {"metric": "${metric_name}", "value": "${metric_value}", "step": "${step}"}
    failed = {"type": "run_status", "statuses": ["failed"]}
    finished = {"type": "run_status", "statuses": ["finished"]}
    nonfinite = {"type": "run_metric_nonfinite", "metric": "val.loss"}
    make_rule(rest, "failed", failed, project=project, hook=hook, payload=common)
    make_rule(rest, "finished", finished, project=project, hook=hook, payload=common)
    make_rule(rest, "nonfinite", nonfinite, project=project, hook=hook, payload={**common, **metric})


def everything_is_decided(rest: Rest) -> bool:
    states = [row["state"] for row in rest.results("executions/")]
    return states.count("finished") == 2 and "pending" not in states


def test_the_script_dies_of_its_learning_rate_and_not_of_us(story: Story) -> None:
    assert story.training.code == 1
    assert "ValueError: Floating-point under-/overflow occurred" in story.training.errors
    assert "tripline." not in story.training.errors.rpartition("ValueError")[2]
    assert story.training.outcome == {}


def test_the_failure_arrives_and_no_success(story: Story) -> None:
    assert story.run["status"] == "failed"
    assert story.run["finished_at"] is not None
    assert story.letter("failed") == {"rule": "failed", "text": "digits-1e+307 is failed"}
    assert sorted(letter.data["rule"] for letter in story.letters) == ["failed", "nonfinite"]


def test_the_first_value_that_is_no_number_is_told_at_its_step(story: Story) -> None:
    losses = story.training.values("loss")
    first = next(step for step, loss in enumerate(losses) if not math.isfinite(loss))
    letter = story.letter("nonfinite")
    assert (letter["metric"], letter["step"], letter["value"]) == ("val.loss", first, spelled(losses[first]))


def test_nan_and_infinity_are_stored_and_shown_as_such(story: Story) -> None:
    losses = [spelled(loss) for loss in story.training.values("loss")]
    assert {"NaN", "Infinity"} <= set(losses)
    series = story.rest.get(f"runs/{story.run['id']}/metrics/?name=val.loss")
    assert series["values"] == losses
    assert story.run["summary"]["val.loss"] == losses[-1] == "NaN"
    rows = {row["name"]: row for row in story.rest.get(f"runs/{story.run['id']}/metrics/?source=history")}
    finite = [loss for loss in losses if isinstance(loss, float)]
    assert (rows["val.loss"]["min"], rows["val.loss"]["max"]) == (min(finite), max(finite))
    assert (rows["val.loss"]["last"], rows["val.loss"]["count"]) == ("NaN", len(losses))
