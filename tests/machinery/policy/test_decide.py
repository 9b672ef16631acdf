"""What is done with an attempt that lives, and with a run that has ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from spot.core.actions import CancelAttempt, Close, GiveUp, Submit, Wait
from spot.core.history import Cancel, CancelReason, CancelRequest
from spot.core.job import JobError, JobState
from spot.core.run import Attempt, Observation, Outcome, Provisioning, RunState, Strategy
from spot.policy.decide import decide
from spot.policy.slack import SETTLE
from tests.machinery.samples import T0, after, attempt, ended, no_quota, run, seen

SPOT, FLEX, ON_DEMAND = Provisioning.SPOT, Provisioning.FLEX_START, Provisioning.ON_DEMAND
NOTHING = Observation()
ASKED = CancelRequest(at=T0, by="ann")
WAITING = [JobState.QUEUED, JobState.PENDING, JobState.PAUSED]
SECOND = timedelta(seconds=1)
HARD_LINE = after(hours=24 - 10, minutes=-43)
"""With all 10 hours of work to do: a worst start of 25 min, a pass of 15, and 3 for the end of what ran."""
NO_ON_DEMAND = [
    ended(Outcome.QUOTA, provisioning=ON_DEMAND, region=region, error=no_quota(ON_DEMAND))
    for region in ("us-central1", "us-east4")
]


def running(**changes: object) -> Attempt:
    return attempt(**{"state": JobState.RUNNING, "started_at": after(minutes=10), **changes})


def cancels(active: Attempt, now: datetime, found: Observation = NOTHING, **changes: object) -> CancelReason | None:
    """Why `active` is cancelled; None if it is left alone."""
    action = decide(run(active, **changes), found, now)
    assert isinstance(action, CancelAttempt | Wait), action
    return action.why if isinstance(action, CancelAttempt) else None


def test_without_an_attempt_one_is_made() -> None:
    assert isinstance(decide(run(), NOTHING, T0), Submit)


def test_after_one_that_ended_the_verdict_comes_first() -> None:
    assert isinstance(decide(run(ended(Outcome.PREEMPTED)), NOTHING, T0), Submit)
    assert decide(run(ended(Outcome.TRAINING_FAILED)), NOTHING, T0) == Close(
        reason="1 error, 0 allowed; a1 ended as training-failed", state=RunState.FAILED
    )


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED])
def test_nothing_is_done_to_a_run_that_has_ended(state: RunState) -> None:
    assert decide(run(running(), state=state, cancel_request=ASKED), NOTHING, after(hours=99)) == Wait(
        reason=f"the run is already {state}"
    )


STUCK = {
    **{state.name: attempt(state=state) for state in (JobState.UNSPECIFIED, JobState.CANCELLING, JobState.UPDATING)},
    "its cancel has no effect": running(cancel=Cancel(at=T0, why=CancelReason.NO_CAPACITY)),
    "its create had no answer": attempt(job=None),
    "its error never comes": attempt(state=JobState.FAILED, ended_at=T0),
}


@pytest.mark.parametrize("active", STUCK.values(), ids=STUCK)
def test_what_is_stuck_is_waited_for_until_the_hard_line_and_then_given_up_for_on_demand(active: Attempt) -> None:
    before = decide(run(active), NOTHING, HARD_LINE - SECOND)
    assert isinstance(before, Wait)
    assert before.until == HARD_LINE
    for now in (HARD_LINE, after(hours=30)):
        action = decide(run(active), NOTHING, now)
        assert isinstance(action, GiveUp), action
        given_up = replace(active, outcome=Outcome.UNKNOWN, ended_at=now, error=JobError(code=404, message="given up"))
        follows = decide(run(given_up), NOTHING, now)
        assert isinstance(follows, Submit), follows
        assert follows.provisioning is ON_DEMAND


def test_on_demand_that_is_paused_in_the_only_region_is_given_up() -> None:
    paused = run(attempt(state=JobState.PAUSED, provisioning=ON_DEMAND), regions=("us-central1",))
    assert isinstance(decide(paused, NOTHING, HARD_LINE - SECOND), Wait)
    assert isinstance(decide(paused, NOTHING, HARD_LINE), GiveUp)


@pytest.mark.parametrize("changes", [{"strategy": Strategy.SPOT}, {"budget_usd": 99.0}], ids=["no promise", "budget"])
@pytest.mark.parametrize("active", STUCK.values(), ids=STUCK)
def test_nothing_is_given_up_without_a_promise_or_under_a_budget(active: Attempt, changes: dict[str, Any]) -> None:
    assert not isinstance(decide(run(active, **changes), NOTHING, after(hours=30)), GiveUp)


def test_a_cancel_and_an_end_past_the_hard_line_are_given_the_time_that_they_take() -> None:
    later = after(hours=20)
    for active in (
        running(cancel=Cancel(at=later, why=CancelReason.FALLBACK)),
        attempt(state=JobState.FAILED, ended_at=later),
        attempt(job=None, intended_at=later),
    ):
        waits = decide(run(active), NOTHING, later + SETTLE - SECOND)
        assert isinstance(waits, Wait)
        assert waits.until == later + SETTLE
        assert isinstance(decide(run(active), NOTHING, later + SETTLE), GiveUp)


def test_on_demand_that_cannot_be_read_is_kept_while_it_starts_or_saves() -> None:
    """A region that does not answer for one pass costs no second machine."""
    begun = attempt(state=JobState.UNSPECIFIED, provisioning=ON_DEMAND, intended_at=after(hours=14))
    assert isinstance(decide(run(begun), NOTHING, after(hours=14, minutes=25)), Wait)
    assert isinstance(decide(run(begun), NOTHING, after(hours=14, minutes=26)), GiveUp)
    trains = replace(begun, started_at=after(hours=14), advanced_at=after(hours=14))
    saved = seen(1, at=after(hours=15), attempt="a1")
    assert isinstance(decide(run(trains), saved, after(hours=15, minutes=25)), Wait)
    assert isinstance(decide(run(trains), saved, after(hours=15, minutes=26)), GiveUp)


def test_nothing_is_given_up_beside_an_attempt_that_can_be_waited_for() -> None:
    stuck = attempt(state=JobState.UPDATING, provisioning=ON_DEMAND)
    pair = run(stuck, attempt(provisioning=ON_DEMAND, state=JobState.PENDING))
    assert not isinstance(decide(pair, NOTHING, after(hours=30)), GiveUp)


@pytest.mark.parametrize(
    "active",
    [
        pytest.param(attempt(state=JobState.FAILED), id="it ended, and its error is not there yet"),
        pytest.param(attempt(job=None), id="its create may be under way"),
        pytest.param(running(cancel=Cancel(at=T0, why=CancelReason.FALLBACK)), id="it is being cancelled"),
    ],
)
def test_what_is_under_way_is_waited_for(active: Attempt) -> None:
    assert cancels(active, HARD_LINE, cancel_request=ASKED) is None


@pytest.mark.parametrize("active", [attempt(), running(), running(provisioning=ON_DEMAND)])
def test_somebody_who_cancels_the_run_cancels_what_lives(active: Attempt) -> None:
    assert cancels(active, T0, cancel_request=ASKED) is CancelReason.ASKED


def test_a_job_whose_model_is_complete_has_ten_minutes_to_end() -> None:
    complete = seen(10, completed_at=after(hours=11))
    assert cancels(running(), after(hours=11, minutes=10), complete) is None
    assert cancels(running(), after(hours=11, minutes=10) + SECOND, complete) is CancelReason.COMPLETE


def test_a_complete_model_counts_more_than_somebody_who_cancels() -> None:
    assert cancels(running(), after(hours=11), seen(10, completed_at=after(hours=11)), cancel_request=ASKED) is None


@pytest.mark.parametrize("state", WAITING)
def test_spot_that_waited_for_longer_than_its_twenty_minutes_is_cancelled(state: JobState) -> None:
    active = attempt(state=state)
    assert cancels(active, after(minutes=20)) is None
    assert cancels(active, after(minutes=20) + SECOND) is CancelReason.NO_CAPACITY


def test_on_demand_waits_for_as_long_as_its_worst_start_and_then_elsewhere() -> None:
    active = attempt(provisioning=ON_DEMAND)
    assert cancels(active, after(minutes=25)) is None
    assert cancels(active, after(minutes=25) + SECOND) is CancelReason.NO_CAPACITY
    assert cancels(active, after(minutes=25) + SECOND, provisioning_timeout=timedelta(minutes=40)) is None
    assert cancels(active, after(hours=2), regions=("us-central1",)) is None
    assert cancels(active, after(hours=2), budget_usd=11.0) is None  # us-east4 is too dear for it


def test_spot_that_was_restarted_inside_its_job_waits_since_its_newest_checkpoint() -> None:
    active = attempt(started_at=after(minutes=5))
    found = seen(2, at=after(hours=3))
    assert cancels(active, after(hours=3, minutes=20), found) is None
    assert cancels(active, after(hours=3, minutes=20) + SECOND, found) is CancelReason.NO_CAPACITY


@pytest.mark.parametrize("provisioning", [SPOT, FLEX])
def test_what_waits_at_the_late_start_gives_way_to_on_demand(provisioning: Provisioning) -> None:
    late = after(hours=24 - 10, minutes=-(53 + 60 + 18))
    active = attempt(provisioning=provisioning, intended_at=after(hours=11, minutes=40))
    assert cancels(active, late - SECOND) is None
    assert cancels(active, late) is CancelReason.FALLBACK


def test_what_waits_at_the_safety_line_gives_way_to_on_demand() -> None:
    line = after(hours=24 - 10, minutes=-53)
    active = attempt(intended_at=line - timedelta(minutes=5))
    assert cancels(active, line - SECOND, reserve=timedelta()) is None
    assert cancels(active, line, reserve=timedelta()) is CancelReason.FALLBACK


def test_spot_that_runs_is_left_at_the_hard_line_and_not_before() -> None:
    assert cancels(running(), HARD_LINE - SECOND) is None
    assert cancels(running(), HARD_LINE) is CancelReason.FALLBACK


def test_the_hard_line_moves_with_every_checkpoint() -> None:
    found = seen(2, at=after(hours=13))
    assert cancels(running(), HARD_LINE, found) is None
    assert cancels(running(), HARD_LINE + timedelta(hours=2), found) is CancelReason.FALLBACK


def test_spot_that_advances_goes_on_where_on_demand_would_be_late_too() -> None:
    """From 25 min of slack on. It advances if its newest checkpoint is no older than 10 + 15 min."""
    too_late = after(hours=24 - 5, minutes=-25) + SECOND
    active = running(advanced_at=after(hours=1))
    assert cancels(active, too_late, seen(5, at=too_late - timedelta(minutes=25))) is None
    stale = seen(5, at=too_late - timedelta(minutes=25) - SECOND)
    assert cancels(active, too_late, stale) is CancelReason.FALLBACK
    assert cancels(running(), too_late, seen(5, at=too_late)) is CancelReason.FALLBACK


@pytest.mark.parametrize("strategy", [Strategy.SPOT, Strategy.ON_DEMAND])
@pytest.mark.parametrize("provisioning", [SPOT, ON_DEMAND])
def test_no_other_strategy_leaves_what_runs(strategy: Strategy, provisioning: Provisioning) -> None:
    assert cancels(running(provisioning=provisioning), HARD_LINE, strategy=strategy) is None


@pytest.mark.parametrize("provisioning", [FLEX, ON_DEMAND])
def test_what_cannot_be_preempted_is_never_left(provisioning: Provisioning) -> None:
    assert cancels(running(provisioning=provisioning), after(hours=30)) is None


@pytest.mark.parametrize("active", [running(), attempt(intended_at=HARD_LINE)])
def test_spot_is_not_left_for_an_on_demand_that_has_no_quota(active: Attempt) -> None:
    action = decide(run(*NO_ON_DEMAND, active), NOTHING, HARD_LINE)
    assert isinstance(action, Wait)


def test_a_wait_says_on_which_numbers_it_rests() -> None:
    reason = decide(run(running()), NOTHING, after(hours=1)).reason
    assert reason == "slack 13.0 h, spot runs in us-central1"
    reason = decide(run(attempt()), NOTHING, after(minutes=6)).reason
    assert reason == ("slack 13.9 h, latest on-demand start 2026-11-24 13:07 UTC, spot waits in us-central1 for 6 min")


def test_leaving_spot_says_whether_on_demand_is_in_time() -> None:
    reason = decide(run(running()), NOTHING, HARD_LINE).reason
    assert reason == "slack 43 min: on-demand must start now"
    reason = decide(run(running()), NOTHING, after(hours=13, minutes=36)).reason
    assert reason == "slack 24 min: spot makes no progress, on-demand starts late"


def test_flex_start_ends_its_own_waiting_or_is_ended_a_tick_later() -> None:
    waits = run(attempt(provisioning=FLEX), flex_start=True)
    assert isinstance(decide(waits, NOTHING, after(minutes=35)), Wait)
    action = decide(waits, NOTHING, after(minutes=35) + SECOND)
    assert isinstance(action, CancelAttempt)
    assert action.why is CancelReason.NO_CAPACITY
