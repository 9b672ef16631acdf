"""A picture in blocks says what the numbers say."""

from __future__ import annotations

import pytest

from spot.report.histogram import Scale, axis, blocks, scale

TEN = Scale(least=0, most=10, step=2)


@pytest.mark.parametrize(
    ("least", "most", "found"),
    [
        (0, 16.15, (0, 20, 5)),
        (0, 1, (0, 1, 0.2)),
        (16.2, 24, (16, 24, 2)),
        (0, 1043, (0, 1500, 500)),
        (7, 7, (7, 7, None)),
    ],
)
def test_a_scale_has_steps_that_people_count_in_and_holds_both_ends(
    least: float, most: float, found: tuple[float, float, float | None]
) -> None:
    made = scale(least, most)
    assert made.least == pytest.approx(found[0])
    assert made.most == pytest.approx(found[1], abs=1e-6)
    assert found[2] is None or made.step == pytest.approx(found[2])


def test_every_value_is_counted_once_those_at_the_ends_included() -> None:
    assert TEN.counts([0, 0.9, 1, 5, 9.99, 10], 10) == [2, 1, 0, 0, 0, 1, 0, 0, 0, 2]


def test_the_fullest_bin_is_as_high_as_all_lines_and_a_single_value_can_be_seen() -> None:
    assert blocks([0, 1, 500, 1000], 2) == ["   █", " ▁██"]
    assert blocks([0, 0], 1) == ["  "]


def test_each_tick_is_below_its_place_and_none_runs_into_the_next() -> None:
    line = axis(TEN, 40, "$")
    assert line == "$0     $2      $4      $6      $8    $10"
    assert axis(TEN, 12, "$") == "$0  $4   $8", "what has no room is left out"
