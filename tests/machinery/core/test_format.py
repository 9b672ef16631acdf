"""Test the formats of times and durations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from spot.core.format import clock, counted, hours, percent


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(), "0 s"),
        (timedelta(seconds=89), "89 s"),
        (timedelta(seconds=90), "2 min"),
        (timedelta(minutes=23), "23 min"),
        (timedelta(minutes=89), "89 min"),
        (timedelta(minutes=90), "1.5 h"),
        (timedelta(hours=4, minutes=12), "4.2 h"),
        (timedelta(days=7), "168.0 h"),
        (timedelta(seconds=-45), "-45 s"),
        (timedelta(minutes=-23), "-23 min"),
        (timedelta(hours=-2), "-2.0 h"),
    ],
)
def test_a_duration_has_one_unit(duration: timedelta, text: str) -> None:
    assert hours(duration) == text


def test_a_moment_is_shown_in_utc_to_the_minute() -> None:
    assert clock(datetime(2026, 11, 24, 21, 14, 59, tzinfo=UTC)) == "2026-11-24 21:14 UTC"
    assert clock(datetime(2026, 11, 25, 1, 14, tzinfo=timezone(timedelta(hours=4)))) == "2026-11-24 21:14 UTC"


def test_one_is_counted_as_one() -> None:
    assert (counted(1, "attempt"), counted(2, "attempt"), counted(0, "attempt")) == (
        "1 attempt",
        "2 attempts",
        "0 attempts",
    )


def test_a_small_share_is_not_rounded_to_nothing() -> None:
    assert (percent(0.001), percent(0), percent(0.5)) == ("< 1 %", "0 %", "50 %")
