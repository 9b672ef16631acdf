"""Test the text of a forecast: one sentence, the numbers, a picture and the assumptions."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from rich.text import Text

from spot.cli import console, forecast_tables
from spot.cli.forecast_tables import BLOCKS, LABEL, ForecastResult, headline, picture
from spot.simulation.forecast import Case
from tests.machinery import samples
from tests.machinery.simulation.forecasted import CASE, forecast, replays, shown


def read(what: ForecastResult, capsys: pytest.CaptureFixture[str]) -> str:
    console.write(*forecast_tables.parts(what, console.columns()))
    return capsys.readouterr().out


def row(text: str, name: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.strip().startswith(name))
    return re.split(r"  +", line.strip())[1:]


def test_a_forecast_leads_with_cost_saving_and_the_chance_to_be_late(capsys: pytest.CaptureFixture[str]) -> None:
    said = "Expect $5.00: 50 % less than on-demand only. 0 of 4 late (95 % upper bound 75 %, 4 independent windows)."
    assert headline(forecast()).plain == said
    assert read(shown(), capsys).startswith(said)


def test_a_loss_is_called_a_loss() -> None:
    said = headline(forecast(ours=replays([12] * 4, [11, 12, 13, 25]))).plain
    assert "Expect $12.00: LOSS, 20 % more than on-demand only." in said
    assert said.endswith("1 of 4 late (25 %, 4 independent windows).")


def test_a_run_that_may_end_without_a_model_saves_nothing() -> None:
    said = headline(forecast(ours=replays([1] * 4, [None, 12, 13, None]))).plain
    assert said == "Expect $1.00: no model in 2 of 4 replays. 2 of 4 late (50 %, 4 independent windows)."


def test_the_numbers_stand_beside_those_of_what_it_is_compared_with(capsys: pytest.CaptureFixture[str]) -> None:
    text = read(shown(), capsys)
    assert row(text, "cost, mean") == ["$5.00", "$10.00 / $6.25"]
    assert row(text, "half of them") == ["$5.00 to $6.00", "$10.00 to $10.00 / $6.00 to $7.00"]
    assert row(text, "done after, median") == ["13.0 h", "10.2 h / 13.0 h"]
    assert row(text, "late") == ["0 of 4", "0 of 4 / 1 of 4"]
    assert row(text, "preemptions") == ["2.0", "2.0 / 2.0"]
    never = read(shown(forecast(ours=replays([1] * 4, [None] * 4))), capsys)
    assert row(never, "done after, median") == ["never", "10.2 h / 13.0 h"]
    some = read(shown(forecast(ours=replays([1] * 4, [10, 11, 12, None]))), capsys)
    assert row(some, "done after, median") == ["12.0 h", "10.2 h / 13.0 h"]
    assert row(some, "95 % before") == ["never", "10.2 h / 25.0 h"]


def test_a_sweep_has_no_saving_where_there_may_be_no_model(capsys: pytest.CaptureFixture[str]) -> None:
    text = read(shown(forecast(ours=replays([1] * 4, [10, 11, None, None])), sweep="deadline"), capsys)
    assert row(text, "us-central1") == ["$1.00", "no model in 2 of 4 replays", "never", "2 of 4"]
    loss = read(shown(forecast(ours=replays([12] * 4, [10] * 4)), sweep="deadline"), capsys)
    assert row(loss, "us-central1")[1] == "LOSS, 20 % more"


def test_a_difference_too_small_to_tell_is_none() -> None:
    found = forecast(ours=replays([10.001] * 4, [10] * 4), spot_window=replays([10.002] * 4, [10] * 4))
    assert "Expect $10.00: 0 % less than on-demand only." in headline(found).plain


def test_a_policy_that_may_end_without_a_model_is_not_compared() -> None:
    assert "window." not in headline(forecast(spot_window=replays([1] * 4, [None] * 4))).plain


def test_it_says_what_it_rests_on(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(read(shown(notes=["prices are old"]), capsys).split())
    assert "capacity measured, t.csv note a note on capacity note prices are old" in text
    assert "4 random windows of the capacity (seed 7)" in text
    assert "4 of them do not overlap." in text
    assert "5-15 min on spot and 5-19 min on demand (policy.worst_start_minutes), not billed." in text
    assert "A restore takes 2-6 min." in text
    assert "prices us-central1 $0.50/h spot, $1.00/h on demand" in text


def test_a_sweep_has_a_line_for_each_case(
    capsys: pytest.CaptureFixture[str],
) -> None:
    later = samples.run(regions=("us-central1",), deadline=samples.after(hours=48))
    cases = [
        forecast(replace(CASE, label="24 h")),
        forecast(Case(label="48 h", run=later), ours=replays([2] * 4, [12] * 4)),
    ]
    text = read(shown(*cases, sweep="deadline"), capsys)
    assert row(text, "24 h") == ["$5.00", "50 % less", "13.0 h", "0 of 4"]
    assert row(text, "48 h") == ["$2.00", "80 % less", "12.0 h", "0 of 4"]


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
