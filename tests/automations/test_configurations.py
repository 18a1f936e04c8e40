"""What a valid condition is: defaults filled in as documented, anything else refused with the field named."""

from __future__ import annotations

import math
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from automations.events.base import EVENTS
from automations.services.rules import check_event

FILTERS: dict[str, Any] = {"user": None, "run_name": None}
METRIC: dict[str, Any] = {**FILTERS, "source": "auto", "warmup": 0, "hold": 1}

# By event type: the least that may be given, and everything that is stored then.
LEAST: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "version_added": ({}, {"alias": None}),
    "version_linked": ({}, {"alias": None}),
    "version_unlinked": ({}, {"alias": None}),
    "alias_added": ({"alias": "^a"}, {}),
    "alias_removed": ({"alias": "^a"}, {}),
    "collection_created": ({}, {"name": None}),
    "tag_added": ({"tag": "^a"}, {}),
    "tag_removed": ({"tag": "^a"}, {}),
    "collection_tag_added": ({"tag": "^a"}, {}),
    "collection_tag_removed": ({"tag": "^a"}, {}),
    "run_status": ({"statuses": ["failed"]}, FILTERS),
    "run_metric_threshold": (
        {"metric": "loss", "comparison": "above", "threshold": -1.5},
        {**METRIC, "aggregation": "average", "window": 5},
    ),
    "run_metric_change": (
        {"metric": "loss", "direction": "any", "threshold": 0.25},
        {**METRIC, "aggregation": "average", "window": 10, "prior_window": 50, "change_type": "relative"},
    ),
    "run_metric_zscore": (
        {"metric": "loss", "direction": "above", "threshold": 2.0},
        {**METRIC, "window": 30, "baseline": "runs"},
    ),
    "run_metric_nonfinite": ({}, {**METRIC, "metric": None}),
}
METRIC_TYPES = [name for name in LEAST if name.startswith("run_metric_")]
RUN_TYPES = [name for name in LEAST if name.startswith("run_")]


def refused(event_type: str, config: dict[str, Any]) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as refusal:
        check_event(event_type, config)
    return refusal.value.message_dict


def with_(event_type: str, **change: Any) -> dict[str, Any]:
    return {**LEAST[event_type][0], **change}


def test_every_event_type_is_in_these_tables() -> None:
    assert set(LEAST) == {one.key for one in EVENTS}


@pytest.mark.parametrize("event_type", LEAST)
def test_what_is_left_out_is_the_documented_default(event_type: str) -> None:
    given, rest = LEAST[event_type]
    stored = check_event(event_type, given)
    assert stored == {**rest, **given}
    assert check_event(event_type, stored) == stored, "what is stored is valid as it is"
    assert check_event(event_type, dict.fromkeys(rest) | given) == stored, "null is left out"


@pytest.mark.parametrize("event_type", LEAST)
def test_what_is_required_is_named_when_it_is_missing(event_type: str) -> None:
    given = LEAST[event_type][0]
    for name in given:
        rest = {key: value for key, value in given.items() if key != name}
        assert set(refused(event_type, rest)) == {name}
        assert set(refused(event_type, {**rest, name: None})) == {name}
    if given:
        assert set(refused(event_type, {})) == set(given)


@pytest.mark.parametrize("event_type", LEAST)
def test_unknown_fields_are_refused_by_name(event_type: str) -> None:
    assert set(refused(event_type, with_(event_type, treshold=1))) == {"treshold"}
    assert set(refused(event_type, with_(event_type, type="x", Window=2))) == {"type", "Window"}


@pytest.mark.parametrize("event_type", LEAST)
@pytest.mark.parametrize("wrong", [{}, {"a": 1}, [1], [None], math.nan, math.inf, -math.inf])
def test_no_field_takes_a_value_of_another_type(event_type: str, wrong: Any) -> None:
    for name in {**LEAST[event_type][0], **LEAST[event_type][1]}:
        assert set(refused(event_type, with_(event_type, **{name: wrong}))) == {name}


CHOICES = {
    "aggregation": ["run_metric_threshold", "run_metric_change"],
    "comparison": ["run_metric_threshold"],
    "change_type": ["run_metric_change"],
    "direction": ["run_metric_change", "run_metric_zscore"],
    "baseline": ["run_metric_zscore"],
    "source": METRIC_TYPES,
}


@pytest.mark.parametrize("field", CHOICES)
@pytest.mark.parametrize("wrong", ["", "nonsense", "ABOVE", " above", 1, True])
def test_choices_are_taken_exactly(field: str, wrong: Any) -> None:
    for event_type in CHOICES[field]:
        assert set(refused(event_type, with_(event_type, **{field: wrong}))) == {field}


WHOLE = {
    ("run_metric_threshold", "window"): (1, 10_000),
    ("run_metric_change", "window"): (1, 10_000),
    ("run_metric_change", "prior_window"): (1, 10_000),
    ("run_metric_zscore", "window"): (2, 10_000),
    **{(name, "hold"): (1, 10_000) for name in METRIC_TYPES},
    **{(name, "warmup"): (0, 10_000_000) for name in METRIC_TYPES},
}


@pytest.mark.parametrize(("event_type", "field"), WHOLE)
def test_whole_numbers_have_their_bounds(event_type: str, field: str) -> None:
    value: object
    least, most = WHOLE[event_type, field]
    for value in (least, most):
        assert check_event(event_type, with_(event_type, **{field: value}))[field] == value
    for value in (least - 1, most + 1, -1, 2**63, 10**400, 1.5, 5.0, "5", True, False, math.nan):
        assert set(refused(event_type, with_(event_type, **{field: value}))) == {field}, value


@pytest.mark.parametrize("event_type", ["run_metric_threshold", "run_metric_change", "run_metric_zscore"])
def test_a_threshold_is_a_finite_number_and_an_amount_is_positive(event_type: str) -> None:
    value: object
    positive = event_type != "run_metric_threshold"
    for value in (1, 0.25, math.ulp(0.0), 1.7e308):
        stored = check_event(event_type, with_(event_type, threshold=value))["threshold"]
        assert (stored, type(stored)) == (value, float)
    for value in (0, 0.0, -0.0, -1, -1e-300):
        if positive:
            assert set(refused(event_type, with_(event_type, threshold=value))) == {"threshold"}
        else:
            assert check_event(event_type, with_(event_type, threshold=value))["threshold"] == value
    for value in (math.nan, math.inf, -math.inf, 10**400, "0.6", "NaN", True):
        assert set(refused(event_type, with_(event_type, threshold=value))) == {"threshold"}, value


# --- Texts ----------------------------------------------------------------------------------------

PATTERNS = {
    **dict.fromkeys(("version_added", "version_linked", "version_unlinked"), "alias"),
    **dict.fromkeys(("alias_added", "alias_removed"), "alias"),
    **{name: "tag" for name in LEAST if "tag_" in name},
    "collection_created": "name",
    **dict.fromkeys(RUN_TYPES, "run_name"),
}


@pytest.mark.parametrize("event_type", PATTERNS)
def test_patterns_are_re2s_and_refused_in_its_own_words(event_type: str) -> None:
    field = PATTERNS[event_type]
    for pattern in ("^europe.*", "(?i)EU", r"\d{3}$", "本番", "a|b", "[^x]+"):
        assert check_event(event_type, with_(event_type, **{field: pattern}))[field] == pattern
    for pattern, words in {
        "(?=eu)": "invalid perl operator: (?=",
        "(?<!eu)": "invalid perl operator: (?<",
        r"(a)\1": "invalid escape sequence: \\1",
        "(a": "missing ): (a",
        "a**": "bad repetition operator: **",
        "[z-a]": "invalid character class range: z-a",
        "(a{1000}){1000}": "invalid repetition size: {1000}",
    }.items():
        found = refused(event_type, with_(event_type, **{field: pattern}))
        assert set(found) == {field}
        assert words in found[field][0], found
    for pattern in ("nul\x00", "lone\ud800", "x" * 1001):
        assert set(refused(event_type, with_(event_type, **{field: pattern}))) == {field}


@pytest.mark.parametrize("event_type", METRIC_TYPES)
def test_a_metrics_name_is_taken_as_it_is(event_type: str) -> None:
    name: object
    for name in ("loss", "val/loss", " padded ", "system.gpu.0.temp", "損失", "x" * 250, "a b%s${c}"):
        assert check_event(event_type, with_(event_type, metric=name))["metric"] == name
    for name in ("x" * 251, "nul\x00", "lone\ud800", 5, ["loss"]):
        assert set(refused(event_type, with_(event_type, metric=name))) == {"metric"}


@pytest.mark.parametrize(
    ("statuses", "taken"),
    [
        (["running"], True),
        (["running", "finished", "failed"], True),
        ([], False),
        (["crashed"], False),
        (["killed"], False),
        (["running", "nonsense"], False),
        (["running", None], False),
        ("running", False),
    ],
)
def test_states_are_chosen_from_three(statuses: Any, taken: bool) -> None:
    if taken:
        assert check_event("run_status", {"statuses": statuses})["statuses"] == statuses
    else:
        assert set(refused("run_status", {"statuses": statuses})) == {"statuses"}


def test_several_mistakes_are_all_named() -> None:
    found = refused(
        "run_metric_change",
        {"metric": "", "direction": "up", "threshold": 0, "window": 0, "warm_up": 3, "run_name": "(?=a)"},
    )
    assert set(found) == {"metric", "direction", "threshold", "window", "warm_up", "run_name"}


@pytest.mark.parametrize("wrong", ["run_metric", "Run_status", "", None, 5, ["run_status"], {"a": 1}])
def test_an_unknown_type_is_refused_as_such(wrong: Any) -> None:
    found = refused(wrong, {})
    assert set(found) == {"type"}
    assert "is no known event type" in found["type"][0]


def test_an_almost_right_type_is_answered_with_the_nearest_one() -> None:
    assert "run_metric_zscore" in refused("run_metric_zscores", {})["type"][0]
