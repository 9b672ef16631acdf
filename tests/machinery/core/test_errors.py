"""Test exit codes and lines of errors."""

from __future__ import annotations

import pytest

from spot.core.errors import TRY_AGAIN, Exit, PermissionDenied, SpotError, TemporarilyUnavailable
from spot.core.job import JobError
from spot.google import vertex
from spot.google.registry import ImageError, ImageNotChecked
from spot.google.rest import GoogleApiError
from spot.pricing.refresh import CatalogError
from spot.storage import base
from spot.storage.records import ledger
from spot.storage.records.lease import LeaseLost
from spot.trainer.runtime.errors import StartAgain, TrainingError, UsageError


def name_of(error: SpotError) -> str:
    return type(error).__name__


@pytest.mark.parametrize(
    "error",
    [
        SpotError("no"),
        ImageError("no"),
        ImageNotChecked("no"),
        ledger.UnknownRun("no"),
        PermissionDenied("no"),
        base.Damaged("no"),
        base.NewerFormat("no"),
        UsageError("no"),
    ],
    ids=name_of,
)
def test_a_failure_that_needs_a_change_exits_with_2(error: SpotError) -> None:
    assert (error.lines, error.exit_code) == (["no"], Exit.USAGE)


@pytest.mark.parametrize(
    "error",
    [
        TemporarilyUnavailable("no"),
        vertex.JobNotFound("no"),
        vertex.RequestRejected("no", JobError(code=400, message="no")),
        base.Conflict("no"),
        base.NotFound("no"),
        LeaseLost("no"),
        StartAgain("no"),
    ],
    ids=name_of,
)
def test_a_transient_failure_exits_with_75_and_says_that_nothing_is_lost(error: SpotError) -> None:
    assert (error.lines, error.exit_code) == ([f"no ({TRY_AGAIN})"], Exit.AGAIN)


def test_a_failed_training_exits_with_1() -> None:
    assert TrainingError("no").exit_code is Exit.FAILED


@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(GoogleApiError("no answer"), Exit.AGAIN, id="no answer"),
        pytest.param(GoogleApiError("busy", status=503), Exit.AGAIN, id="busy"),
        pytest.param(GoogleApiError("too many", status=429), Exit.AGAIN, id="too many requests"),
        pytest.param(GoogleApiError("no credentials", fix="log in"), Exit.USAGE, id="no credentials"),
        pytest.param(GoogleApiError("denied", status=403), Exit.USAGE, id="no permission"),
    ],
)
def test_a_google_api_that_does_not_answer_is_transient(error: GoogleApiError, code: Exit) -> None:
    assert error.exit_code is code


def test_an_error_takes_its_exit_code_and_fix_from_its_cause() -> None:
    error = CatalogError("no answer", exit_code=Exit.AGAIN, fix="log in")
    assert error.exit_code is Exit.AGAIN
    assert error.lines == [f"{error.message} (fix: log in)"]


def test_a_message_of_several_lines_becomes_one() -> None:
    assert SpotError("one\n  two", fix="x").lines == ["one two (fix: x)"]
