"""A schedule is five fields as GitHub takes them, or is refused with what is allowed."""

from __future__ import annotations

import pytest

from spot.config.cron import schedule


@pytest.mark.parametrize(
    "cron",
    [
        "* * * * *",
        "0 0 1 1 0",
        "59 23 31 12 6",
        "*/15 0-6,20-23 * * MON-FRI",
        "7 3 1,15 JAN,JUL *",
        "20/15 * * * *",
        "5-50/5 * * * *",
    ],
)
def test_what_github_takes_is_accepted(cron: str) -> None:
    assert schedule(cron) is None


@pytest.mark.parametrize(
    ("cron", "allowed"),
    [
        ("17 3 * *", "five fields"),
        ("17 3 * * 1 2026", "five fields"),
        ("17  3 * * 1", "five fields"),
        (" 17 3 * * 1", "five fields"),
        ("17 3 * * 1 ", "five fields"),
        ("@weekly", "five fields"),
        ("1" * 200 + " 3 * * 1", "five fields"),
        (17, "five fields"),
        ("60 3 * * 1", "a minute is 0 to 59"),
        ("17 24 * * 1", "an hour is 0 to 23"),
        ("17 JAN * * 1", "an hour is 0 to 23"),
        ("17 3 0 * 1", "a day of the month is 1 to 31"),
        ("17 3 L * *", "a day of the month is 1 to 31"),
        ("17 3 * 13 1", "a month is 1 to 12 or JAN to DEC"),
        ("17 3 * * 7", "a weekday is 0 to 6 or SUN to SAT"),
        ("17 3 * * FRI-MON", "a weekday"),
        ("17 3 * * MONDAY", "a weekday"),
        ("17 3 * * mon", "a weekday"),
        ("17 3 * * ?", "a weekday"),
        ("*/0 3 * * 1", "a minute"),
        ("*/60 3 * * 1", "a minute"),
        ("30-10 3 * * 1", "a minute"),
        ("1,,2 3 * * 1", "a minute"),
        ("1-2-3 3 * * 1", "a minute"),
        ("\N{FULLWIDTH DIGIT ONE} 3 * * 1", "a minute"),
    ],
)
def test_anything_else_is_refused_with_what_is_allowed(cron: object, allowed: str) -> None:
    assert str(schedule(cron)).startswith(allowed)
