"""Test the text of a forecast: one sentence, the numbers, a picture and the assumptions."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from spot.cli import console, forecast_tables
from spot.cli.forecast_tables import ForecastResult, headline, percent
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
    said = "Expect $5.00: 50% less than on-demand only. 0 of 4 late (95 % upper bound 75%, 4 independent windows)."
    assert headline(forecast()).plain == said
    assert read(shown(), capsys).startswith(said)


def test_a_loss_is_called_a_loss() -> None:
    said = headline(forecast(ours=replays([12] * 4, [11, 12, 13, 25]))).plain
    assert "Expect $12.00: a LOSS of 20% against on-demand only." in said
    assert said.endswith("1 of 4 late (25%, 4 independent windows).")


def test_a_run_that_may_end_without_a_model_saves_nothing() -> None:
    said = headline(forecast(ours=replays([1] * 4, [None, 12, 13, None]))).plain
    assert said == "Expect $1.00 and no model in 2 of 4 replays. 2 of 4 late (50%, 4 independent windows)."


def test_the_numbers_stand_beside_those_of_what_it_is_compared_with(capsys: pytest.CaptureFixture[str]) -> None:
    text = read(shown(), capsys)
    assert row(text, "cost, mean") == ["$5.00", "$10.00 / $6.25"]
    assert row(text, "half of them") == ["$5.00 to $6.00", "$10.00 to $10.00 / $6.00 to $7.00"]
    assert row(text, "done after, median") == ["13.0 h", "10.2 h / 13.0 h"]
    assert row(text, "late") == ["0 of 4", "0 of 4 / 1 of 4"]
    assert row(text, "late, share") == ["< 75%", "< 75% / 25%"]
    assert row(text, "preemptions") == ["2.0", "2.0 / 2.0"]
    assert "no model" not in text
    never = read(shown(forecast(ours=replays([1] * 4, [None] * 4))), capsys)
    assert row(never, "no model") == ["4 of 4", "0 of 4 / 0 of 4"]
    assert row(never, "done after, median") == ["never", "10.2 h / 13.0 h"]
    some = read(shown(forecast(ours=replays([1] * 4, [10, 11, 12, None]))), capsys)
    assert row(some, "done after, median") == ["12.0 h", "10.2 h / 13.0 h"]
    assert row(some, "95 % before") == ["never", "10.2 h / 25.0 h"]


def test_a_sweep_has_no_saving_where_there_may_be_no_model(capsys: pytest.CaptureFixture[str]) -> None:
    text = read(shown(forecast(ours=replays([1] * 4, [10, 11, None, None])), sweep="deadline"), capsys)
    assert row(text, "us-central1 *") == ["$1.00", "no model: 2", "never", "2 of 4"]
    loss = read(shown(forecast(ours=replays([12] * 4, [10] * 4)), sweep="deadline"), capsys)
    assert row(loss, "us-central1 *")[1] == "LOSS 20%"


def test_a_difference_too_small_to_tell_is_none() -> None:
    found = forecast(ours=replays([10.001] * 4, [10] * 4), spot_window=replays([10.002] * 4, [10] * 4))
    assert "Expect $10.00: as much as on-demand only." in headline(found).plain
    assert (percent(0.0004), percent(0.0), percent(0.05)) == (
        "< 0.1%",
        "0%",
        "5.0%",
    )


def test_a_policy_that_may_end_without_a_model_is_not_compared() -> None:
    assert "window." not in headline(forecast(spot_window=replays([1] * 4, [None] * 4))).plain


@pytest.mark.parametrize(("columns", "drawn"), [(50, False), (60, True)])
def test_a_narrow_terminal_keeps_the_names_of_the_rows_and_may_lose_the_picture(
    columns: int, drawn: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "WIDE", columns)
    text = read(shown(), capsys)
    assert row(text, "preemptions") == ["2.0", "2.0 / 2.0"]
    assert row(text, "late, share")
    assert ("what it costs" in text) is drawn
    assert max(map(len, text.splitlines())) <= columns


@pytest.mark.parametrize(("columns", "drawn"), [(40, False), (50, False), (60, False), (70, True)])
def test_in_a_narrow_terminal_a_sweep_keeps_the_names_of_its_cases_and_may_lose_the_bars(
    columns: int, drawn: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "WIDE", columns)
    text = read(shown(forecast(replace(CASE, label="24 h")), sweep="deadline"), capsys)
    assert row(text, "24 h *")[:4] == ["$5.00", "50%", "13.0 h", "0 of 4"]
    assert ("█" in text) is drawn
    assert max(map(len, text.splitlines())) <= columns


def test_it_says_what_it_rests_on(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(read(shown(notes=["prices are old"]), capsys).split())
    assert "capacity measured, t.csv note a note on capacity note prices are old" in text
    assert "4 random windows of the capacity (seed 7)" in text
    assert "4 of them do not overlap." in text
    assert "5-15 min on spot and 5-19 min on demand (policy.worst_start_minutes), not billed." in text
    assert "A restore takes 2-6 min." in text
    assert "prices us-central1 $0.50/h spot, $1.00/h on demand" in text


def test_a_sweep_has_a_line_for_each_case_and_marks_the_one_of_the_settings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    later = samples.run(regions=("us-central1",), deadline=samples.after(hours=48))
    cases = [
        forecast(replace(CASE, label="24 h")),
        forecast(Case(label="48 h", run=later), ours=replays([2] * 4, [12] * 4)),
    ]
    text = read(shown(*cases, sweep="deadline"), capsys)
    assert row(text, "24 h *") == ["$5.00", "50%", "13.0 h", "0 of 4", "█" * 9]
    assert row(text, "48 h") == ["$2.00", "80%", "12.0 h", "0 of 4", "███▌"]
    assert "* the run of the settings" in text
