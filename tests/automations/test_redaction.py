"""What a receiver echoes of our secrets, however it spells them, is not in the record."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus, unquote

import pytest

from automations.actions.redaction import REDACTED, redacted, secret_parts, spellings

SECRET = 'töken "with" <marks> & 100 % / + 本番'


@pytest.mark.parametrize(
    "spelled",
    [
        pytest.param(str, id="as it is"),
        pytest.param(json.dumps, id="JSON"),
        pytest.param(lambda text: json.dumps(text, ensure_ascii=False), id="JSON with all signs"),
        pytest.param(lambda text: json.dumps(json.dumps(text)), id="JSON in JSON"),
        pytest.param(lambda text: html.escape(json.dumps(text)[1:-1]), id="JSON in HTML"),
        pytest.param(html.escape, id="HTML"),
        pytest.param(quote, id="URL path"),
        pytest.param(lambda text: quote(text, safe=""), id="URL"),
        pytest.param(quote_plus, id="form"),
    ],
)
def test_a_secret_is_found_in_every_usual_spelling(spelled: Callable[[str], str]) -> None:
    text = redacted(f"you sent {spelled(SECRET)}, thanks", spellings([SECRET]))
    assert text.replace('"', "").replace("\\", "") == f"you sent {REDACTED}, thanks"


@pytest.mark.parametrize("kept", range(4, 20))
def test_a_text_that_breaks_off_within_a_secret_keeps_nothing_of_it(kept: int) -> None:
    secret = "s3cret-of-the-penguins"
    assert redacted(f"echo {secret[:kept]}", spellings([secret]), broken_off=True) == f"echo {REDACTED}"
    assert redacted(f"echo {secret[:kept]}", spellings([secret])) == f"echo {secret[:kept]}"


def test_a_secret_within_another_leaves_no_rest_of_the_longer() -> None:
    assert redacted("a key-and-more b", spellings(["key", "key-and-more"])) == f"a {REDACTED} b"


@pytest.mark.parametrize(
    ("url", "echoed"),
    [
        ("https://hooks.slack.com/services/T0/B0/abcdefghijklmnopqrstuvwx", "abcdefghijklmnopqrstuvwx"),
        ("https://hooks.slack.com/services/T0/B0/abcdefghijklmnopqrstuvwx", "/services/T0/B0/abcdefghijk"),
        ("https://x.example.com/hook?key=s3cret-key&n=1", "s3cret-key"),
        ("https://x.example.com/hook?key=s3cret%2Fkey", "s3cret/key"),
        ("https://x.example.com/hook?s3cret-key", "s3cret-key"),
        ("https://x.example.com/a?token=abcdef", "https://x.example.com/a?token=abcdef"),
    ],
)
def test_the_parts_of_an_address_that_let_somebody_in_are_secrets(url: str, echoed: str) -> None:
    text = redacted(f"unknown: {unquote(url) if '%' in url else url}", spellings(secret_parts(url)))
    assert echoed not in text
    assert REDACTED in text


def test_an_address_without_a_secret_takes_no_word_out_of_the_answer() -> None:
    hidden = spellings(secret_parts("https://x.example.com/services/hook?v=1&n=2"))
    answer = "hook 1 of services took 12 ms"
    assert redacted(answer, hidden) == answer
