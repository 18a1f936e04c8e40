"""Payload templates: what is substituted, what stays data, and what is refused when a template is saved."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from hypothesis import given, strategies as st

from automations.template import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_PROBLEMS,
    JsonValue,
    TemplateError,
    check,
    fill_secrets,
    render,
    render_text,
)

OTTER: dict[str, JsonValue] = {
    "run_name": "sleepy-otter-7",
    "step": 41,
    "metric_value": 0.62,
    "metric_values": [0.5, 0.25],
    "alias": "production",
    "tag": None,
    "artifact_metadata": {
        "accuracy": 0.93,
        "val/loss": 0.1,
        "a.b": "flat",
        "a": {"b": "deep", "c": [1, {"d": 2}]},
    },
}
KNOWN = ["run_name", "run_id", "step", "metric_value", "alias", "artifact_metadata.*", "SLACK_TOKEN"]
NASTY = 'a "quote",\n\\ ${alias} $${x} 本番 </script> \u2028 \x1a \x00'

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def _rendered(payload: JsonValue, values: dict[str, JsonValue] | None = None) -> Any:
    return json.loads(render(payload, OTTER if values is None else values))


# What is substituted


@pytest.mark.parametrize(
    ("template", "result"),
    [
        pytest.param("${step}", 41, id="a lone integer stays one"),
        pytest.param("${metric_value}", 0.62, id="a lone float stays one"),
        pytest.param("${metric_values}", [0.5, 0.25], id="a lone list stays one"),
        pytest.param(
            "${artifact_metadata.a}", {"b": "deep", "c": [1, {"d": 2}]}, id="a lone object stays one"
        ),
        pytest.param("${run_name}", "sleepy-otter-7", id="a lone string stays one"),
        pytest.param("${tag}", "", id="not applicable is empty"),
        pytest.param("${unheard_of}", "", id="absent is empty"),
        pytest.param("tag: ${tag}.", "tag: .", id="not applicable is empty inside a text"),
        pytest.param(" ${step}", " 41", id="not alone, so text"),
        pytest.param("${run_name}: ${metric_value} at ${step}", "sleepy-otter-7: 0.62 at 41", id="several"),
        pytest.param("of ${metric_values}", "of [0.5,0.25]", id="a list inside a text is compact JSON"),
        pytest.param("${artifact_metadata.accuracy}", 0.93, id="metadata"),
        pytest.param("${artifact_metadata.val/loss}", 0.1, id="metadata with a slash"),
        pytest.param("${artifact_metadata.a.c}", [1, {"d": 2}], id="nested metadata"),
        pytest.param("${artifact_metadata.a.b}", "flat", id="a key that has a dot goes before a nested one"),
        pytest.param("${artifact_metadata.accuracy.x}", "", id="nothing inside a number"),
        pytest.param("${artifact_metadata.nothing.here}", "", id="nothing inside nothing"),
        pytest.param("$${run_name}", "${run_name}", id="escaped"),
        pytest.param("$$${run_name}", "$${run_name}", id="a dollar and an escape"),
        pytest.param("costs $5, or ${step}$", "costs $5, or 41$", id="dollars alone are text"),
        pytest.param("${run_name", "${run_name", id="an open brace is text"),
        pytest.param("", "", id="empty"),
    ],
)
def test_a_string_leaf_is_rendered(template: str, result: JsonValue) -> None:
    assert _rendered({"leaf": template}) == {"leaf": result}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (1e22, "1e+22"),
        (0.1 + 0.2, "0.30000000000000004"),
        (10**20, "1" + "0" * 20),
        ({"ä": None}, '{"ä":null}'),
    ],
)
def test_a_value_inside_a_text_is_written_like_this(value: JsonValue, text: str) -> None:
    assert _rendered({"leaf": "<${x}>"}, {"x": value}) == {"leaf": f"<{text}>"}


def test_leaves_are_found_in_lists_and_objects_and_other_values_stay() -> None:
    payload: JsonValue = {"a": ["${step}", {"b": "${alias}"}], "c": [True, None, 1, 2.5, []], "d": {}}
    assert _rendered(payload) == {"a": [41, {"b": "production"}], "c": [True, None, 1, 2.5, []], "d": {}}


def test_keys_are_never_substituted() -> None:
    assert _rendered({"${run_name}": "${step}"}) == {"${run_name}": 41}


def test_the_order_of_keys_is_kept_and_the_text_is_the_same_each_time() -> None:
    payload: JsonValue = {"z": 1, "a": "${alias}", "m": "本番"}
    assert render(payload, OTTER) == render(payload, OTTER) == '{"z":1,"a":"production","m":"本番"}'


@pytest.mark.parametrize("template", ["${x}", "= ${x}"])
@pytest.mark.parametrize(
    ("value", "name"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")]
)
def test_numbers_that_json_lacks_become_strings(template: str, value: float, name: str) -> None:
    assert _rendered({"leaf": template}, {"x": value}) == {"leaf": template.replace("${x}", name)}


def test_numbers_that_json_lacks_become_strings_deep_inside_values_and_payloads() -> None:
    assert _rendered(["${x}", -math.inf], {"x": {"losses": [math.nan, 1.0]}}) == [
        {"losses": ["NaN", 1.0]},
        "-Infinity",
    ]


def test_plain_text_is_rendered_without_json_quoting() -> None:
    assert (
        render_text('"${run_name}" reached ${metric_value}${tag}', OTTER) == '"sleepy-otter-7" reached 0.62'
    )


# Values are data


@pytest.mark.parametrize("template", ["${x}", "<${x}>"])
def test_a_nasty_name_arrives_as_data(template: str) -> None:
    assert _rendered({"leaf": template}, {"x": NASTY, "alias": "WRONG"}) == {
        "leaf": template.replace("${x}", NASTY)
    }


@given(st.text())
def test_any_text_arrives_unchanged_alone_and_inside_a_text(value: str) -> None:
    body = fill_secrets(render(["${x}", "<${x}>"], {"x": value}), {})
    body.encode()
    assert json.loads(body) == [value, f"<{value}>"]
    assert render_text("<${x}>", {"x": value}) == f"<{value}>"


@given(json_values)
def test_any_value_arrives_unchanged_as_a_lone_leaf(value: JsonValue) -> None:
    assert _rendered({"leaf": "${x}"}, {"x": value}) == {"leaf": "" if value is None else value}


@given(json_values)
def test_any_payload_without_variables_arrives_unchanged(payload: JsonValue) -> None:
    assert _rendered(_escaped(payload)) == payload


@given(json_values, st.dictionaries(st.text(), json_values, max_size=3))
def test_any_payload_renders_to_valid_json(payload: JsonValue, values: dict[str, JsonValue]) -> None:
    _rendered(payload, values)
    check(payload, list(values))


def _escaped(payload: JsonValue) -> JsonValue:
    if isinstance(payload, str):
        return payload.replace("${", "$${")
    if isinstance(payload, dict):
        return {key: _escaped(value) for key, value in payload.items()}
    return [_escaped(value) for value in payload] if isinstance(payload, list) else payload


def test_half_a_surrogate_pair_does_not_break_the_encoding() -> None:
    body = render({"\udc00": "${x} \ud83d"}, {"x": "\ud83d!"})
    assert json.loads(body.encode()) == {"\ufffd": "\ufffd! \ufffd"}


# Secrets


def test_a_secret_stays_out_of_the_text_until_it_is_filled_in() -> None:
    body = render(
        {"auth": "Bearer ${SLACK_TOKEN}", "lone": "${SLACK_TOKEN}"}, {}, secrets=frozenset({"SLACK_TOKEN"})
    )
    assert json.loads(body) == {"auth": "Bearer /secret:SLACK_TOKEN/", "lone": "/secret:SLACK_TOKEN/"}
    assert json.loads(fill_secrets(body, {"SLACK_TOKEN": "x0-1"})) == {"auth": "Bearer x0-1", "lone": "x0-1"}


@given(
    secret=st.text(),
    data=st.text() | st.sampled_from([r"\/secret:T\/", r"\/secret:T", "/secret:T/", "\\", NASTY]),
)
def test_any_secret_beside_any_data_arrives_exactly_once_where_it_was_named(secret: str, data: str) -> None:
    body = render({data: data, "leaf": "${d}${T}${d}"}, {"d": data, "T": "WRONG"}, secrets=frozenset({"T"}))
    expected = {data: data.replace("$${", "${"), "leaf": f"{data}{secret}{data}"}
    if "${" not in data:
        assert json.loads(fill_secrets(body, {"T": secret})) == expected


@pytest.mark.parametrize(
    "forged",
    [r"\/secret:T\/", r"\\/secret:T\\/", "/secret:T/", r"\u002fsecret:T\u002f", "\\\\\\/secret:T\\/"],
)
@pytest.mark.parametrize("place", ["key", "leaf", "value"])
def test_text_that_looks_like_the_mark_of_a_secret_is_left_alone(forged: str, place: str) -> None:
    payload: JsonValue = {
        forged if place == "key" else "k": forged if place == "leaf" else "${run_name}",
        "t": "${T}",
    }
    body = render(payload, {"run_name": forged}, secrets=frozenset({"T"}))
    filled = fill_secrets(body, {"T": "hunter2"})
    assert filled.count("hunter2") == 1
    assert forged in json.dumps(json.loads(filled)).replace("\\\\", "\\")


def test_text_that_begins_a_mark_does_not_swallow_the_real_one_behind_it() -> None:
    body = render("${run_name}${T}", {"run_name": r"\/secret:T"}, secrets=frozenset({"T"}))
    assert json.loads(fill_secrets(body, {"T": "hunter2"})) == r"\/secret:Thunter2"


def test_a_secret_that_looks_like_another_mark_is_not_filled_again() -> None:
    body = render(["${A}", "${B}"], {}, secrets=frozenset({"A", "B"}))
    assert json.loads(fill_secrets(body, {"A": r"\/secret:B\/", "B": "b"})) == [r"\/secret:B\/", "b"]


def test_a_secret_that_is_gone_is_an_error_and_its_mark_is_never_sent() -> None:
    body = render({"auth": "${SLACK_TOKEN}"}, {}, secrets=frozenset({"SLACK_TOKEN"}))
    with pytest.raises(TemplateError, match="SLACK_TOKEN"):
        fill_secrets(body, {"OTHER": "x"})


def test_a_text_without_secrets_is_left_byte_for_byte() -> None:
    body = render({"a": NASTY, "b": "${x}"}, {"x": NASTY})
    assert fill_secrets(body, {"x": "WRONG"}) == body


@pytest.mark.parametrize("name", ["", "a b", "a-b", 'a"b', "7up", "a\\/", "ä"])
def test_a_name_that_could_not_be_a_secret_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="letters, digits"):
        render({}, {}, secrets=frozenset({name}))


# What is refused when a template is saved


def test_a_template_of_known_names_has_no_problems() -> None:
    payload: JsonValue = {
        "a": ["${run_name} ${step}", {"b": "$${anything} ${artifact_metadata.x.y}"}],
        "t": "${SLACK_TOKEN}",
    }
    assert check(payload, KNOWN) == []


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        pytest.param(
            {"text": "${run_nmae}"},
            "$.text: unknown variable ${run_nmae}; did you mean ${run_name}?",
            id="typo",
        ),
        pytest.param(
            {"a": [0, {"b": "x ${stepp}"}]},
            "$.a[1].b: unknown variable ${stepp}; did you mean ${step}?",
            id="deep",
        ),
        pytest.param(
            {"odd key": "${Alias}"},
            '$["odd key"]: unknown variable ${Alias}; did you mean ${alias}?',
            id="odd key",
        ),
        pytest.param(
            "${ step }", "$: unknown variable ${ step }; did you mean ${step}?", id="spaces in the name"
        ),
        pytest.param(["${artifact_metadta.loss}"], "did you mean ${artifact_metadata.KEY}?", id="prefix"),
        pytest.param(
            ["${artifact_metadata.}"], "unknown variable ${artifact_metadata.}", id="prefix without a key"
        ),
        pytest.param(
            ["${artifact_metadata}"], "unknown variable ${artifact_metadata}", id="the object itself"
        ),
        pytest.param(["${SLACK_TOKEN_2}"], "did you mean ${SLACK_TOKEN}?", id="another secret"),
        pytest.param({"a": "${"}, "$.a: ${ without a name and a }; write $${", id="open brace"),
        pytest.param({"a": "${}"}, "$.a: ${ without a name and a }", id="no name"),
        pytest.param(
            {"a": "${run_${step}}"}, "$.a: ${ without a name and a }", id="a variable in a variable"
        ),
    ],
)
def test_a_problem_says_where_it_is_and_what_is_nearest(payload: JsonValue, problem: str) -> None:
    problems = check(payload, KNOWN)
    assert len(problems) == 1
    assert problem in problems[0]


def test_keys_are_not_looked_at_for_variables() -> None:
    assert check({"${unheard_of}": 1}, KNOWN) == []


def test_every_problem_is_named_up_to_a_limit() -> None:
    assert len(check(["${a}", "${b} ${c}"], KNOWN)) == 3
    assert len(check(["${a}" * 1000] * 1000, KNOWN)) == MAX_PROBLEMS


def test_where_nothing_is_known_the_problem_says_so() -> None:
    assert check("${x}", []) == ["$: unknown variable ${x}; no variables are known here"]


# Limits


def _nested(depth: int) -> JsonValue:
    node: JsonValue = "${run_name}"
    for level in range(depth):
        node = [node] if level % 2 else {"n": node}
    return node


def test_the_deepest_allowed_payload_is_rendered() -> None:
    assert check(_nested(MAX_DEPTH), KNOWN) == []
    assert "sleepy-otter-7" in render(_nested(MAX_DEPTH), OTTER)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 5000])
def test_a_payload_that_is_nested_too_deeply_is_refused(depth: int) -> None:
    assert "nested more than 64 levels" in check(_nested(depth), KNOWN)[0]
    with pytest.raises(TemplateError, match="nested more than 64 levels"):
        render(_nested(depth), OTTER)


@pytest.mark.parametrize("template", ["${x}", "<${x}>"])
def test_a_value_that_is_nested_too_deeply_is_refused(template: str) -> None:
    with pytest.raises(TemplateError, match="nested more than 64 levels"):
        render([template], {"x": _nested(5000)})


def test_a_payload_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(TemplateError, match="1,000,000 characters"):
        render(["${x}" * 10_000], {"x": "a" * 10_000})
    assert len(render(["${x}"], {"x": "a" * (MAX_CHARACTERS - 4)})) == MAX_CHARACTERS


@pytest.mark.parametrize(
    "hostile",
    [
        "${" * 100_000,
        "$" * 200_000,
        "${a" * 70_000,
        "${" + "a" * 200_000,
        "$${" * 70_000,
        "\\/secret:" * 20_000,
    ],
)
def test_hostile_text_takes_linear_time(hostile: str) -> None:
    start = time.process_time()
    check([hostile], KNOWN)
    fill_secrets(render([hostile], OTTER), {})
    assert time.process_time() - start < 2
