"""Test the rows of a report."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spot.core.job import JobError
from spot.report.rows import attempt_row, phase_rows
from tests.machinery import sample_runs


def test_an_error_that_the_outcome_implies_is_not_repeated() -> None:
    entries = sample_runs.handed_over().account.attempts
    assert entries[1].attempt.error
    assert attempt_row(entries[1])["error"] == ""
    left = JobError(code=3, message="The replica workerpool0-0 exited with a non-zero status of 75.")
    handed_over = replace(entries[9], attempt=replace(entries[9].attempt, error=left))
    assert attempt_row(handed_over)["error"] == "", "an exit after a hand-over is expected"
    assert attempt_row(sample_runs.failed().account.attempts[0])["error"].startswith("The replica workerpool0-0 exited")


def test_only_phases_that_took_time_are_shown_and_they_add_up() -> None:
    rows = [*phase_rows(sample_runs.calm().account)]
    assert [row["name"] for row in rows] == ["training", "saving", "starting", "restoring", "no machine"]
    assert sum(row["share"] for row in rows) == pytest.approx(1)


def test_a_run_without_a_machine_has_no_phases() -> None:
    assert [*phase_rows(sample_runs.untouched().account)] == []
