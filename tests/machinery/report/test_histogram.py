"""Test the picture of a forecast in block characters."""

from __future__ import annotations

from rich.text import Text

from spot.report.histogram import BLOCKS, LABEL, picture
from tests.machinery.simulation.forecasted import forecast, replays


def lines_of(found: list[Text]) -> list[str]:
    return [line.plain for line in found]


def test_it_fits_and_each_cost_stands_above_its_place() -> None:
    lines = lines_of(picture(forecast(), 80))
    assert max(map(len, lines)) <= 80
    _, ours, on_demand, _, scale = lines[:5]
    assert scale.split() == ["$0", "$10"]
    assert ours.startswith("this policy ")
    assert [index - LABEL for index, cell in enumerate(ours) if cell in BLOCKS] == [22, 28, 33]
    assert on_demand.index("█") == 79


def test_the_fullest_bin_is_full_and_a_single_value_can_be_seen() -> None:
    ours = lines_of(picture(forecast(ours=replays([5] * 100 + [1], [12] * 101)), 80))[1]
    assert ours[LABEL:].split() == ["▁", "█"]


def test_the_deadline_is_a_line_through_all_lanes_with_late_runs_behind_it() -> None:
    lanes = lines_of(picture(forecast(), 80))[7:10]
    assert len({line.index("│") for line in lanes}) == 1
    late = max(index for index, cell in enumerate(lanes[-1]) if cell in BLOCKS)
    assert late > lanes[-1].index("│")


def test_without_a_single_end_there_is_only_the_deadline() -> None:
    never = replays([1] * 4, [None] * 4)
    lines = lines_of(picture(forecast(ours=never, on_demand=never, spot_window=never), 80))
    assert any("│" in line for line in lines)
