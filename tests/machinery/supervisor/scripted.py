"""Provide a policy that follows a script, minute by minute, and constant start-up times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from spot.core.actions import Action, CancelAttempt, Close, Submit, Wait
from spot.core.history import CancelReason
from spot.core.run import Observation, Provisioning, Run, RunState
from spot.simulation.replay import Decide
from spot.simulation.startup_times import StartupRanges, StartupTimes

MINUTE = timedelta(minutes=1)
PROVISIONED, RESTORED = 5, 2
"""Minutes of every start-up."""


def startup_times(regions: Sequence[str] = ("us-central1", "us-east4")) -> StartupTimes:
    always = (PROVISIONED, PROVISIONED)
    return StartupTimes.drawn(
        StartupRanges(spot=always, on_demand=always, restore=(RESTORED, RESTORED)), regions, seed=0
    )


def submit(
    provisioning: Provisioning = Provisioning.SPOT,
    region: str = "us-central1",
    *,
    replaces: str | None = None,
    timeout: timedelta = timedelta(days=7),
) -> Submit:
    return Submit(reason="scripted", provisioning=provisioning, region=region, timeout=timeout, replaces=replaces)


def cancel(attempt: str, why: CancelReason = CancelReason.FALLBACK) -> CancelAttempt:
    return CancelAttempt(reason="scripted", attempt=attempt, why=why)


def follow(script: Mapping[int, Action]) -> Decide:
    """Return each action once, at the first reconcile from its minute on; close the run when its model is complete."""
    left = dict(sorted(script.items()))

    def decide(run: Run, seen: Observation, now: datetime) -> Action:
        if seen.completed_at and not run.active_attempts:
            return Close(reason="complete", state=RunState.SUCCEEDED)
        for minute in left:
            at = run.submitted_at + minute * MINUTE
            return left.pop(minute) if at <= now else Wait(reason="scripted", until=at)
        return Wait(reason="end of the script")

    return decide
