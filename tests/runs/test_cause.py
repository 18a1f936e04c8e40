"""Where a request came from is believed only when we said so ourselves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_django import Settings

from runs import cause


def heard(header: str) -> str:
    with cause.caused_by(header):
        return cause.current()


def test_a_header_of_ours_comes_back_as_the_cause() -> None:
    assert heard(cause.signed("12/3")) == "12/3"
    assert cause.current() == "", "and is over when the request is"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "12/3",
        "12/3/",
        "12/3/" + "0" * 32,
        "١٢/٣/" + "0" * 32,
        "9" * 5000 + "/1/" + "0" * 32,
        "/".join(["1"] * 50),
        "本番",
        "\x00",
    ],
)
def test_a_header_that_somebody_made_up_names_no_cause(header: str) -> None:
    assert heard(header) == ""


@pytest.mark.parametrize(
    "change",
    [
        lambda ours: ours.replace("12/3", "12/5"),
        lambda ours: ours.replace("12/3", "13/3"),
        lambda ours: ours + "0",
        lambda ours: " " + ours,
        lambda ours: ours + "\n",
        lambda ours: ours.upper() + ours,
        lambda _ours: cause.signed("x/y"),
        lambda _ours: cause.signed(""),
    ],
)
def test_a_header_of_ours_that_was_changed_names_no_cause(change: Callable[[str], str]) -> None:
    assert heard(change(cause.signed("12/3"))) == ""


def test_another_installation_is_not_believed(settings: Settings) -> None:
    theirs = cause.signed("12/3")
    settings.SECRET_KEY = "of another one"
    assert heard(theirs) == ""


def test_each_message_is_one_step_deeper_and_fits_its_column() -> None:
    first = cause.following("", 7)
    assert (first, cause.depth(first)) == ("7/1", 1)
    assert cause.following(first, 8) == "8/2"
    assert len(cause.following("1/999", 2**59)) <= cause.LENGTH
    assert cause.depth("") == 0
