"""Decide as Uniform Progress, and as a greedy policy, in place of `spot.policy.decide`.

Both have the information, the regions and the provisioning timeout of this policy. To their advantage, their latest
on-demand start is as late as the replay allows. Neither hands over: they cancel, then submit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from spot.core.actions import Action, CancelAttempt, Close, Submit, Wait
from spot.core.history import CancelReason
from spot.core.job import JobState
from spot.core.run import Attempt, Observation, Outcome, Provisioning, Run, RunState
from spot.policy.slack import LONGEST, Slack

COMPLETE = Close(reason="the model is complete", state=RunState.SUCCEEDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the run stands against the deadline and against the uniform line, on which C of work is spread over D."""

    now: datetime
    latest_on_demand_start: datetime
    """When on-demand must be asked for, if nothing more becomes durable."""
    behind_at: datetime
    """When what is done now is less than the uniform line asks for."""
    ahead_at: datetime
    """When on-demand, if it trains, will be two starts ahead of the line."""


def uniform_progress(run: Run, seen: Observation, now: datetime) -> Action:
    """The policy of Wu et al., "Can't Be Late: Optimizing Spot Instance Savings under Deadlines" (NSDI '24).

    Whether there is spot can only be found out by asking for it: it is not there once every region was tried in vain.
    """
    at, active = _standing(run, seen, now), run.active
    if active is None:
        if seen.completed_at:
            return COMPLETE
        if at.now >= at.latest_on_demand_start or (at.now >= at.behind_at and _tried_in_vain(run)):
            return _submit(run, Provisioning.ON_DEMAND)
        return _submit(run, Provisioning.SPOT)
    if active.provisioning is Provisioning.ON_DEMAND:
        if active.state is not JobState.RUNNING or at.ahead_at >= at.latest_on_demand_start:
            return Wait(reason="on-demand")
        if now < at.ahead_at:
            return Wait(reason="on-demand until it is ahead", until=at.ahead_at)
        return CancelAttempt(attempt=active.id, reason="two starts ahead of the line", why=CancelReason.FALLBACK)
    return _on_spot(run, active, at)


def greedy(run: Run, seen: Observation, now: datetime) -> Action:
    """Spot as long as the deadline allows, then on-demand to the end."""
    at, active = _standing(run, seen, now), run.active
    if active is None:
        if seen.completed_at:
            return COMPLETE
        return _submit(run, Provisioning.ON_DEMAND if now >= at.latest_on_demand_start else Provisioning.SPOT)
    if active.provisioning is Provisioning.ON_DEMAND:
        return Wait(reason="on-demand")
    return _on_spot(run, active, at)


def _on_spot(run: Run, active: Attempt, at: Standing) -> Action:
    if at.now >= at.latest_on_demand_start:
        return CancelAttempt(attempt=active.id, reason="latest on-demand start", why=CancelReason.FALLBACK)
    if active.state is JobState.RUNNING:
        return Wait(reason="spot", until=at.latest_on_demand_start)
    gives_up = active.intended_at + run.spec.policy.provisioning_timeout
    if at.now >= gives_up:
        return CancelAttempt(attempt=active.id, reason="no spot", why=CancelReason.NO_CAPACITY)
    return Wait(reason="spot waits", until=min(gives_up, at.latest_on_demand_start))


def _submit(run: Run, provisioning: Provisioning) -> Submit:
    """On demand in the first region, spot in the one after that of the last attempt that found nothing."""
    regions = run.spec.policy.regions
    number = _in_vain(run) if provisioning is Provisioning.SPOT else 0
    return Submit(
        reason=str(provisioning), provisioning=provisioning, region=regions[number % len(regions)], timeout=LONGEST
    )


def _tried_in_vain(run: Run) -> bool:
    return _in_vain(run) >= len(run.spec.policy.regions)


def _in_vain(run: Run) -> int:
    """How many attempts found nothing since the last that did."""
    count = 0
    for attempt in reversed(run.attempts):
        if attempt.outcome is not Outcome.NO_CAPACITY:
            break
        count += 1
    return count


def _standing(run: Run, seen: Observation, now: datetime) -> Standing:
    policy, deadline, progress, active = run.spec.policy, run.spec.deadline, seen.progress, run.active
    durable = policy.work * (progress.step / progress.total_steps) if progress else timedelta()
    done = durable
    if progress and active and active.id == progress.attempt:
        done += now - progress.at
    share = policy.work / (deadline - run.submitted_at)
    two_starts = 2 * Slack.of(run, seen, now).expected_start
    missing = share * (now - run.submitted_at + two_starts) - done
    return Standing(
        now=now,
        latest_on_demand_start=deadline - (policy.work - durable) - policy.worst_start - policy.reconcile_interval,
        behind_at=run.submitted_at + done / share,
        ahead_at=now + missing / (1 - share) if share < 1 else deadline,
    )
