"""What Mermaid draws of a run: what happened, in words that it takes, and how progress stood to the deadline."""

from __future__ import annotations

import json
import re
from datetime import timedelta

from spot.accounting.progress_curve import Curve
from spot.core.job import JobState
from spot.core.run import Outcome, Provisioning
from spot.report.mermaid import DONE, DUE, POINTS, gantt, progress
from tests.machinery.samples import after, attempt, ended, run

NOW = after(hours=5)
HOUR = timedelta(hours=1)


def test_each_attempt_waits_and_works_in_the_section_of_its_region() -> None:
    text = gantt(
        run(
            ended(Outcome.PREEMPTED, at=after(hours=2), started_at=after(minutes=10)),
            ended(Outcome.NO_CAPACITY, at=after(hours=3), intended_at=after(hours=2), region="us-east4"),
            attempt(
                intended_at=after(hours=3),
                started_at=after(hours=4),
                state=JobState.RUNNING,
                provisioning=Provisioning.ON_DEMAND,
            ),
        ),
        NOW,
    )
    assert text.splitlines()[4:] == [
        "    section us-central1",
        "    a1 spot waited :done, 2026-11-24 00:00:00, 2026-11-24 00:10:00",
        "    a1 spot preempted :crit, 2026-11-24 00:10:00, 2026-11-24 02:00:00",
        "    a3 on-demand waited :done, 2026-11-24 03:00:00, 2026-11-24 04:00:00",
        "    a3 on-demand running :active, 2026-11-24 04:00:00, 2026-11-24 05:00:00",
        "    section us-east4",
        "    a2 spot waited - no-capacity :done, 2026-11-24 02:00:00, 2026-11-24 03:00:00",
        "    section run",
        "    deadline :milestone, crit, 2026-11-25 00:00:00, 0s",
    ]


def test_an_attempt_that_was_never_created_is_not_drawn() -> None:
    text = gantt(run(ended(Outcome.UNKNOWN, job=None), attempt()), NOW)
    assert "a1" not in text
    assert "a2 spot waited - pending :active" in text


def test_a_clock_that_disagrees_draws_no_bar_that_ends_before_it_begins() -> None:
    text = gantt(run(attempt(started_at=after(hours=6), state=JobState.RUNNING)), NOW)
    assert "a1 spot running :active, 2026-11-24 06:00:00, 2026-11-24 06:00:00" in text


def test_no_name_holds_what_mermaid_would_read_as_something_else() -> None:
    outcomes = [ended(outcome, started_at=after(minutes=1), at=after(hours=1)) for outcome in Outcome]
    waiting = [ended(outcome, at=after(hours=1)) for outcome in Outcome]
    for line in gantt(run(*outcomes, *waiting), NOW).splitlines()[4:]:
        if not line.startswith("    section "):
            name, _, rest = line.partition(" :")
            assert re.fullmatch(r" +[\w -]+", name), line
            assert re.fullmatch(r"(milestone, )?(done|active|crit), [\d :-]{19}, ([\d :-]{19}|0s)", rest), line


def test_progress_is_two_lines_as_long_as_each_other_over_the_hours_since_submit() -> None:
    found = Curve(points=((after(), 0.0), (after(hours=10), 1.0)), work=10 * HOUR, deadline=after(hours=20))
    lines = progress(found, after(), after(hours=24)).splitlines()
    assert lines[1:4] == [
        "xychart-beta",
        '    x-axis "hours since submit" 0 --> 24.00',
        '    y-axis "% of the work" 0 --> 100',
    ]
    done, due = ([float(number) for number in line.strip()[6:-1].split(", ")] for line in lines[4:])
    assert len(done) == len(due) == POINTS
    assert (done[0], done[10], done[-1]) == (0, 50, 100)
    assert (due[0], due[30], due[-1]) == (0, 50, 100)


def test_the_look_of_the_chart_is_json_that_mermaid_reads() -> None:
    first = progress(Curve(points=((after(), 0.0),), work=HOUR, deadline=after(hours=2)), after(), after(hours=2))
    look = json.loads(first.splitlines()[0].removeprefix("%%{init: ").removesuffix("}%%"))
    assert look["themeVariables"]["xyChart"]["plotColorPalette"] == f"{DONE}, {DUE}"
