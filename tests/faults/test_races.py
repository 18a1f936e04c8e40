"""The race of `tests.faults.races`, short: what the receiver was told last is what the database holds."""

from __future__ import annotations

import pytest

from tests.faults.races import race
from tests.stories import embedded_alone, production_alone

pytestmark = pytest.mark.slow


def the_latest_wins(shape: str) -> None:
    report = race(shape=shape, order="latest_only", moves=240, clients=20, rounds=1)
    assert report["wrong"] == report["went_back"] == 0, report
    # There was a race: some were overtaken, some refused, and the tables were looked at in between.
    assert report["superseded"] > 20
    assert report["refused"] > 3
    assert report["moved"] > 160
    assert report["prefixes_with_tables"] > 20


@embedded_alone
def test_the_last_accepted_delivery_names_what_the_database_holds() -> None:
    the_latest_wins("embedded")


@production_alone
def test_the_same_in_production() -> None:
    the_latest_wins("production")


@embedded_alone
def test_without_an_order_the_receiver_is_told_old_moves_after_new_ones() -> None:
    """So the race is one, and what it finds in order is not so by itself."""
    report = race(shape="embedded", order="any", moves=100, clients=10, rounds=1)
    assert report["went_back"] > 0
