"""Test when a run ends, and when it continues."""

from __future__ import annotations

import pytest

from spot.core.history import Cancel, CancelReason, CancelRequest
from spot.core.job import JobError
from spot.core.run import Attempt, Outcome, RunState, Strategy
from spot.policy import termination
from tests.machinery.samples import T0, after, ended, run, seen

UNKNOWN, INTERNAL, EXPIRED = Outcome.UNKNOWN, Outcome.INTERNAL, Outcome.EXPIRED
PREEMPTED = ended(Outcome.PREEMPTED, started_at=T0, advanced_at=T0)
SAID = JobError(code=3, message="The replica workerpool0-0 exited with a non-zero status of 1.")
TRAINING_FAILED = ended(Outcome.TRAINING_FAILED, started_at=T0, error=SAID)
ASKED = CancelRequest(at=T0, by="ann")
NEVER_CREATED = ended(UNKNOWN, job=None)


def closed(*attempts: Attempt, **changes: object) -> tuple[RunState, str] | None:
    close = termination.outcome(run(*attempts, **changes), seen())
    return (close.state, close.reason) if close else None


def test_a_run_without_an_attempt_continues() -> None:
    assert closed() is None


@pytest.mark.parametrize("outcome", [Outcome.PREEMPTED, Outcome.NO_CAPACITY, Outcome.QUOTA, INTERNAL, UNKNOWN, EXPIRED])
def test_an_attempt_without_an_error_of_the_training_does_not_end_the_run(outcome: Outcome) -> None:
    assert closed(ended(outcome)) is None


def test_a_complete_model_ends_the_run_with_any_outcome_of_the_attempt() -> None:
    close = termination.outcome(run(TRAINING_FAILED, cancel_request=ASKED), seen(10, completed_at=after(hours=20)))
    assert close
    assert close.state is RunState.SUCCEEDED
    assert close.reason == "model complete at 2026-11-24 20:00 UTC, 4.0 h before the deadline"


def test_a_model_after_the_deadline_is_a_success_with_its_delay() -> None:
    close = termination.outcome(run(), seen(10, completed_at=after(hours=24, minutes=30)))
    assert close
    assert close.state is RunState.SUCCEEDED
    assert close.reason.endswith("30 min late")


def test_a_cancel_request_ends_the_run() -> None:
    assert closed(PREEMPTED, cancel_request=ASKED) == (RunState.CANCELLED, "cancelled by ann")


def test_a_job_cancelled_outside_of_spot_ends_the_run() -> None:
    found = closed(ended(Outcome.CANCELLED))
    assert found
    assert found[0] is RunState.CANCELLED
    assert "projects/1/locations/us-central1/customJobs/1" in found[1]


def test_a_job_cancelled_by_the_policy_does_not_end_the_run() -> None:
    assert closed(ended(Outcome.CANCELLED, cancel=Cancel(at=T0, why=CancelReason.FALLBACK))) is None


def test_a_refused_request_or_a_missing_permission_does_not_end_the_run() -> None:
    assert closed(*[ended(Outcome.REQUEST_REJECTED)] * 9, *[ended(Outcome.PERMISSION)] * 9) is None


def test_the_first_error_of_the_users_code_ends_the_run() -> None:
    assert closed(PREEMPTED, TRAINING_FAILED) == (
        RunState.FAILED,
        f"1 error, 0 allowed; a2 ended as training-failed: {SAID.message}",
    )


def test_as_many_errors_as_are_allowed_do_not_end_the_run() -> None:
    memory = ended(Outcome.OUT_OF_MEMORY)
    assert closed(TRAINING_FAILED, memory, max_errors=2) is None
    assert closed(TRAINING_FAILED, memory, TRAINING_FAILED, max_errors=2) == (
        RunState.FAILED,
        f"3 errors, 2 allowed; a3 ended as training-failed: {SAID.message}",
    )


def test_preemptions_are_no_errors() -> None:
    assert closed(*[PREEMPTED] * 50) is None


@pytest.mark.parametrize("outcome", [INTERNAL, UNKNOWN, EXPIRED])
def test_the_sixth_unexplained_attempt_ends_a_run_without_any_checkpoint(outcome: Outcome) -> None:
    strange = ended(outcome, started_at=T0)
    assert closed(*[strange] * 5) is None
    reason = f"6 attempts in a row ended without a checkpoint; a6 ended as {outcome}"
    assert closed(*[strange] * 6) == (RunState.FAILED, reason)


def test_unexplained_attempts_never_end_a_run_with_a_checkpoint() -> None:
    strange = ended(INTERNAL, started_at=T0)
    assert closed(PREEMPTED, *[strange] * 50) is None
    assert termination.outcome(run(*[strange] * 50), seen(1)) is None  # of the parent run


@pytest.mark.parametrize("between", [Outcome.NO_CAPACITY, Outcome.QUOTA, EXPIRED])
def test_attempts_that_never_ran_neither_count_nor_reset_the_count(between: Outcome) -> None:
    strange = ended(INTERNAL, started_at=T0)
    assert closed(*[strange, ended(between)] * 5) is None
    assert closed(*[strange, ended(between)] * 6) is not None
    assert closed(*[ended(UNKNOWN)] * 50) is None


def test_six_attempts_without_a_checkpoint_need_an_operator_with_any_outcome() -> None:
    lost = ended(Outcome.PREEMPTED, started_at=T0, error=SAID)
    mixed = [lost, ended(Outcome.NO_CAPACITY, started_at=T0), ended(UNKNOWN), ended(EXPIRED, started_at=T0)]
    assert termination.stuck(run(*mixed, lost, NEVER_CREATED, ended(Outcome.NO_CAPACITY))) is None
    reason = f"6 attempts in a row ended without a checkpoint; a6 ended as preempted: {SAID.message}"
    assert termination.stuck(run(*mixed, lost, lost)) == reason
    assert closed(*mixed, lost, lost) is None
    assert termination.stuck(run(*mixed, lost, lost, PREEMPTED)) is None


def test_with_spot_only_too_many_preemptions_end_the_run() -> None:
    assert closed(PREEMPTED, strategy=Strategy.SPOT, max_preemptions=1) is None
    assert closed(PREEMPTED, PREEMPTED, strategy=Strategy.SPOT, max_preemptions=1) == (
        RunState.FAILED,
        "2 preemptions, 1 allowed, and the strategy is spot",
    )
    assert closed(PREEMPTED, PREEMPTED, max_preemptions=1) is None
