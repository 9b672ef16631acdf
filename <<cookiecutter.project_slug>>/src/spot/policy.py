"""What to do next with a run: one pure function of what is known and the time. It never asks and never acts.

The rule. W is the work left from the newest durable checkpoint, R the time left, so R - W is the slack.

1. Safety line. At every pass the slack must still cover the worst start of on-demand and the time to the next pass.
   Past the line nothing waits for spot any more. A spot attempt that runs may go on, down to the last pass from
   which on-demand is sure to make it.
2. A spot attempt that runs is never left for another reason.
3. With nothing running, spot is asked for in each region in turn, each for `max_wait` at most, with pauses of 5, 10,
   then 15 minutes after a round. On-demand starts late: when (W + d) / R is above max(C / D, 0.85).

1 and 2 are the safety net of Uniform Progress (Wu et al., "Can't Be Late", NSDI '24); 3 is a late start chosen by
replaying real capacity (docs/supervisor.md).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from spot import ladder
from spot.action import Action, CancelLive, Wait
from spot.run import Attempt, CancelReason, JobState, Observation, Provisioning, Run, RunState, Strategy
from spot.show import clock, hours
from spot.situation import Situation, assess
from spot.verdict import verdict

GRACE_AFTER_COMPLETION = timedelta(minutes=10)
"""A job whose model is complete ends by itself; after so long it is cancelled."""
WAITING = frozenset({JobState.QUEUED, JobState.PENDING, JobState.PAUSED})


def decide(run: Run, seen: Observation, now: datetime) -> Action:
    """The next action, with a one-line reason that holds the numbers it rests on."""
    if run.state is not RunState.OPEN:
        return Wait(reason=f"the run has ended: {run.state}")
    live = run.live
    situation = assess(run, seen, now)
    if live is None:
        return verdict(run, seen) or ladder.next_start(run, seen, situation)
    if live.state.ended:
        return Wait(reason=f"{live.id} has {live.state.name}, and Vertex AI has not said why yet")
    if live.job is None:
        return Wait(reason=f"the create of {live.id} may still be under way")
    if live.cancel is not None:
        return Wait(reason=f"{live.id} is being cancelled since {clock(live.cancel.at)}")
    if seen.completed_at is not None:
        return _complete(live, seen.completed_at, now)
    if run.cancel_request is not None:
        return CancelLive(reason=f"{run.cancel_request.by} cancelled the run", why=CancelReason.ASKED)
    if live.state is JobState.RUNNING:
        return _running(run, live, situation)
    if live.state in WAITING:
        return _waiting(run, live, seen, situation)
    return Wait(reason=f"{live.id} is {live.state.name}: nothing is done to a job in that state")


def _complete(live: Attempt, at: datetime, now: datetime) -> Action:
    if now - at <= GRACE_AFTER_COMPLETION:
        return Wait(reason=f"the model is complete since {clock(at)}, {live.id} is about to end")
    reason = f"the model is complete since {clock(at)}, and {live.id} still has not ended"
    return CancelLive(reason=reason, why=CancelReason.COMPLETE)


def _running(run: Run, live: Attempt, situation: Situation) -> Action:
    what = f"{live.provisioning} runs in {live.region}"
    numbers = f"slack {hours(situation.slack)}"
    may_be_left = live.provisioning is Provisioning.SPOT and run.spec.terms.strategy is Strategy.HYBRID
    if not may_be_left or not ladder.on_demand_can_finish(run, situation):
        return Wait(reason=f"{what}, {numbers}")
    if situation.slack > situation.hard_margin:
        return Wait(reason=f"{what}, {numbers} > {hours(situation.hard_margin)} that on-demand needs in time")
    if situation.slack < situation.worst_start and _advances(live, situation):
        return Wait(reason=f"{what} and advances, {numbers}: on-demand could not be sure to be in time any more")
    return CancelLive(
        reason=f"{numbers} <= {hours(situation.hard_margin)}: on-demand must start now to be there in time",
        why=CancelReason.FALLBACK,
    )


def _advances(live: Attempt, situation: Situation) -> bool:
    if live.advanced_at is None or situation.last_progress_at is None:
        return False
    return situation.now - situation.last_progress_at <= situation.worst_loss + situation.tick


def _waiting(run: Run, live: Attempt, seen: Observation, situation: Situation) -> Action:
    terms = run.spec.terms
    waited = situation.now - _waits_since(live, seen)
    what = f"{live.provisioning} waits in {live.region} for {hours(waited)}"
    if live.provisioning is Provisioning.ON_DEMAND:
        patience = max(terms.max_wait, situation.worst_start)  # leaving it sooner would forgo a start in time
        if waited > patience and ladder.elsewhere(run, live):
            reason = f"{what}, longer than {hours(patience)}: on-demand in another region"
            return CancelLive(reason=reason, why=CancelReason.NO_CAPACITY)
        return Wait(reason=f"{what}, slack {hours(situation.slack)}")
    if terms.strategy is Strategy.HYBRID and (why := ladder.on_demand_is_due(run, situation)):
        return CancelLive(reason=f"{what}: {why}", why=CancelReason.FALLBACK)
    # FLEX_START ends its own waiting, and is given a tick to do so.
    patience = terms.max_wait if live.provisioning is Provisioning.SPOT else terms.max_wait + terms.tick
    if waited > patience:
        reason = f"{what}, longer than {hours(patience)}: no capacity"
        return CancelLive(reason=reason, why=CancelReason.NO_CAPACITY)
    return Wait(reason=f"{what}, {ladder.outlook(situation)}")


def _waits_since(live: Attempt, seen: Observation) -> datetime:
    """An attempt that ran and waits again was restarted inside its job; its newest checkpoint is its last sign."""
    progress = seen.progress
    if live.started_at and progress and progress.attempt == live.id:
        return max(live.started_at, progress.at)
    return live.started_at or live.intended_at
