"""Story one: a real model is trained, uploaded and put in production, and three webhooks tell it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.stories import embedded_alone
from tests.stories.receiver import Letter, receiving
from tests.stories.rest import Rest, make_hook, make_rule
from tests.stories.training import Training, steps_with_average_above, train
from tests.upserver import up_server, wait_for

pytestmark = [embedded_alone, pytest.mark.slow]

SECRET = "whsec_" + base64.b64encode(b"the secret of the receiver, 24+ ").decode()
THRESHOLD, WINDOW = 0.9, 5
RULES: dict[str, dict[str, Any]] = {
    "accurate": {
        "type": "run_metric_threshold",
        "metric": "val.accuracy",
        "aggregation": "average",
        "window": WINDOW,
        "comparison": "above",
        "threshold": THRESHOLD,
    },
    "done": {"type": "run_status", "statuses": ["finished"]},
    "in production": {"type": "alias_added", "alias": "^production$"},
}
PAYLOADS = {
    "accurate": {
        "run": "${run_name}",
        "metric": "${metric_name}",
        "filter": "${metric_filter}",
        "value": "${metric_value}",
        "values": "${metric_values}",
        "step": "${step}",
    },
    "done": {"text": "${run_name} is ${run_status}", "registry": "${registry_name}"},
    "in production": {"alias": "${alias}", "version": "${artifact_version}", "author": "${event_author}"},
}


@dataclass(frozen=True)
class Story:
    """What is left when everything has happened."""

    rest: Rest
    training: Training
    letters: list[Letter]
    rules: dict[str, int]

    def letter(self, rule: str) -> Any:
        """The body of the only letter of that rule."""
        (data,) = [letter.data for letter in self.letters if letter.data["rule"] == rule]
        return data

    def executions(self, rule: str) -> list[dict[str, Any]]:
        return self.rest.results(f"executions/?automation={self.rules[rule]}")


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("digits")
    with receiving() as receiver, up_server(folder / "data") as server:
        rest = Rest(server.url, server.key)
        project = rest.post("projects/", {"team": "main", "name": "digits"})["id"]
        hook = make_hook(rest, receiver.url, signing_secret=SECRET)
        rules = make_rules(rest, project, hook)
        training = train(rest, server.key, folder, learning_rate=0.01, project="main/digits")
        assert training.code == 0, training.errors
        collection = rest.get(f"versions/{training.outcome['version']}/")["collection"]
        rest.put(f"collections/{collection}/aliases/production/", {"version": training.outcome["version"]})
        told = Story(rest, training, receiver.letters, rules)
        wait_for(lambda: everything_is_decided(told), within=30)
        yield told


def make_rules(rest: Rest, project: int, hook: int) -> dict[str, int]:
    return {
        name: make_rule(
            rest,
            name,
            event,
            project=project,
            hook=hook,
            payload={"rule": "${automation_name}", **PAYLOADS[name]},
        )
        for name, event in RULES.items()
    }


def everything_is_decided(story: Story) -> bool:
    """The three have arrived, and every later match of the first rule was counted as held back."""
    executions = [execution for rule in story.rules for execution in story.executions(rule)]
    ended = [execution for execution in executions if execution["state"] == "finished"]
    held_back = sum(execution["count"] for execution in executions if execution["state"] == "skipped")
    return len(ended) == 3 and held_back == len(expected_steps(story.training)) - 1


def expected_steps(training: Training) -> list[int]:
    return steps_with_average_above(training.values("accuracy"), THRESHOLD, window=WINDOW)


def test_exactly_three_webhooks_arrive_each_once(story: Story) -> None:
    assert sorted(letter.data["rule"] for letter in story.letters) == ["accurate", "done", "in production"]
    assert len({letter.webhook_id for letter in story.letters}) == 3


def test_the_threshold_is_met_at_the_step_that_the_scripts_own_figures_say(story: Story) -> None:
    accuracies = story.training.values("accuracy")
    first, *later = expected_steps(story.training)
    # A real crossing: single values were above before, and the training went on after.
    assert max(accuracies[:first]) > THRESHOLD
    assert WINDOW < first < len(accuracies) - 1
    letter = story.letter("accurate")
    assert letter["step"] == first
    assert letter["values"] == accuracies[first - WINDOW + 1 : first + 1]
    assert letter["value"] == pytest.approx(sum(letter["values"]) / WINDOW, rel=1e-12)
    assert (letter["metric"], letter["filter"]) == ("val.accuracy", "average(val.accuracy, 5) > 0.9")
    assert letter["run"] == "digits-0.01"
    skipped = [row for row in story.executions("accurate") if row["state"] == "skipped"]
    assert [(row["count"], row["explanation"]["first_step"]) for row in skipped] == [(len(later), later[0])]


def test_the_execution_says_why_with_the_same_numbers(story: Story) -> None:
    (fired,) = [row for row in story.executions("accurate") if row["state"] == "finished"]
    letter = story.letter("accurate")
    why = fired["explanation"]
    assert (why["step"], why["value"], why["window"]) == (letter["step"], letter["value"], letter["values"])
    assert why["text"].startswith("average of the last 5 values of val.accuracy = 0.90")
    assert why["text"].endswith(f"> 0.9 at step {letter['step']}")
    (delivery,) = fired["deliveries"]
    assert [attempt["status_code"] for attempt in delivery["attempts"]] == [200]


def test_the_end_of_the_run_and_the_alias_are_told(story: Story) -> None:
    done, promoted = story.letter("done"), story.letter("in production")
    assert (done["text"], done["registry"]) == ("digits-0.01 is finished", "")
    assert (promoted["alias"], promoted["version"]) == ("production", "digits-classifier:v0")
    assert promoted["author"] == "admin"
    # `latest` came by itself and was looked at, but the rule's pattern left it out.
    aliases = [event["data"]["alias"] for event in feed(story.rest) if event["type"] == "alias_added"]
    assert aliases == ["latest", "production"]


def feed(rest: Rest) -> list[dict[str, Any]]:
    return list(rest.get("events/")["results"])


def test_every_signature_is_accepted_by_the_standardwebhooks_package(story: Story) -> None:
    receiver = Webhook(SECRET)
    for letter in story.letters:
        assert receiver.verify(letter.body, letter.headers) == letter.data
        with pytest.raises(WebhookVerificationError):
            receiver.verify(letter.body + b" ", letter.headers)


def test_every_signature_for_receivers_of_wandb_is_the_bodys_hmac(story: Story) -> None:
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    for letter in story.letters:
        expected = hmac.new(key, letter.body, hashlib.sha256).hexdigest()
        assert letter.headers["x-wandb-signature"] == expected


def test_the_uploaded_model_comes_back_byte_for_byte(story: Story) -> None:
    outcome, local = story.training.outcome, (story.training.folder / "digits.joblib").read_bytes()
    version = story.rest.get(f"versions/{outcome['version']}/")
    assert (version["run"], version["version"], outcome["number"]) == (outcome["run"], "v0", "v0")
    assert version["metadata"] == {"features": 64}
    (file,) = version["files"]
    assert (file["path"], file["size"]) == ("digits.joblib", len(local))
    assert file["digest"] == hashlib.sha256(local).hexdigest()
    assert story.rest.download(f"/api/v1/versions/{version['id']}/files/digits.joblib") == local


def test_every_value_is_stored_as_it_was_measured(story: Story) -> None:
    run = story.training.outcome["run"]
    for metric in ("accuracy", "loss"):
        series = story.rest.get(f"runs/{run}/metrics/?name=val.{metric}")
        assert series["values"] == story.training.values(metric)
        assert series["steps"] == list(range(len(story.training.measured)))
    assert json.dumps(story.rest.get(f"runs/{run}/")["config"], sort_keys=True) == (
        '{"batch": 32, "epochs": 2, "learning_rate": 0.01}'
    )
