"""Decide the next action of a run: a pure function of what is known and the time. It performs no I/O.

1. In every reconcile the slack must cover the worst start of on-demand and the time to the next reconcile. Past that,
   nothing waits for spot. A running spot attempt goes on until the last reconcile that on-demand needs. An attempt that
   cannot be cancelled or read is given up, and on-demand starts without waiting for its end.
2. A running spot attempt is never left for another reason.
3. With no machine, spot is asked for in each region in turn. On-demand starts when the slack above the margin is down
   to a reserve.
4. While on-demand runs, spot is asked for as before; a spot attempt starts as a standby and replaces on-demand.

1 and 2 are the safety net of Uniform Progress (Wu et al., "Can't Be Late", NSDI '24). 3 and 4 were found by replaying
measured capacity.
"""

from datetime import datetime

from spot.core.actions import Action, CancelAttempt, GiveUp, Wait
from spot.core.format import clock, hours
from spot.core.history import CancelReason
from spot.core.job import JobState
from spot.core.run import Attempt, Observation, Provisioning, Run, RunState, Strategy
from spot.policy import failover, handover, termination
from spot.policy.offers import Offers
from spot.policy.slack import MOMENT, SETTLE, Slack


def decide(run: Run, seen: Observation, now: datetime) -> Action:
    """Return the next action, with a one-line reason that holds the numbers it rests on."""
    if run.state is not RunState.OPEN:
        return Wait(reason=f"the run is already {run.state}")
    slack = Slack.of(run, seen, now)
    offers = Offers.of(run, slack)
    ending = termination.outcome(run, seen)
    attempts = run.active_attempts
    if not attempts:
        return ending or failover.next_attempt(run, offers, slack)
    give_up_from = None if ending else _give_up_from(run, offers, slack)
    if stuck := _stuck(run, give_up_from, slack):
        return stuck
    waits = []
    for active in attempts:
        action = (
            _under_way(active, give_up_from)
            or termination.end(run, active, seen, ending, slack)
            or handover.next_action(run, active, seen, slack)
            or _going_on(run, active, seen, offers, slack, give_up_from)
        )
        if not isinstance(action, Wait):
            return action
        waits.append(action)
    if standby := handover.next_standby(run, attempts[0], offers, slack):
        if not isinstance(standby, Wait):
            return standby
        waits.append(standby)
    until = min((wait.until for wait in waits if wait.until), default=None)
    return Wait(reason="; ".join(wait.reason for wait in waits), until=until)


def _give_up_from(run: Run, offers: Offers, slack: Slack) -> datetime | None:
    """Return from when on an attempt without a plain state is given up: at the hard margin, if on-demand can finish.

    Never under a budget, which two attempts would share unawares.
    """
    policy = run.spec.policy
    if policy.strategy is Strategy.SPOT or policy.budget_usd is not None or not offers.on_demand_can_finish:
        return None
    return slack.deadline - slack.work - slack.hard_margin


def _stuck(run: Run, give_up_from: datetime | None, slack: Slack) -> GiveUp | None:
    """Return the attempt to give up; None if any active attempt can still be waited for."""
    if give_up_from is None or slack.now < give_up_from or any(_is_usable(one, slack) for one in run.active_attempts):
        return None
    active = run.active_attempts[0]
    state = active.state.name if active.job else "not created"
    cancelled = ", its cancel has no effect" if active.cancel else ""
    reason = f"{slack}, {active.id} is {state}{cancelled}: on-demand starts without waiting for its end"
    return GiveUp(reason=reason, attempt=active.id)


def _is_usable(active: Attempt, slack: Slack) -> bool:
    """Return whether an attempt has a plain state, changes it now, or makes progress when on-demand would be late."""
    if changes_since := _changes_since(active):
        return slack.now < changes_since + SETTLE
    if active.state in {JobState.QUEUED, JobState.PENDING, JobState.RUNNING}:
        return True
    if active.provisioning is not Provisioning.ON_DEMAND and slack.left >= slack.on_demand_overhead:
        return False
    is_starting = active.advanced_at is None and slack.now <= active.intended_at + slack.worst_start
    return is_starting or _advances_until(active, slack) is not None


def _changes_since(active: Attempt) -> datetime | None:
    """Return since when a create, a cancel or the reason of an end is awaited."""
    if active.job is None:
        return active.intended_at
    if active.state.ended:
        return active.ended_at or active.intended_at
    return active.cancel.at if active.cancel else None


def _under_way(active: Attempt, give_up_from: datetime | None) -> Wait | None:
    """Return what an attempt has to be waited for before anything is done about it; None if nothing."""
    since = _changes_since(active)
    if since is None:
        return None
    if active.state.ended:
        reason = f"{active.id} is {active.state.name}, Vertex AI has not given the reason yet"
    elif active.job is None:
        reason = f"the create of {active.id} may still be under way"
    else:
        reason = f"{active.id} is being cancelled since {clock(since)}"
    return Wait(reason=reason, until=give_up_from and max(give_up_from, since + SETTLE))


def _going_on(
    run: Run, active: Attempt, seen: Observation, offers: Offers, slack: Slack, give_up_from: datetime | None
) -> Action:
    """Return whether an attempt goes on, as if it were alone."""
    if active.state is JobState.RUNNING:
        return _running(run, active, offers, slack)
    if active.state not in termination.WAITING:
        return Wait(reason=f"{active.id} is {active.state.name}", until=give_up_from)
    since = _waits_since(active, seen)
    if active.provisioning is Provisioning.ON_DEMAND:
        return _on_demand_waits(run, active, since, offers, slack)
    return _spot_waits(run, active, since, offers, slack)


def _running(run: Run, active: Attempt, offers: Offers, slack: Slack) -> Action:
    runs = f"{slack}, {active.provisioning} runs in {active.region}"
    may_be_left = active.provisioning is Provisioning.SPOT and run.spec.policy.strategy is Strategy.HYBRID
    if not may_be_left or not offers.on_demand_can_finish:
        return Wait(reason=runs)
    if slack.left > slack.hard_margin:
        return Wait(reason=runs, until=slack.now + (slack.left - slack.hard_margin))
    too_late = slack.left < slack.on_demand_overhead
    if too_late and (until := _advances_until(active, slack)):
        return Wait(reason=f"{runs} and makes progress, too late for on-demand", until=until)
    why = "spot makes no progress, on-demand starts late" if too_late else "on-demand must start now"
    return CancelAttempt(attempt=active.id, reason=f"{slack}: {why}", why=CancelReason.FALLBACK)


def _advances_until(active: Attempt, slack: Slack) -> datetime | None:
    """Return until when the newest checkpoint counts as progress; None if it is too old already."""
    if active.advanced_at is None or slack.last_progress_at is None:
        return None
    until = slack.last_progress_at + slack.max_checkpoint_interval + slack.reconcile_interval
    return until if slack.now <= until else None


def _on_demand_waits(run: Run, active: Attempt, since: datetime, offers: Offers, slack: Slack) -> Action:
    waited = slack.now - since
    reason = f"{slack}, on-demand waits in {active.region} for {hours(waited)}"
    if all(offer.region == active.region for offer in offers.on_demand):
        return Wait(reason=reason)
    patience = max(run.spec.policy.provisioning_timeout, slack.worst_start)  # sooner would forgo a start in time
    if waited > patience:
        reason = f"no on-demand capacity in {active.region} after {hours(waited)}"
        return CancelAttempt(attempt=active.id, reason=reason, why=CancelReason.NO_CAPACITY)
    return Wait(reason=reason, until=since + patience + MOMENT)


def _spot_waits(run: Run, active: Attempt, since: datetime, offers: Offers, slack: Slack) -> Action:
    if run.spec.policy.strategy is Strategy.HYBRID and (why := failover.on_demand_is_due(offers, slack)):
        return CancelAttempt(attempt=active.id, reason=why, why=CancelReason.FALLBACK)
    waited, patience = slack.now - since, failover.patience(run, active)
    if waited > patience:
        reason = f"no {active.provisioning} capacity in {active.region} after {hours(waited)}"
        return CancelAttempt(attempt=active.id, reason=reason, why=CancelReason.NO_CAPACITY)
    waits = f"{active.provisioning} waits in {active.region} for {hours(waited)}"
    until = min(since + patience + MOMENT, failover.on_demand_due_at(run, offers, slack))
    return Wait(reason=f"{failover.outlook(run, offers, slack)}, {waits}", until=until)


def _waits_since(active: Attempt, seen: Observation) -> datetime:
    """Return since when it waits: an attempt that was restarted inside its job, since its newest checkpoint."""
    progress = seen.progress
    if active.started_at and progress and progress.attempt == active.id:
        return max(active.started_at, progress.at)
    return active.started_at or active.intended_at
