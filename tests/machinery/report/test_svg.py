"""Where things stand in the pictures of a report."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from spot.accounting.progress_curve import curve, horizon
from spot.core.run import Outcome
from spot.report.svg import MOST_TICKS, progress, timeline
from tests.machinery import stories
from tests.machinery.samples import after, attempt, ended, run


def of(story: stories.Story) -> str:
    return timeline(story.account, horizon(story.account))


def places(drawn: str, kind: str) -> list[tuple[float, float]]:
    """Of the bars of this kind: from where to where, in percent of the width."""
    found = re.findall(rf'<rect class="{kind}" x="([\d.]+)%" y="[\d.]+" width="([\d.]+)%"', drawn)
    return [(float(x), float(x) + float(width)) for x, width in found]


def heights(drawn: str, kind: str) -> set[str]:
    return set(re.findall(rf'<rect class="{kind}" x="[\d.]+%" y="([\d.]+)"', drawn))


def test_a_bar_stands_where_its_time_does() -> None:
    drawn = of(stories.handed_over())
    [held] = places(drawn, "training on-demand")
    assert held == pytest.approx((100 * (11.4 + 18 / 60) / 24, 100 * (15.4 + 11 / 60) / 24), abs=0.01)
    [standby] = [bar for bar in places(drawn, "training spot") if bar[0] > 50]
    assert standby[0] == pytest.approx(100 * 15.64 / 24, abs=0.01)


def test_a_wait_is_drawn_for_each_attempt_and_what_was_lost_over_its_bar() -> None:
    drawn = of(stories.preempted())
    assert len(places(drawn, "waited")) == 11
    assert len(places(drawn, "lost")) == 6


def test_two_attempts_at_once_in_one_region_stand_below_each_other() -> None:
    story = stories.handed_over()
    standby = replace(story.run.attempts[-1], region="us-central1")
    whole = replace(story, run=replace(story.run, attempts=(*story.run.attempts[:-1], standby)))
    drawn = of(whole)
    assert not heights(drawn, "training on-demand") & {
        y for y in heights(drawn, "training spot") if y not in heights(of(stories.calm()), "training spot")
    }


def test_marks_say_what_happened_and_when() -> None:
    assert of(stories.preempted()).count("<title>preempted, ") == 6
    assert "<title>took over from a10, 2026-11-24 15:35 UTC</title>" in of(stories.handed_over())
    assert "<title>training-failed, 2026-11-24 02:24 UTC</title>" in of(stories.failed())


def test_the_deadline_and_the_end_are_lines_and_a_deadline_far_beyond_is_left_out() -> None:
    calm = stories.calm()
    assert "deadline 00:00" in of(calm)
    assert "model 10:36" in of(calm)
    far = replace(calm, run=replace(calm.run, spec=replace(calm.run.spec, deadline=after(hours=900))))
    assert "deadline" not in of(far)


@pytest.mark.parametrize("hours", [0.02, 0.3, 1, 7, 24, 50, 170, 900, 9000])
def test_the_times_below_are_round_and_no_more_than_a_phone_has_room_for(hours: float) -> None:
    story = stories.Story(
        run=run(ended(Outcome.CANCELLED, started_at=after(), at=after(hours=hours))), seen=None, now=after(hours=hours)
    )
    drawn = timeline(story.account, after(minutes=60 * hours))
    ticks = re.findall(r'class="tick[^>]*>([^<]+)<', drawn)
    assert 1 <= len(ticks) <= MOST_TICKS + 1
    assert all(re.fullmatch(r"\d\d:\d[05]|\d\d:\d\d|\d+ [A-Z][a-z]{2}", tick) for tick in ticks)


def test_what_lies_outside_is_drawn_at_the_edge() -> None:
    early = attempt(intended_at=after() - timedelta(hours=3), started_at=after() - timedelta(hours=2))
    story = stories.Story(run=run(early), seen=None, now=after(hours=2))
    numbers = re.findall(r'(?:x|width)="([\d.-]+)%"', of(story))
    assert all(0 <= float(number) <= 100.2 for number in numbers)


def test_progress_rises_from_the_lower_left_to_the_model() -> None:
    calm = stories.calm()
    found = curve(calm.account)
    assert found
    drawn = progress(calm.account, found, horizon(calm.account))
    points = re.findall(r'<polyline class="done" points="([^"]+)"', drawn)[0].split()
    assert points[0] == "0.0,100.0"
    assert points[-1] == f"{1000 * 10.6 / 24:.1f},0.0"
    assert re.findall(r'<polyline class="due" points="([^"]+)"', drawn)[0].split()[-1] == "1000.0,0.0"


def test_of_a_run_that_ended_before_its_work_was_due_the_line_stays_below() -> None:
    failed = stories.failed()
    found = curve(failed.account)
    assert found
    drawn = progress(failed.account, found, horizon(failed.account))
    assert re.findall(r'<polyline class="due" points="([^"]+)"', drawn)[0] == "0.0,100.0 1000.0,100.0"


def test_no_line_goes_through_the_word_of_another() -> None:
    drawn = of(stories.late())
    assert max(found.start() for found in re.finditer("<line", drawn)) < drawn.index('<text class="moment')
