"""Test scales, and the picture of a forecast in block characters."""

from __future__ import annotations

import pytest

from spot.report.histogram import LABEL, Scale, axis, blocks, picture, scale
from tests.machinery.simulation.forecasted import forecast, replays

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


def test_it_fits_and_each_lane_stands_below_its_place() -> None:
    lines = [line.plain for line in picture(forecast(), 80)]
    assert max(map(len, lines)) <= 80
    axis = lines[7]
    assert axis.split() == ["$0", "$2", "$4", "$6", "$8", "$10"]
    fullest, ours, on_demand = lines[1], lines[2], lines[4]
    assert ours.startswith("this policy ")
    assert [index for index, cell in enumerate(ours) if cell == "█"] == [LABEL + 22, LABEL + 28, LABEL + 33]
    assert fullest.strip() == "█"
    assert fullest.index("█") == LABEL + 28
    assert on_demand.index("█") == 79


def test_the_deadline_is_a_line_through_all_lanes_with_late_runs_behind_it() -> None:
    lines = [line.plain for line in picture(forecast(), 80)]
    lanes = lines[10:16]
    at = {line.index("│") for line in lanes}
    assert len(at) == 1
    late = max(index for index, cell in enumerate(lanes[-1]) if cell in "▁▂▃▄▅▆▇█")
    assert late > at.pop()


def test_without_a_single_end_there_is_only_the_deadline() -> None:
    never = replays([1] * 4, [None] * 4)
    lines = [line.plain for line in picture(forecast(ours=never, on_demand=never, spot_window=never), 80)]
    assert any("│" in line for line in lines)
