"""Test that the age of the facts and their differences are shown, and that a wrong record is no fact."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spot.doctor.diagnose import diagnose
from spot.doctor.finding import Finding, Status
from tests.machinery.google.google_project import FACTS, SETTINGS, facts, google_project
from tests.machinery.google.google_server import Answer, GoogleServer


@pytest.fixture
def google() -> Iterator[GoogleServer]:
    with google_project() as server:
        yield server


def found() -> Finding:
    return next(one for one in diagnose(SETTINGS) if one.check == "live facts")


@pytest.mark.usefixtures("google")
def test_facts_as_assumed_are_ok_with_their_age() -> None:
    assert (found().status, found().detail) == (
        Status.OK,
        "1 answer of up to 0 days ago, 0 preemptions; not as assumed: none",
    )


def test_a_difference_is_a_warning_with_its_name(google: GoogleServer) -> None:
    google.answers[FACTS] = facts("0", as_assumed=False)
    assert found().status is Status.WARNING
    assert found().detail.endswith("not as assumed: uid")
    assert found().fix == "spot verify-live"


def test_old_facts_are_a_warning(google: GoogleServer) -> None:
    google.answers[FACTS] = facts(at="2025-01-01T00:00:00+00:00")
    assert found().status is Status.WARNING


@pytest.mark.parametrize("answer", [None, Answer({"format": 1, "facts": {"uid": {}}}), Answer({"format": 2})])
def test_without_facts_nothing_is_known(google: GoogleServer, answer: Answer | None) -> None:
    if answer:
        google.answers[FACTS] = answer
    else:
        del google.answers[FACTS]
    assert (found().status, found().fix) == (Status.UNKNOWN, "spot verify-live")
