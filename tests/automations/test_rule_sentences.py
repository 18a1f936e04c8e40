"""What a rule waits for, and what it does, as one plain sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from automations import overview
from automations.events.base import EVENTS
from automations.services.rules import ActionDraft
from tests import cast
from tests.cast import Cast

METRIC = {"metric": "loss"}
OVER = {**METRIC, "comparison": "above", "threshold": 0.6}
Z = {**METRIC, "direction": "above", "threshold": 2}


@pytest.mark.parametrize(
    ("event_type", "config", "sentence"),
    [
        ("version_added", {}, "a new version is added to an artifact"),
        (
            "version_added",
            {"alias": "^prod"},
            "a new version with an alias that matches ^prod is added to an artifact",
        ),
        ("version_linked", {}, "a version is linked to a collection"),
        ("version_unlinked", {}, "a version is unlinked from a collection"),
        ("alias_added", {"alias": "^prod"}, "an alias that matches ^prod is put on a version"),
        ("alias_removed", {"alias": "^prod"}, "an alias that matches ^prod is taken off a version"),
        ("tag_added", {"tag": "^eu"}, "a version gets a tag that matches ^eu"),
        ("tag_removed", {"tag": "^eu"}, "a version loses a tag that matches ^eu"),
        ("collection_created", {}, "a collection is created"),
        ("collection_created", {"name": "fish"}, "a collection is created whose name matches fish"),
        ("collection_tag_added", {"tag": "x"}, "a collection gets a tag that matches x"),
        ("collection_tag_removed", {"tag": "x"}, "a collection loses a tag that matches x"),
        ("run_status", {"statuses": ["failed"]}, "a run changes to failed"),
        (
            "run_status",
            {"statuses": ["failed", "running", "finished"], "user": "ada"},
            "a run changes to running, finished or failed, of runs by ada",
        ),
        (
            "run_status",
            {"statuses": ["failed"], "user": "ada", "run_name": "^exp-"},
            "a run changes to failed, of runs by ada whose name matches ^exp-",
        ),
        ("run_metric_threshold", OVER, "the average of the last 5 values of loss is above 0.6"),
        (
            "run_metric_threshold",
            {**OVER, "comparison": "below_or_equal", "aggregation": "none"},
            "loss is 0.6 or below",
        ),
        (
            "run_metric_threshold",
            {**OVER, "aggregation": "max", "window": 1, "hold": 3, "warmup": 10},
            "the maximum of the last value of loss is above 0.6, 3 values in a row, not counting the first "
            "10 values of a run",
        ),
        (
            "run_metric_change",
            {**METRIC, "direction": "decrease", "threshold": 0.25},
            "the average of the last 10 values of loss is at least 25 % below that of the 50 values before "
            "them",
        ),
        (
            "run_metric_change",
            {
                **METRIC,
                "direction": "any",
                "threshold": 0.5,
                "aggregation": "none",
                "change_type": "absolute",
            },
            "loss increases or decreases by at least 0.5 from one value to the next",
        ),
        (
            "run_metric_zscore",
            Z,
            "loss is at least 2 standard deviations above the mean of the 30 newest other runs",
        ),
        (
            "run_metric_zscore",
            {**Z, "baseline": "values", "direction": "either"},
            "loss is at least 2 standard deviations away from the mean of the 30 values before it",
        ),
        ("run_metric_nonfinite", METRIC, "loss is NaN or infinite for the first time in a run"),
        ("run_metric_nonfinite", {}, "any metric is NaN or infinite for the first time in a run"),
    ],
)
def test_every_condition_is_a_clause(event_type: str, config: Mapping[str, Any], sentence: str) -> None:
    found = EVENTS[event_type]
    assert found.sentence(found.config_form.parse(dict(config))) == sentence


def test_every_type_of_event_has_one() -> None:
    """A type that is added needs its own; the table above then needs a line for it."""
    (mark,) = test_every_condition_is_a_clause.pytestmark
    assert {case[0] for case in mark.args[1]} == {event_type.key for event_type in EVENTS}


@pytest.mark.parametrize(
    "comparison", ["above", "above_or_equal", "below", "below_or_equal", "not_equal", "equal"]
)
def test_every_choice_of_a_form_has_words(comparison: str) -> None:
    threshold = EVENTS["run_metric_threshold"]
    config = threshold.config_form.parse({**OVER, "comparison": comparison})
    assert "0.6" in threshold.sentence(config)
    for baseline in ("runs", "values"):
        for direction in ("above", "below", "either"):
            score = EVENTS["run_metric_zscore"]
            assert "2" in score.sentence(
                score.config_form.parse({**Z, "baseline": baseline, "direction": direction})
            )
    for direction in ("increase", "decrease", "any"):
        for aggregation in ("average", "min", "max", "none"):
            change = EVENTS["run_metric_change"]
            config = {**METRIC, "direction": direction, "aggregation": aggregation, "threshold": 2}
            assert "200 %" in change.sentence(change.config_form.parse(config))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("period", "per_status", "limit"),
    [
        (86_400, False, "At most once a day per run."),
        (3 * 3600, False, "At most once in 3 h per run."),
        (None, False, "At most once ever per run."),
        (0, False, "Every time."),
        (86_400, True, "At most once a day per run. Each status is counted alone."),
    ],
)
def test_a_rule_says_where_what_and_how_often(
    penguins: Cast, period: int | None, per_status: bool, limit: str
) -> None:
    hook = cast.webhook(penguins.team, "https://hooks.example.com/")
    rule = cast.rule(
        penguins.project,
        "run_status",
        {"statuses": ["failed"]},
        period=period,
        per_status=per_status,
        actions=[*cast.sends(hook), ActionDraft("email", None, {"to": ["ada"]})],
    )
    said = "When a run changes to failed, in project penguins/waddle: Webhook to “hook”; e-mail to ada."
    assert overview.row(rule, penguins.vera).sentence == f"{said} {limit}"


@pytest.mark.django_db
def test_the_target_of_another_team_has_no_name(penguins: Cast) -> None:
    """A rule of an open registry is seen by many, and its integration belongs to one team."""
    hook = cast.webhook(penguins.team, "https://hooks.example.com/", name="secret-lair")
    models = cast.registry("models", owner=penguins.ada)
    rule = cast.rule(models, "version_linked", {}, actions=cast.sends(hook))
    assert "secret-lair" in overview.row(rule, penguins.vera).sentence
    row = overview.row(rule, penguins.otto)
    assert row.sentence == "When a version is linked to a collection, in registry models: Webhook."
    assert "secret-lair" not in repr(row.targets)


@pytest.mark.django_db
def test_a_rule_on_artifacts_names_no_limit_and_one_without_actions_says_so(penguins: Cast) -> None:
    rule = cast.rule(penguins.project, "version_added", {}, actions=[])
    assert overview.row(rule, penguins.ada).sentence == (
        "When a new version is added to an artifact, in project penguins/waddle: nothing is sent, it is only "
        "recorded."
    )
