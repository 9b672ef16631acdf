"""Whatever goes wrong is told in lines, and by an exit code that says whether to come again."""

from __future__ import annotations

import pytest

from spot.cli.failures import explain
from spot.cli.main import Exit
from spot.config.settings import SettingsError
from spot.core.job import JobError
from spot.google import vertex
from spot.google.registry import ImageError, ImageNotChecked
from spot.google.rest import GoogleApiError
from spot.storage import base
from spot.storage.records import ledger
from spot.supervisor.submit import SubmitError


@pytest.mark.parametrize(
    "error",
    [
        SubmitError("no"),
        ImageError("no"),
        ImageNotChecked("no"),
        ledger.Broken("no"),
        ledger.Newer("no"),
        ledger.UnknownRun("no"),
        ledger.Exists("no"),
        vertex.Denied("no"),
        base.Denied("no"),
        base.Damaged("no"),
    ],
    ids=lambda error: f"{type(error).__module__}.{type(error).__name__}",
)
def test_what_lasts_until_somebody_acts_ends_with_2(error: Exception) -> None:
    assert explain(error) == (["no"], Exit.USAGE)


@pytest.mark.parametrize(
    "error",
    [
        vertex.Unavailable("no"),
        vertex.Gone("no"),
        vertex.Refused("no", JobError(code=400, message="no")),
        base.Unavailable("no"),
        base.Conflict("no"),
        base.NotFound("no"),
    ],
    ids=lambda error: f"{type(error).__module__}.{type(error).__name__}",
)
def test_what_may_pass_ends_with_75_and_says_that_nothing_is_lost(error: Exception) -> None:
    assert explain(error) == (["no; nothing is lost, try again"], Exit.OPEN)


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        pytest.param(GoogleApiError("no answer"), Exit.OPEN, id="no answer"),
        pytest.param(GoogleApiError("no credentials", fix="log in"), Exit.USAGE, id="no credentials"),
        pytest.param(GoogleApiError("denied", status=403), Exit.USAGE, id="no permission"),
    ],
)
def test_a_registry_that_does_not_answer_may_pass(cause: GoogleApiError, code: Exit) -> None:
    error = ImageNotChecked("cannot ask")
    error.__cause__ = cause
    explained = explain(error)
    assert explained is not None
    assert explained[1] is code


def test_every_mistake_in_the_settings_is_a_line() -> None:
    assert explain(SettingsError(("one", "two"))) == (["one", "two"], Exit.USAGE)


def test_a_message_of_several_lines_becomes_one() -> None:
    assert explain(SubmitError("one\n  two")) == (["one two"], Exit.USAGE)


def test_what_nobody_foresaw_keeps_its_traceback() -> None:
    assert explain(ZeroDivisionError()) is None
