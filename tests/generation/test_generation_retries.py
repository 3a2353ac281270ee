"""Waits between attempts: they double, differ, and are never shorter than the server asked for, up to a limit."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunelab.generation.retries import Patience, retry_after

NOW = datetime(2026, 11, 21, 21, 0, 0, tzinfo=UTC)
CHANCE = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("17", 17.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("", None),
        ("Sat, 21 Nov 2026 21:00:30 GMT", 30.0),
        ("Sat, 21 Nov 2026 20:00:00 GMT", 0.0),
        ("Sat, 21 Nov 2026 22:01:00 +0100", 60.0),
        ("Sat, 21 Nov 2026 21:00:05 -0000", 5.0),
        ("Sat, 41 Nov 2026 21:00:05 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value, seconds):
    assert retry_after(value, NOW) == seconds


@given(st.integers(0, 10**6))
def test_a_date_is_as_far_away_as_the_clock_says(seconds):
    assert retry_after(format_datetime(NOW + timedelta(seconds=seconds), usegmt=True), NOW) == seconds


@given(st.integers(1, 12), CHANCE)
def test_a_wait_lies_between_half_of_the_doubled_one_and_all_of_it(attempts, chance):
    doubled = [0.5 * 2**i for i in range(12)][attempts - 1]
    wait = Patience(first_wait=0.5, longest_wait=1e9).wait(attempts, None, chance)
    assert doubled / 2 <= wait <= doubled


@given(st.integers(1, 2000), st.none() | st.floats(0, 1e9), CHANCE)
def test_no_wait_is_longer_than_the_limit_nor_shorter_than_asked_below_it(attempts, asked, chance):
    wait = Patience(first_wait=1.0, longest_wait=60.0).wait(attempts, asked, chance)
    assert min(asked or 0.0, 60.0) <= wait <= 60.0
