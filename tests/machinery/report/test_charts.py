"""Test where things stand in the charts of a report."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from spot.accounting.progress_curve import curve, horizon
from spot.core.run import Outcome
from spot.report import charts, page
from spot.report.charts import LANE, MOST_TICKS
from tests.machinery import sample_runs
from tests.machinery.samples import after, attempt, ended, run

Chart = dict[str, Any]
Bar = SimpleNamespace


def of(sample: sample_runs.SampleRun) -> Chart:
    return charts.timeline(sample.account, horizon(sample.account))


def progress(sample: sample_runs.SampleRun) -> Chart:
    found = curve(sample.account)
    assert found
    return charts.progress(sample.account, found, horizon(sample.account))


def bars(chart: Chart, style: str) -> list[Bar]:
    return [Bar(**bar) for attempt in chart["attempts"] for bar in attempt["bars"] if bar["style"] == style]


def test_a_bar_stands_where_its_time_does() -> None:
    chart = of(sample_runs.handed_over())
    [held] = bars(chart, "training on-demand")
    assert held.x == pytest.approx(100 * (11.4 + 18 / 60) / 24)
    assert held.x + held.width == pytest.approx(100 * (15.4 + 11 / 60) / 24)
    [standby] = [bar for bar in bars(chart, "training spot") if bar.x > 50]
    assert standby.x == pytest.approx(100 * 15.64 / 24)


def test_a_wait_is_drawn_for_each_attempt_and_what_was_lost_over_its_bar() -> None:
    chart = of(sample_runs.preempted())
    assert len(bars(chart, "waited")) == 11
    assert len(bars(chart, "lost")) == 6


def test_two_attempts_at_once_in_one_region_stand_below_each_other() -> None:
    sample = sample_runs.handed_over()
    standby = replace(sample.run.attempts[-1], region="us-central1")
    chart = of(replace(sample, run=replace(sample.run, attempts=(*sample.run.attempts[:-1], standby))))
    [held], second = bars(chart, "training on-demand"), bars(chart, "training spot")[-1]
    assert second.y >= held.y + LANE


def test_marks_say_what_happened_and_when() -> None:
    assert [mark.style for mark in of(sample_runs.preempted())["marks"]] == ["preempted"] * 6
    [*_, taken_over] = of(sample_runs.handed_over())["marks"]
    assert (taken_over.text, taken_over.style) == ("replaced a10, 2026-11-24 15:35 UTC", "handed-over")
    [failure] = of(sample_runs.failed())["marks"]
    assert (failure.text, failure.style) == ("training-failed, 2026-11-24 02:24 UTC", "failed")


def test_the_deadline_and_the_end_are_lines_and_a_deadline_far_beyond_is_left_out() -> None:
    calm = sample_runs.calm()
    assert [moment.text for moment in of(calm)["frame"]["moments"]] == ["model 10:36", "deadline 00:00"]
    far = replace(calm, run=replace(calm.run, spec=replace(calm.run.spec, deadline=after(hours=900))))
    assert [moment.style for moment in of(far)["frame"]["moments"]] == ["end"]


@pytest.mark.parametrize("hours", [0.02, 0.3, 1, 7, 24, 50, 170, 900, 9000])
def test_the_times_below_are_round_and_no_more_than_a_phone_has_room_for(hours: float) -> None:
    sample = sample_runs.SampleRun(
        run=run(ended(Outcome.CANCELLED, started_at=after(), at=after(hours=hours))), seen=None, now=after(hours=hours)
    )
    ticks = [tick.text for tick in charts.timeline(sample.account, after(minutes=60 * hours))["frame"]["ticks"]]
    assert 1 <= len(ticks) <= MOST_TICKS + 1
    assert all(re.fullmatch(r"\d\d:\d[05]|\d\d:\d\d|\d+ [A-Z][a-z]{2}", tick) for tick in ticks)


def test_what_lies_outside_is_drawn_at_the_edge() -> None:
    early = attempt(intended_at=after() - timedelta(hours=3), started_at=after() - timedelta(hours=2))
    chart = of(sample_runs.SampleRun(run=run(early), seen=None, now=after(hours=2)))
    assert chart["attempts"][0]["bars"]
    assert all(
        0 <= bar["x"] <= bar["x"] + bar["width"] <= 100.2 for attempt in chart["attempts"] for bar in attempt["bars"]
    )


def test_progress_rises_from_the_lower_left_to_the_model() -> None:
    chart = progress(sample_runs.calm())
    points = chart["done"].split()
    assert points[0] == "0.0,100.0"
    assert points[-1] == f"{1000 * 10.6 / 24:.1f},0.0"
    assert chart["due"].split()[-1] == "1000.0,0.0"


def test_of_a_run_that_ended_before_its_work_was_due_the_line_stays_below() -> None:
    assert progress(sample_runs.failed())["due"] == "0.0,100.0 1000.0,100.0"


def test_no_line_crosses_a_label() -> None:
    drawn = page.report(sample_runs.late().account)
    first = drawn[drawn.index('<svg class="chart"') : drawn.index("Progress against the deadline")]
    assert max(found.start() for found in re.finditer("<line", first)) < first.index('<text class="moment')
