"""What to do next with a run: one pure function of what is known and the time. It never asks and never acts.

The rule. W is the work left from the newest durable checkpoint, R the time left, so R - W is the slack.

1. Safety line. At every pass the slack must still cover the worst start of on-demand and the time to the next pass.
   Past the line nothing waits for spot any more. A spot attempt that runs may go on, down to the last pass from
   which on-demand is sure to make it.
2. A spot attempt that runs is never left for another reason.
3. With nothing running, spot is asked for in each region in turn, the cheapest first, each for `provisioning_timeout` at most.
   On-demand starts late, but not last: when the slack above the line is down to a reserve.
4. While on-demand runs the slack stays as it is, and spot is asked for as before. What comes starts beside it, and
   relieves it when it is ready: `relief`.

1 and 2 are the safety net of Uniform Progress (Wu et al., "Can't Be Late", NSDI '24); 3 and 4 were found by replaying
measured capacity (docs/policy.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from spot.core.actions import Action, CancelAttempt, Wait
from spot.core.format import clock, hours
from spot.core.job import JobState
from spot.core.run import Attempt, CancelReason, Observation, Provisioning, Run, RunState, Strategy
from spot.policy import failover, handover
from spot.policy.slack import Slack, assess
from spot.policy.termination import verdict

GRACE_AFTER_COMPLETION = timedelta(minutes=10)
"""A job whose model is complete ends by itself; after so long it is cancelled."""
WAITING = frozenset({JobState.QUEUED, JobState.PENDING, JobState.PAUSED})


def decide(run: Run, seen: Observation, now: datetime) -> Action:
    """The next action, with a one-line reason that holds the numbers it rests on."""
    if run.state is not RunState.OPEN:
        return Wait(reason=f"the run has ended: {run.state}")
    situation = assess(run, seen, now)
    ending = verdict(run, seen)
    if not run.active_attempts:
        return ending or failover.next_start(run, seen, situation)
    waits: list[Wait] = []
    for active in run.active_attempts:
        action = _about(run, active, seen, situation, ending.reason if ending else None)
        if not isinstance(action, Wait):
            return action
        waits.append(action)
    if len(waits) == 1 and _runs(run.active_attempts[0]):
        back = handover.asked(run, run.active_attempts[0], seen, situation)
        if back is not None and not isinstance(back, Wait):
            return back
        waits += [back] if back else []
    return _joined(waits)


def _about(run: Run, active: Attempt, seen: Observation, situation: Slack, ending: str | None) -> Action:
    """What to do about one of the attempts that live. `ending` is why the run ends, if it does."""
    if active.state.ended:
        return Wait(reason=f"{active.id} has {active.state.name}, and Vertex AI has not said why yet")
    if active.job is None:
        return Wait(reason=f"the create of {active.id} may still be under way")
    if active.cancel is not None:
        return Wait(reason=f"{active.id} is being cancelled since {clock(active.cancel.at)}")
    if seen.completed_at is not None:
        return _complete(active, seen.completed_at, situation.now)
    if ending is not None:
        asked = run.cancel_request is not None
        return CancelAttempt(attempt=active.id, reason=ending, why=CancelReason.ASKED if asked else CancelReason.FAILED)
    if action := handover.during(run, active, seen, situation):
        return action
    if active.state is JobState.RUNNING:
        return _running(run, active, situation)
    if active.state in WAITING:
        return _waiting(run, active, seen, situation)
    return Wait(reason=f"{active.id} is {active.state.name}: nothing is done to a job in that state")


def _runs(active: Attempt) -> bool:
    return active.state is JobState.RUNNING and active.cancel is None


def _joined(waits: Sequence[Wait]) -> Wait:
    until = min((wait.until for wait in waits if wait.until), default=None)
    return Wait(reason="; ".join(wait.reason for wait in waits), until=until)


def _complete(active: Attempt, at: datetime, now: datetime) -> Action:
    until = at + GRACE_AFTER_COMPLETION
    if active.state in WAITING:
        reason = f"the model is complete since {clock(at)}, and {active.id} has not begun"
        return CancelAttempt(attempt=active.id, reason=reason, why=CancelReason.COMPLETE)
    if now <= until:
        return Wait(reason=f"the model is complete since {clock(at)}, {active.id} is about to end", until=until)
    reason = f"the model is complete since {clock(at)}, and {active.id} still has not ended"
    return CancelAttempt(attempt=active.id, reason=reason, why=CancelReason.COMPLETE)


def _running(run: Run, active: Attempt, situation: Slack) -> Action:
    what = f"{active.provisioning} runs in {active.region}"
    numbers = f"slack {hours(situation.slack)}"
    may_be_left = active.provisioning is Provisioning.SPOT and run.spec.policy.strategy is Strategy.HYBRID
    if not may_be_left or not failover.on_demand_can_finish(run, situation):
        return Wait(reason=f"{what}, {numbers}")
    if situation.slack > situation.hard_margin:
        reason = f"{what}, {numbers} > {hours(situation.hard_margin)} that on-demand needs in time"
        return Wait(reason=reason, until=situation.now + (situation.slack - situation.hard_margin))
    too_late = situation.slack < situation.on_demand_needs
    if too_late and (until := _advances_until(active, situation)):
        reason = f"{what} and advances, {numbers}: on-demand could not be sure to be in time any more"
        return Wait(reason=reason, until=until)
    now = "it does not advance, on-demand starts late" if too_late else "on-demand must start now to be there in time"
    reason = f"{numbers} <= {hours(situation.hard_margin)}: {now}"
    return CancelAttempt(attempt=active.id, reason=reason, why=CancelReason.FALLBACK)


def _advances_until(active: Attempt, situation: Slack) -> datetime | None:
    """When it has not advanced for too long, if it makes no other checkpoint; None if it has not already."""
    if active.advanced_at is None or situation.last_progress_at is None:
        return None
    until = situation.last_progress_at + situation.max_checkpoint_interval + situation.reconcile_interval
    return until if situation.now <= until else None


def _waiting(run: Run, active: Attempt, seen: Observation, situation: Slack) -> Action:
    policy = run.spec.policy
    since = _waits_since(active, seen)
    waited = situation.now - since
    what = f"{active.provisioning} waits in {active.region} for {hours(waited)}"
    if active.provisioning is Provisioning.ON_DEMAND:
        patience = max(
            policy.provisioning_timeout, situation.worst_start
        )  # leaving it sooner would forgo a start in time
        if not failover.elsewhere(run, active, situation):
            return Wait(reason=f"{what}, slack {hours(situation.slack)}")
        if waited > patience:
            reason = f"{what}, longer than {hours(patience)}: on-demand in another region"
            return CancelAttempt(attempt=active.id, reason=reason, why=CancelReason.NO_CAPACITY)
        return Wait(reason=f"{what}, slack {hours(situation.slack)}", until=since + patience)
    if policy.strategy is Strategy.HYBRID and (why := failover.on_demand_is_due(run, situation)):
        return CancelAttempt(attempt=active.id, reason=f"{what}: {why}", why=CancelReason.FALLBACK)
    patience = failover.patience(run, active)
    if waited > patience:
        reason = f"{what}, longer than {hours(patience)}: no capacity"
        return CancelAttempt(attempt=active.id, reason=reason, why=CancelReason.NO_CAPACITY)
    until = min(since + patience, failover.on_demand_due_at(run, situation))
    return Wait(reason=f"{what}, {failover.outlook(run, situation)}", until=until)


def _waits_since(active: Attempt, seen: Observation) -> datetime:
    """An attempt that ran and waits again was restarted inside its job; its newest checkpoint is its last sign."""
    progress = seen.progress
    if active.started_at and progress and progress.attempt == active.id:
        return max(active.started_at, progress.at)
    return active.started_at or active.intended_at
