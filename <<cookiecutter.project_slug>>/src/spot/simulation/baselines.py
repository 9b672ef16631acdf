"""Policies to compare ours with: on-demand and nothing else, and the article that this project began with."""

from __future__ import annotations

from datetime import datetime, timedelta

from spot.core.actions import Action, CancelAttempt, Close, Submit, Wait
from spot.core.job import JobState
from spot.core.run import Attempt, CancelReason, Observation, Provisioning, Run, RunState
from spot.policy.slack import LONGEST

SPOT_SHARE = 0.75
"""Of the time to the deadline: the article's 18 of 24 hours."""
FIRST_PAUSE = timedelta(seconds=300)
LONGEST_PAUSE = timedelta(hours=1)
MOST_DOUBLINGS = 4
"""The pause has its longest then, and no number becomes too big for a time."""


def on_demand_only(run: Run, seen: Observation, now: datetime) -> Action:  # noqa: ARG001  # as every policy
    """In the cheapest region; nothing else is ever asked for."""
    if ending := _ended(run, seen):
        return ending
    if run.active is None:
        return _submit(run, Provisioning.ON_DEMAND, cheapest(run, Provisioning.ON_DEMAND))
    return Wait(reason="on-demand goes on")


def article(run: Run, seen: Observation, now: datetime) -> Action:
    """Spot for three quarters of the time, with a pause of 300 * 2^n s after a failed attempt; then on-demand.

    Given the benefit of the regions in turn, the cheapest first, of as many tries as that time holds, and of our bound
    on the wait for a machine, without which it would wait for ever.
    """
    if ending := _ended(run, seen):
        return ending
    over = run.submitted_at + SPOT_SHARE * (run.spec.deadline - run.submitted_at)
    active = run.active
    if active is not None and active.provisioning is Provisioning.SPOT:
        return _spot(run, active, now, over)
    if active is not None:
        return Wait(reason="on-demand goes on")
    if now >= over:
        return _submit(run, Provisioning.ON_DEMAND, cheapest(run, Provisioning.ON_DEMAND))
    failed = len(run.attempts)
    if failed:
        pause = min(FIRST_PAUSE * 2 ** min(failed - 1, MOST_DOUBLINGS), LONGEST_PAUSE)
        until = min((run.attempts[-1].ended_at or now) + pause, over)
        if now < until:
            return Wait(reason=f"pause after attempt {failed}", until=until)
    regions = run.spec.policy.cheapest_first(Provisioning.SPOT)
    return _submit(run, Provisioning.SPOT, regions[failed % len(regions)])


def _spot(run: Run, active: Attempt, now: datetime, over: datetime) -> Action:
    if now >= over:
        return CancelAttempt(attempt=active.id, reason="the time for spot is over", why=CancelReason.FALLBACK)
    if active.state is JobState.RUNNING:
        return Wait(reason="spot runs", until=over)
    until = active.intended_at + run.spec.policy.provisioning_timeout
    if now >= until:
        return CancelAttempt(attempt=active.id, reason="no capacity", why=CancelReason.NO_CAPACITY)
    return Wait(reason="spot waits", until=min(until, over))


def cheapest(run: Run, provisioning: Provisioning) -> str:
    """The first region of those that cost least."""
    return run.spec.policy.cheapest_first(provisioning)[0]


def _ended(run: Run, seen: Observation) -> Close | None:
    done = seen.completed_at is not None and run.active is None
    return Close(reason="the model is complete", state=RunState.SUCCEEDED) if done else None


def _submit(run: Run, provisioning: Provisioning, region: str) -> Submit:
    reason = f"from step {run.attempts[-1].last_step or 0}" if run.attempts else "from the beginning"
    return Submit(reason=reason, provisioning=provisioning, region=region, timeout=LONGEST)
