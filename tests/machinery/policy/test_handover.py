"""Test the hand-over from on-demand back to spot: when a standby starts, and when either attempt is cancelled."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from spot.core.actions import Action, CancelAttempt, Close, Submit, Wait
from spot.core.history import Cancel, CancelReason, CancelRequest
from spot.core.job import JobState
from spot.core.run import Attempt, Observation, Outcome, Provisioning, Run, Strategy
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
STANDBY = attempt(
    replaces="a1", region=C1, intended_at=after(minutes=110), job="projects/1/locations/us-central1/customJobs/2"
)
STANDING_BY = replace(STANDBY, state=JobState.RUNNING, started_at=after(minutes=115))
SEEN = seen(2, at=after(minutes=118))


def then(run: Run, seen: Observation = SEEN, now: datetime = NOW) -> Action:
    return decide(run, seen, now)


def cancelled(run: Run, seen: Observation = SEEN, now: datetime = NOW) -> tuple[str, CancelReason] | None:
    action = then(run, seen, now)
    return (action.attempt, action.why) if isinstance(action, CancelAttempt) else None


def test_on_demand_that_trains_with_enough_slack_gets_a_spot_standby() -> None:
    action = then(run(HOLDER))
    assert isinstance(action, Submit)
    assert (action.provisioning, action.region, action.replaces) == (Provisioning.SPOT, C1, "a1")


@pytest.mark.parametrize(
    "holder",
    [
        pytest.param(
            replace(HOLDER, state=JobState.PENDING, intended_at=NOW, started_at=None, advanced_at=None),
            id="waits for a machine",
        ),
        pytest.param(replace(HOLDER, provisioning=Provisioning.SPOT), id="spot"),
    ],
)
def test_no_other_attempt_gets_a_standby(holder: Attempt) -> None:
    assert isinstance(then(run(holder)), Wait)


def test_a_run_that_is_on_demand_by_choice_gets_no_standby() -> None:
    assert isinstance(then(run(HOLDER, strategy=Strategy.ON_DEMAND)), Wait)


def test_there_is_never_a_second_standby() -> None:
    assert isinstance(then(run(HOLDER, STANDBY)), Wait)


def test_no_standby_is_submitted_near_the_latest_on_demand_start() -> None:
    """Eight hours of work and 53 min of margin: with less, spot could not continue between two checkpoints."""
    assert isinstance(then(run(HOLDER, deadline=after(hours=10, minutes=54))), Submit)
    assert isinstance(then(run(HOLDER, deadline=after(hours=10, minutes=53))), Wait)


def test_no_standby_is_submitted_when_little_work_is_left() -> None:
    assert isinstance(then(run(HOLDER), seen(9.5, at=after(minutes=118))), Submit)
    assert isinstance(then(run(HOLDER), seen(9.7, at=after(minutes=118))), Wait)


def test_a_region_without_spot_is_followed_by_the_next_and_a_round_by_a_pause() -> None:
    without_capacity = ended(Outcome.NO_CAPACITY, at=NOW, intended_at=NOW, replaces="a1")
    next_region = then(run(HOLDER, without_capacity))
    assert isinstance(next_region, Submit)
    assert next_region.region == E4
    action = then(run(HOLDER, without_capacity, replace(without_capacity, region=E4)))
    assert isinstance(action, Wait)
    assert action.until == NOW + timedelta(minutes=5)


def test_a_standby_waits_for_a_machine_as_long_as_any_spot_attempt() -> None:
    action = then(run(HOLDER, STANDBY))
    assert isinstance(action, Wait)
    assert action.until == after(minutes=130) + timedelta.resolution
    assert cancelled(run(HOLDER, STANDBY), now=after(minutes=130)) is None
    assert cancelled(run(HOLDER, STANDBY), now=after(minutes=131)) == ("a2", CancelReason.NO_CAPACITY)


def test_a_standby_too_late_for_spot_is_cancelled_and_on_demand_continues() -> None:
    """43 min of margin: on-demand may have up to 10 min of unsaved work, which it saves when it is replaced."""
    for standby in (STANDBY, STANDING_BY):
        assert cancelled(run(HOLDER, standby, deadline=after(hours=10, minutes=44))) is None
        assert cancelled(run(HOLDER, standby, deadline=after(hours=10, minutes=43))) == ("a2", CancelReason.FALLBACK)


def test_a_standby_that_waits_for_too_long_is_cancelled() -> None:
    assert cancelled(run(HOLDER, STANDING_BY), now=after(minutes=155)) is None
    assert cancelled(run(HOLDER, STANDING_BY), now=after(minutes=156)) == ("a2", CancelReason.FALLBACK)


def test_on_demand_is_cancelled_once_the_standby_holds_the_lease() -> None:
    assert cancelled(run(HOLDER, STANDING_BY), replace(SEEN, writer="a2")) == ("a1", CancelReason.HANDED_OVER)


def test_on_demand_is_cancelled_even_if_the_standby_that_replaced_it_has_ended_since() -> None:
    lost = replace(STANDING_BY, outcome=Outcome.PREEMPTED, state=JobState.FAILED, ended_at=NOW)
    assert cancelled(run(HOLDER, lost), replace(SEEN, writer="a2")) == ("a1", CancelReason.HANDED_OVER)


def test_on_demand_that_still_holds_the_lease_is_not_cancelled() -> None:
    assert isinstance(then(run(HOLDER, STANDING_BY), replace(SEEN, writer="a1")), Wait)


def test_a_standby_that_has_replaced_on_demand_is_treated_as_any_spot_attempt() -> None:
    replaced = replace(HOLDER, outcome=Outcome.HANDED_OVER, state=JobState.FAILED, ended_at=NOW)
    alone = run(replaced, STANDING_BY)
    observed = replace(SEEN, writer="a2")
    assert isinstance(then(alone, observed), Wait)
    late = replace(alone, spec=replace(alone.spec, deadline=after(hours=10, minutes=40)))
    assert cancelled(late, observed) == ("a2", CancelReason.FALLBACK)


def test_a_standby_whose_on_demand_was_lost_is_treated_as_any_spot_attempt() -> None:
    lost = replace(HOLDER, outcome=Outcome.INTERNAL, state=JobState.FAILED, ended_at=NOW)
    assert isinstance(then(run(lost, STANDBY)), Wait)
    late = run(lost, STANDBY, deadline=after(hours=10, minutes=50))
    assert cancelled(late) == ("a2", CancelReason.FALLBACK)


def test_both_are_cancelled_when_a_user_cancels_the_run() -> None:
    asked = CancelRequest(at=NOW, by="ann")
    both = run(HOLDER, STANDBY, cancel_request=asked)
    assert cancelled(both) == ("a1", CancelReason.ASKED)
    first = replace(both.attempts[0], state=JobState.CANCELLED, outcome=Outcome.CANCELLED, ended_at=NOW)
    assert cancelled(both.with_attempt(first)) == ("a2", CancelReason.ASKED)


def test_a_standby_is_cancelled_when_the_training_fails_on_demand() -> None:
    failed = replace(HOLDER, state=JobState.FAILED, outcome=Outcome.TRAINING_FAILED, ended_at=NOW)
    assert cancelled(run(failed, STANDBY)) == ("a2", CancelReason.FAILED)


def test_an_attempt_that_does_not_end_after_completion_is_cancelled() -> None:
    complete = replace(SEEN, completed_at=T0 + timedelta(minutes=100))
    assert cancelled(run(HOLDER, STANDING_BY), complete) == ("a1", CancelReason.COMPLETE)


@pytest.mark.parametrize("changes", [{"hand_over": False}, {"budget_usd": 100.0}], ids=["by choice", "budget"])
def test_without_a_hand_over_on_demand_continues_to_the_end(changes: dict[str, Any]) -> None:
    assert isinstance(then(run(HOLDER, **changes)), Wait)


def test_without_spot_quota_on_demand_continues_alone() -> None:
    refused = [ended(Outcome.QUOTA, region=region, error=samples.no_quota()) for region in (C1, E4)]
    assert isinstance(then(run(HOLDER, *refused)), Wait)


TOO_LONG_ON_STANDBY = ended(
    Outcome.CANCELLED, at=NOW, replaces="a1", started_at=NOW, cancel=Cancel(at=NOW, why=CancelReason.FALLBACK)
)
FAILED_STANDBY = ended(Outcome.TRAINING_FAILED, at=NOW, replaces="a1", started_at=NOW)


@pytest.mark.parametrize(
    "standbys",
    [
        pytest.param([FAILED_STANDBY], id="training-failed"),
        pytest.param([replace(FAILED_STANDBY, outcome=Outcome.OUT_OF_MEMORY)], id="out-of-memory"),
        pytest.param([replace(FAILED_STANDBY, outcome=Outcome.PERMISSION)], id="a missing permission"),
        pytest.param([replace(FAILED_STANDBY, outcome=Outcome.CANCELLED)], id="cancelled by a user"),
        pytest.param([replace(FAILED_STANDBY, outcome=Outcome.INTERNAL)] * 3, id="three internal errors"),
        pytest.param([TOO_LONG_ON_STANDBY] * 3, id="three that waited for too long"),
    ],
)
def test_a_failed_standby_ends_no_training_and_gets_no_successor(standbys: list[Attempt]) -> None:
    assert isinstance(then(run(HOLDER, *standbys)), Wait)


def test_a_standby_with_an_internal_error_is_followed_by_another() -> None:
    internal = replace(FAILED_STANDBY, outcome=Outcome.INTERNAL)
    assert isinstance(then(run(HOLDER, internal), now=NOW + timedelta(minutes=6)), Submit)


@pytest.mark.parametrize("outcome", [Outcome.TRAINING_FAILED, Outcome.CANCELLED], ids=["training-failed", "cancelled"])
@pytest.mark.parametrize("holder_outcome", [Outcome.HANDED_OVER, Outcome.INTERNAL], ids=["replaced", "lost"])
def test_the_outcome_of_a_standby_that_replaced_on_demand_ends_the_run(
    outcome: Outcome, holder_outcome: Outcome
) -> None:
    holder = replace(HOLDER, outcome=holder_outcome, state=JobState.FAILED, ended_at=NOW - timedelta(minutes=1))
    assert isinstance(then(run(holder, replace(FAILED_STANDBY, outcome=outcome))), Close)


def test_expired_flex_start_requests_do_not_prevent_another_standby() -> None:
    expired = ended(Outcome.EXPIRED, at=T0, replaces="a1", provisioning=Provisioning.FLEX_START)
    assert isinstance(then(run(HOLDER, *[expired] * 4, flex_start=True)), Submit)


def test_spot_dearer_than_the_attempt_it_would_replace_is_not_submitted() -> None:
    prices = {C1: {Provisioning.SPOT: 1.5, Provisioning.ON_DEMAND: 1.0}}
    assert isinstance(then(run(HOLDER, regions=(C1,), usd_per_hour=prices)), Wait)


def test_a_standby_that_has_not_started_is_cancelled_once_the_model_is_complete() -> None:
    complete = replace(SEEN, completed_at=NOW)
    assert cancelled(run(HOLDER, STANDBY), complete) == ("a2", CancelReason.COMPLETE)


def test_a_pause_while_on_demand_trains_names_no_latest_on_demand_start() -> None:
    without_capacity = ended(Outcome.NO_CAPACITY, at=NOW, intended_at=NOW, replaces="a1")
    reason = then(run(HOLDER, without_capacity, replace(without_capacity, region=E4))).reason
    assert reason == (
        "slack 14.0 h, on-demand runs in us-central1; no spot capacity in us-central1, us-east4 in 1 round,"
        " next try 2026-11-24 02:05 UTC"
    )
