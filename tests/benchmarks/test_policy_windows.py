"""Test that windows held back while tuning are not used."""

from __future__ import annotations

import pytest

from benchmarks.policy_windows import Part, draw

DAY = 24 * 60
KNOWN = ((0, 7_460), (7_560, 21_140))


def test_no_window_that_is_held_back_has_a_minute_in_common_with_one_for_tuning() -> None:
    minutes: dict[Part, set[int]] = {part: set() for part in Part}
    for window in draw(KNOWN, length=DAY, count=400, seed=0):
        minutes[window.part].update(range(window.start, window.start + DAY))
    assert not minutes[Part.TUNING] & minutes[Part.HELD_BACK]


def test_no_window_has_a_gap_in_it() -> None:
    windows = draw(KNOWN, length=DAY, count=400, seed=0)
    assert all(any(begin <= it.start <= end - DAY for begin, end in KNOWN) for it in windows)


def test_each_part_has_half_of_the_windows() -> None:
    windows = draw(KNOWN, length=DAY, count=150, seed=0)
    assert [sum(window.part is part for window in windows) for part in Part] == [75, 75]


def test_the_seed_decides() -> None:
    assert draw(KNOWN, length=DAY, count=10, seed=0) == draw(KNOWN, length=DAY, count=10, seed=0)
    assert draw(KNOWN, length=DAY, count=10, seed=0) != draw(KNOWN, length=DAY, count=10, seed=1)


def test_a_trace_too_short_to_hold_something_back_is_refused() -> None:
    with pytest.raises(ValueError, match="no room for windows of 1440 minutes"):
        draw(((0, 6 * DAY - 1),), length=DAY, count=2, seed=0)
