"""Back from on-demand to spot: when a twin starts, and what becomes of the two."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from spot.core.actions import Action, CancelAttempt, Close, Submit, Wait
from spot.core.job import JobState
from spot.core.run import (
    Attempt,
    Cancel,
    CancelReason,
    CancelRequest,
    Observation,
    Outcome,
    Provisioning,
    Run,
    Strategy,
)
from spot.policy.decide import decide
from tests.machinery import samples
from tests.machinery.samples import T0, after, attempt, ended, run, seen

C1, E4 = "us-central1", "us-east4"
NOW = after(hours=2)
HOLDER = attempt(
    provisioning=Provisioning.ON_DEMAND,
    state=JobState.RUNNING,
    job="projects/1/locations/us-central1/customJobs/1",
    started_at=after(minutes=10),
    advanced_at=after(minutes=15),
)
TWIN = attempt(
    replaces="a1", region=C1, intended_at=after(minutes=110), job="projects/1/locations/us-central1/customJobs/2"
)
STANDS_BY = replace(TWIN, state=JobState.RUNNING, started_at=after(minutes=115))
SAW = seen(2, at=after(minutes=118))


def then(run: Run, seen: Observation = SAW, now: datetime = NOW) -> Action:
    return decide(run, seen, now)


def cancelled(run: Run, seen: Observation = SAW, now: datetime = NOW) -> tuple[str, CancelReason] | None:
    action = then(run, seen, now)
    return (action.attempt, action.why) if isinstance(action, CancelAttempt) else None


def test_on_demand_that_trains_before_the_safety_line_gets_a_spot_twin() -> None:
    action = then(run(HOLDER))
    assert isinstance(action, Submit)
    assert (action.provisioning, action.region, action.replaces) == (Provisioning.SPOT, C1, "a1")


@pytest.mark.parametrize(
    "holder",
    [
        pytest.param(
            replace(HOLDER, state=JobState.PENDING, intended_at=NOW, started_at=None, advanced_at=None), id="it waits"
        ),
        pytest.param(replace(HOLDER, provisioning=Provisioning.SPOT), id="it is spot itself"),
    ],
)
def test_no_other_attempt_gets_one(holder: Attempt) -> None:
    assert isinstance(then(run(holder)), Wait)


def test_a_run_that_is_on_demand_by_choice_has_none() -> None:
    assert isinstance(then(run(HOLDER, strategy=Strategy.ON_DEMAND)), Wait)


def test_there_is_never_a_second_twin() -> None:
    assert isinstance(then(run(HOLDER, TWIN)), Wait)


def test_none_is_asked_for_near_the_safety_line() -> None:
    """Eight hours of work and 53 min of margin: below that a spot attempt could not go on between two checkpoints."""
    assert isinstance(then(run(HOLDER, deadline=after(hours=10, minutes=54))), Submit)
    assert isinstance(then(run(HOLDER, deadline=after(hours=10, minutes=53))), Wait)


def test_none_is_asked_for_when_little_is_left_to_do() -> None:
    assert isinstance(then(run(HOLDER), seen(9.5, at=after(minutes=118))), Submit)
    assert isinstance(then(run(HOLDER), seen(9.7, at=after(minutes=118))), Wait)


def test_a_region_without_spot_is_followed_by_the_next_and_a_round_by_a_pause() -> None:
    vain = ended(Outcome.NO_CAPACITY, at=NOW, intended_at=NOW, replaces="a1")
    second = then(run(HOLDER, vain))
    assert isinstance(second, Submit)
    assert second.region == E4
    pause = then(run(HOLDER, vain, replace(vain, region=E4)))
    assert isinstance(pause, Wait)
    assert pause.until == NOW + timedelta(minutes=5)


def test_a_twin_waits_for_a_machine_as_long_as_any_spot_attempt() -> None:
    waits = then(run(HOLDER, TWIN))
    assert isinstance(waits, Wait)
    assert waits.until == after(minutes=130)
    assert cancelled(run(HOLDER, TWIN), now=after(minutes=130)) is None
    assert cancelled(run(HOLDER, TWIN), now=after(minutes=131)) == ("a2", CancelReason.NO_CAPACITY)


def test_a_twin_that_comes_too_late_for_spot_is_cancelled_and_on_demand_goes_on() -> None:
    """43 min; on-demand may have 10 min more that it has not saved yet, and saves when it is relieved."""
    for standby in (TWIN, STANDS_BY):
        assert cancelled(run(HOLDER, standby, deadline=after(hours=10, minutes=44))) is None
        assert cancelled(run(HOLDER, standby, deadline=after(hours=10, minutes=43))) == ("a2", CancelReason.FALLBACK)


def test_a_twin_that_stands_by_for_ever_is_cancelled() -> None:
    assert cancelled(run(HOLDER, STANDS_BY), now=after(minutes=155)) is None
    assert cancelled(run(HOLDER, STANDS_BY), now=after(minutes=156)) == ("a2", CancelReason.FALLBACK)


def test_once_the_twin_holds_the_lease_on_demand_is_cancelled_if_it_still_lives() -> None:
    assert cancelled(run(HOLDER, STANDS_BY), replace(SAW, writer="a2")) == ("a1", CancelReason.HANDED_OVER)


def test_on_demand_is_cancelled_also_if_the_twin_that_relieved_it_has_ended_since() -> None:
    lost = replace(STANDS_BY, outcome=Outcome.PREEMPTED, state=JobState.FAILED, ended_at=NOW)
    assert cancelled(run(HOLDER, lost), replace(SAW, writer="a2")) == ("a1", CancelReason.HANDED_OVER)


def test_a_holder_that_still_holds_the_lease_is_left_alone() -> None:
    assert isinstance(then(run(HOLDER, STANDS_BY), replace(SAW, writer="a1")), Wait)


def test_a_twin_that_has_taken_over_is_like_any_spot_attempt() -> None:
    relieved = replace(HOLDER, outcome=Outcome.HANDED_OVER, state=JobState.FAILED, ended_at=NOW)
    alone = run(relieved, STANDS_BY)
    saw = replace(SAW, writer="a2")
    assert isinstance(then(alone, saw), Wait)
    late = replace(alone, spec=replace(alone.spec, deadline=after(hours=10, minutes=40)))
    assert cancelled(late, saw) == ("a2", CancelReason.FALLBACK)


def test_a_twin_whose_on_demand_was_lost_is_like_any_spot_attempt() -> None:
    lost = replace(HOLDER, outcome=Outcome.INTERNAL, state=JobState.FAILED, ended_at=NOW)
    assert isinstance(then(run(lost, TWIN)), Wait)
    late = run(lost, TWIN, deadline=after(hours=10, minutes=50))
    assert cancelled(late) == ("a2", CancelReason.FALLBACK)


def test_both_are_cancelled_when_somebody_ends_the_run() -> None:
    asked = CancelRequest(at=NOW, by="ann")
    both = run(HOLDER, TWIN, cancel_request=asked)
    assert cancelled(both) == ("a1", CancelReason.ASKED)
    first = replace(both.attempts[0], state=JobState.CANCELLED, outcome=Outcome.CANCELLED, ended_at=NOW)
    assert cancelled(both.with_attempt(first)) == ("a2", CancelReason.ASKED)


def test_a_twin_is_cancelled_when_on_demand_fails_by_an_error_of_the_training() -> None:
    failed = replace(HOLDER, state=JobState.FAILED, outcome=Outcome.TRAINING_FAILED, ended_at=NOW)
    assert cancelled(run(failed, TWIN)) == ("a2", CancelReason.FAILED)


def test_what_does_not_end_by_itself_after_completion_is_cancelled() -> None:
    complete = replace(SAW, completed_at=T0 + timedelta(minutes=100))
    assert cancelled(run(HOLDER, STANDS_BY), complete) == ("a1", CancelReason.COMPLETE)


@pytest.mark.parametrize("changes", [{"hand_over": False}, {"budget_usd": 100.0}], ids=["by choice", "budget"])
def test_without_a_hand_over_on_demand_goes_on_to_the_end(changes: dict[str, Any]) -> None:
    assert isinstance(then(run(HOLDER, **changes)), Wait)


def test_where_spot_has_no_quota_on_demand_goes_on_alone() -> None:
    refused = [ended(Outcome.QUOTA, region=region, error=samples.no_quota()) for region in (C1, E4)]
    assert isinstance(then(run(HOLDER, *refused)), Wait)


NEVER_LET_IN = ended(
    Outcome.CANCELLED, at=NOW, replaces="a1", started_at=NOW, cancel=Cancel(at=NOW, why=CancelReason.FALLBACK)
)
FAILED_TWIN = ended(Outcome.TRAINING_FAILED, at=NOW, replaces="a1", started_at=NOW)


@pytest.mark.parametrize(
    "twins",
    [
        pytest.param([FAILED_TWIN], id="an error of its trainer"),
        pytest.param([replace(FAILED_TWIN, outcome=Outcome.OUT_OF_MEMORY)], id="out of memory"),
        pytest.param([replace(FAILED_TWIN, outcome=Outcome.REQUEST_REJECTED)], id="invalid"),
        pytest.param([replace(FAILED_TWIN, outcome=Outcome.CANCELLED)], id="cancelled by somebody"),
        pytest.param([replace(FAILED_TWIN, outcome=Outcome.INTERNAL)] * 3, id="three that nobody can explain"),
        pytest.param([NEVER_LET_IN] * 3, id="three that stood by for ever"),
    ],
)
def test_a_twin_that_fails_is_no_reason_to_end_what_trains_and_there_is_no_other(twins: list[Attempt]) -> None:
    assert isinstance(then(run(HOLDER, *twins)), Wait)


def test_a_twin_that_failed_strangely_is_followed_by_another() -> None:
    strange = replace(FAILED_TWIN, outcome=Outcome.INTERNAL)
    assert isinstance(then(run(HOLDER, strange), now=NOW + timedelta(minutes=6)), Submit)


@pytest.mark.parametrize("outcome", [Outcome.TRAINING_FAILED, Outcome.CANCELLED], ids=["an error", "somebody's cancel"])
@pytest.mark.parametrize("left_as", [Outcome.HANDED_OVER, Outcome.INTERNAL], ids=["relieved", "lost"])
def test_what_becomes_of_one_that_has_taken_over_counts_as_ever(outcome: Outcome, left_as: Outcome) -> None:
    left = replace(HOLDER, outcome=left_as, state=JobState.FAILED, ended_at=NOW - timedelta(minutes=1))
    assert isinstance(then(run(left, replace(FAILED_TWIN, outcome=outcome))), Close)


def test_flex_start_that_found_nothing_is_no_reason_against_another_twin() -> None:
    nothing = ended(Outcome.EXPIRED, at=T0, replaces="a1", provisioning=Provisioning.FLEX_START)
    assert isinstance(then(run(HOLDER, *[nothing] * 4, flex_start=True)), Submit)


def test_spot_that_is_dearer_than_what_it_would_relieve_is_not_asked_for() -> None:
    prices = {C1: {Provisioning.SPOT: 1.5, Provisioning.ON_DEMAND: 1.0}}
    assert isinstance(then(run(HOLDER, regions=(C1,), usd_per_hour=prices)), Wait)


def test_a_twin_that_has_not_begun_is_cancelled_as_soon_as_the_model_is_complete() -> None:
    complete = replace(SAW, completed_at=NOW)
    assert cancelled(run(HOLDER, TWIN), complete) == ("a2", CancelReason.COMPLETE)


def test_a_pause_beside_on_demand_says_nothing_of_when_on_demand_would_start() -> None:
    vain = ended(Outcome.NO_CAPACITY, at=NOW, intended_at=NOW, replaces="a1")
    reason = then(run(HOLDER, vain, replace(vain, region=E4))).reason
    assert reason == (
        "slack 14.0 h, on-demand runs in us-central1; no spot capacity in us-central1, us-east4 in 1 round,"
        " next try 2026-11-24 02:05 UTC"
    )
