"""The picture has everyone's costs and ends on common scales, and the deadline."""

from __future__ import annotations

import pytest

from spot.report.forecast_picture import bar, picture
from tests.machinery.simulation.forecasted import forecast, replays


def test_it_fits_and_each_lane_stands_below_its_place() -> None:
    lines = [line.plain for line in picture(forecast(), 80)]
    assert max(map(len, lines)) <= 80
    axis = lines[7]
    assert axis.split() == ["$0", "$2", "$4", "$6", "$8", "$10"]
    fullest, ours, on_demand = lines[1], lines[2], lines[4]
    assert ours.startswith("this policy ")
    assert [index for index, cell in enumerate(ours) if cell == "█"] == [20 + 24, 20 + 30, 20 + 36]
    assert fullest.strip() == "█"
    assert fullest.index("█") == 20 + 30
    assert on_demand.index("█") == 79


def test_the_deadline_is_a_line_through_all_lanes_and_who_is_late_is_behind_it() -> None:
    lines = [line.plain for line in picture(forecast(), 80)]
    lanes = lines[10:16]
    at = {line.index("│") for line in lanes}
    assert len(at) == 1
    late = max(index for index, cell in enumerate(lanes[-1]) if cell in "▁▂▃▄▅▆▇█")
    assert late > at.pop()


def test_without_a_single_end_there_is_only_the_deadline() -> None:
    never = replays([1] * 4, [None] * 4)
    lines = [line.plain for line in picture(forecast(ours=never, on_demand=never, article=never), 80)]
    assert any("│" in line for line in lines)


@pytest.mark.parametrize(("share", "drawn"), [(0.5, "█████"), (0.55, "█████▌"), (2, "█" * 10), (0, ""), (-1, "")])
def test_a_bar_is_as_long_as_its_share(share: float, drawn: str) -> None:
    assert bar(share, 10) == drawn
