"""Test the summary of a workflow, and that text from outside stays text in it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spot.core.history import Decision
from spot.core.job import JobError, JobState
from spot.core.run import Observation, Outcome, Run, RunState
from spot.github import summary
from spot.supervisor.reconcile import RunResult
from spot.supervisor.service import RunsResult
from tests.machinery import sample_runs
from tests.machinery.report.test_render import NASTY
from tests.machinery.samples import after, attempt, ended, run, seen

NOW = after(hours=5)


def result(*passes: RunResult) -> RunsResult:
    return RunsResult(runs=passes)


def passed(found: Run, its: Observation | None = None) -> RunResult:
    return RunResult(run_id=found.id, run=found, seen=its or Observation(), waiting_for="spot runs")


def broken(run_id: str, problem: str) -> RunResult:
    return RunResult(run_id=run_id, problem=problem, needs_operator=True)


@pytest.mark.parametrize(
    ("nasty", "where"),
    [
        (run(ended(Outcome.TRAINING_FAILED, error=JobError(code=3, message=NASTY))), "the error of an attempt"),
        (run(decisions=(Decision(at=NOW, action=NASTY, reason=NASTY),)), "a decision"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_table_keeps_its_columns_with_any_text(nasty: object, where: str) -> None:
    assert isinstance(nasty, Run), where
    text = summary.state(nasty, Observation(), NASTY, NOW)
    assert NASTY not in text
    assert "<img" not in text
    assert "@everyone" not in text
    for line in text.splitlines():
        if line.startswith("| a1 "):
            assert line.count("|") == 10


def test_an_open_run_is_reported_with_what_it_waits_for() -> None:
    text = summary.state(
        run(attempt(started_at=after(hours=1), state=JobState.RUNNING)), seen(4, at=NOW), "spot *runs*", NOW
    )
    assert "| state | ⏳ open, as of 2026-11-24 05:00 UTC |" in text
    assert "240 of 600 steps" in text
    assert "| deadline | 2026-11-25 00:00 UTC, in 19.0 h |" in text
    assert text.endswith("\n\nWaiting for: spot &#42;runs&#42;")
    assert "[job](https://console.cloud.google.com/vertex-ai/" in text
    assert "[log](https://console.cloud.google.com/logs/" in text


def test_a_deadline_that_has_passed_is_missed_and_not_in_so_many_hours() -> None:
    text = summary.state(run(), Observation(), "", after(hours=26))
    assert "| deadline | **2026-11-25 00:00 UTC, LATE by 2.0 h** |" in text


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED])
def test_a_run_that_has_ended_has_no_time_left(state: RunState) -> None:
    assert ", in " not in summary.state(run(state=state), Observation(), "", NOW)


def test_a_run_that_has_ended_shows_its_report() -> None:
    sample = sample_runs.handed_over()
    text = summary.reconciled(result(passed(sample.run, sample.seen)), sample.now)
    assert "**&#36;8.33, 21 % less than on-demand**" in text
    assert "| state | ✅ succeeded, 2026-11-24 20:09 UTC |" in text
    assert "xychart-beta" in text


def test_a_run_that_failed_says_why() -> None:
    sample = sample_runs.failed()
    assert "| why | a last word &#124; &#60;i&#62;of&#60;/i&#62; failed |" in summary.state(sample.run, None, "", NOW)


def test_a_summary_of_very_many_runs_still_fits_github() -> None:
    error = JobError(code=8, message="x" * 5000)
    many = run(*[ended(Outcome.PREEMPTED, started_at=after(), at=after(hours=1), error=error) for _ in range(40)])
    shown = [passed(replace(many, id=f"run-{number}")) for number in range(100)]
    text = summary.reconciled(result(*shown, broken("run-7", "the record is broken")), NOW)
    assert len(text.encode()) < 2**20
    assert "⚠️ run-7: the record is broken" in text
    assert "| run-99 | open | spot runs |" in text


def test_a_reconcile_without_runs_or_with_a_problem_is_reported() -> None:
    assert "No run is open" in summary.reconciled(result(), NOW)
    text = summary.reconciled(result(broken("run-1", "the record is broken | see")), NOW)
    assert "⚠️ run-1: the record is broken &#124; see" in text
    assert "No run is open" not in text
