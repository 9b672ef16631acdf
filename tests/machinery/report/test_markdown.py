"""Test reports in Markdown, and the Mermaid diagrams in them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta

import pytest

from spot.accounting.progress_curve import Curve
from spot.core.history import Decision
from spot.core.job import JobError, JobState
from spot.core.run import Outcome, Provisioning
from spot.report import markdown
from spot.report.markdown import POINTS, gantt, progress
from tests.machinery import sample_runs
from tests.machinery.report.test_render import NASTY
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
    assert look["themeVariables"]["xyChart"]["plotColorPalette"].count("#") == 2


def of(name: str) -> str:
    return markdown.report(sample_runs.SAMPLE_RUNS[name]().account)


@pytest.mark.parametrize("name", sample_runs.SAMPLE_RUNS)
def test_every_table_keeps_its_columns(name: str) -> None:
    columns = 0
    for line in of(name).splitlines():
        if line.startswith("|"):
            columns = columns or line.count("|")
            assert line.count("|") == columns, line
        else:
            columns = 0


def test_what_others_wrote_stays_text() -> None:
    failed = sample_runs.failed()
    attempt = replace(failed.run.attempts[0], error=JobError(code=3, message=NASTY))
    decision = Decision(at=after(), action=NASTY, reason=NASTY)
    run = replace(failed.run, attempts=(attempt,), decisions=(decision,))
    text = markdown.report(replace(failed, run=run).account)
    assert "<img" not in text
    assert "@everyone" not in text
    assert "::error" not in [line[:7] for line in text.splitlines()]


def test_a_loss_is_red_bold_and_in_words() -> None:
    assert "🔴 **LOSS: &#36;16.45, 60 % more than on-demand**" in of("loss")
    assert "🔴" not in of("calm")
    assert "**2026-11-25 00:00 UTC, LATE by 1.9 h**" in of("late")


def test_attempts_and_progress_are_drawn_with_distinct_lines() -> None:
    diagrams = re.findall(r"```mermaid\n(.*?)\n```", of("handed-over"), re.DOTALL)
    assert [re.sub(r"^%%.*%%\n", "", diagram).split()[0] for diagram in diagrams] == ["gantt", "xychart-beta"]
    assert "Green: work in checkpoints." in of("handed-over")


def test_the_model_and_each_job_and_its_log_are_linked() -> None:
    text = of("calm")
    assert "(https://console.cloud.google.com/storage/browser/bucket/prefix/models/20261124-000000-7c1e)" in text
    assert text.count("[job](https://console.cloud.google.com/vertex-ai/") == 1
    assert text.count("[log](https://console.cloud.google.com/logs/") == 1


def test_of_very_many_attempts_and_decisions_the_newest_are_shown() -> None:
    sample = sample_runs.late()
    run = replace(sample.run, attempts=sample.run.attempts[:38] * 5, decisions=sample.run.decisions * 5)
    text = markdown.report(replace(sample, run=run).account)
    assert "150 earlier attempts not shown" in text
    assert "<summary>200 decisions, the last 40</summary>" in text
    assert len(text.encode()) < 60_000


def test_a_run_that_nothing_was_tried_for_has_no_pictures() -> None:
    assert "```mermaid" not in of("untouched")
