"""Decide as the policies that a forecast compares this policy with."""

from datetime import datetime, timedelta

from spot.core.actions import Action, CancelAttempt, Close, Submit, Wait
from spot.core.history import CancelReason
from spot.core.job import JobState
from spot.core.run import Attempt, Observation, Provisioning, Run, RunState
from spot.policy.failover import NEVER
from spot.policy.slack import LONGEST

SPOT_SHARE = 0.75
"""The spot window as a share of the time to the deadline, such as 18 of 24 hours."""
FIRST_PAUSE = timedelta(seconds=300)
LONGEST_PAUSE = timedelta(hours=1)
MOST_DOUBLINGS = 4
"""The pause is at its longest then."""


def on_demand_only(run: Run, seen: Observation, now: datetime) -> Action:  # noqa: ARG001  # as every policy
    """Submit one attempt on-demand in the cheapest region."""
    return _ended(run, seen) or _on_demand(run)


def fixed_spot_window(run: Run, seen: Observation, now: datetime) -> Action:
    """Use spot for 75 % of the time to the deadline, with a pause of 300 * 2^n s after each attempt; then on-demand.

    To its advantage it takes the regions in turn, the cheapest first, and bounds each wait by `provisioning_timeout`.
    """
    if ending := _ended(run, seen):
        return ending
    end = run.submitted_at + SPOT_SHARE * (run.spec.deadline - run.submitted_at)
    active = run.active
    if active is not None and active.provisioning is Provisioning.SPOT:
        return _spot(run, active, now, end)
    if active is not None or now >= end:
        return _on_demand(run)
    failed = len(run.attempts)
    if failed:
        pause = min(FIRST_PAUSE * 2 ** min(failed - 1, MOST_DOUBLINGS), LONGEST_PAUSE)
        until = min((run.attempts[-1].ended_at or now) + pause, end)
        if now < until:
            return Wait(reason=f"pause after attempt {failed}", until=until)
    regions = run.spec.policy.cheapest_first(Provisioning.SPOT)
    return _submit(Provisioning.SPOT, regions[failed % len(regions)])


def _spot(run: Run, active: Attempt, now: datetime, end: datetime) -> Action:
    if now >= end:
        return CancelAttempt(attempt=active.id, reason="end of the spot window", why=CancelReason.FALLBACK)
    if active.state is JobState.RUNNING:
        return Wait(reason="spot runs", until=end)
    until = active.intended_at + run.spec.policy.provisioning_timeout
    if now >= until:
        return CancelAttempt(attempt=active.id, reason="no capacity", why=CancelReason.NO_CAPACITY)
    return Wait(reason="spot waits", until=min(until, end))


def _on_demand(run: Run) -> Action:
    if run.active is not None:
        return Wait(reason="on-demand runs", until=NEVER)
    return _submit(Provisioning.ON_DEMAND, run.spec.policy.cheapest_first(Provisioning.ON_DEMAND)[0])


def _ended(run: Run, seen: Observation) -> Close | None:
    done = seen.completed_at is not None and run.active is None
    return Close(reason="model complete", state=RunState.SUCCEEDED) if done else None


def _submit(provisioning: Provisioning, region: str) -> Submit:
    return Submit(reason=str(provisioning), provisioning=provisioning, region=region, timeout=LONGEST)
