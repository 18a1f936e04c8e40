"""When the next attempt is due, and which answers deserve one."""

from __future__ import annotations

import math

import pytest

from automations.backoff import DEFAULT_SCHEDULE, is_retryable, next_delay, ten_percent

DAY = 86_400.0


def _steady() -> float:
    return 1.0


def test_the_default_schedule_has_ten_attempts_and_then_gives_up() -> None:
    delays = [next_delay(attempt, jitter=_steady) for attempt in range(11)]
    assert delays == [0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400, None]


def test_an_own_schedule_takes_the_place_of_the_default() -> None:
    assert [next_delay(attempt, [1.0, 2.0], jitter=_steady) for attempt in range(3)] == [1.0, 2.0, None]


def test_an_empty_schedule_gives_up_at_once() -> None:
    assert next_delay(0, []) is None


def test_jitter_spreads_a_delay_by_ten_percent_to_both_sides() -> None:
    delays = [next_delay(2) or 0.0 for _ in range(500)]
    assert 270 <= min(delays) < 280
    assert 320 < max(delays) <= 330


def test_jitter_leaves_the_immediate_first_attempt_immediate() -> None:
    assert {next_delay(0) for _ in range(20)} == {0.0}


def test_the_default_jitter_is_a_factor_around_one() -> None:
    assert all(0.9 <= ten_percent() <= 1.1 for _ in range(500))


@pytest.mark.parametrize(
    ("retry_after", "delay"),
    [
        pytest.param(None, 300.0, id="no hint"),
        pytest.param(0.0, 300.0, id="at once is not sooner than scheduled"),
        pytest.param(120.0, 300.0, id="less than scheduled"),
        pytest.param(900.0, 900.0, id="more than scheduled"),
        pytest.param(10 * DAY, DAY, id="capped at a day"),
        pytest.param(math.inf, DAY, id="infinity is capped too"),
        pytest.param(math.nan, 300.0, id="no number is no hint"),
        pytest.param(-5.0, 300.0, id="the past is no hint"),
    ],
)
def test_retry_after_is_a_minimum_of_at_most_a_day(retry_after: float | None, delay: float) -> None:
    assert next_delay(2, retry_after=retry_after, jitter=_steady) == delay


def test_retry_after_does_not_prolong_a_delivery_that_is_given_up() -> None:
    assert next_delay(len(DEFAULT_SCHEDULE), retry_after=60.0) is None


def test_the_cap_of_retry_after_does_not_shorten_a_longer_scheduled_delay() -> None:
    assert next_delay(0, [3 * DAY], retry_after=5 * DAY, jitter=_steady) == 3 * DAY


def test_a_negative_attempt_is_an_error_and_not_the_end_of_the_schedule() -> None:
    with pytest.raises(ValueError, match="-1"):
        next_delay(-1)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_an_answer_that_may_change_is_retried(status: int) -> None:
    assert is_retryable(status)


@pytest.mark.parametrize(
    "status", [101, 301, 302, 307, 308, 400, 401, 403, 404, 409, 410, 413, 422, 499, 600]
)
def test_an_answer_that_will_not_change_is_final(status: int) -> None:
    assert not is_retryable(status)
