"""Back from on-demand to spot: a spot twin starts beside on-demand, and relieves it.

The hand-over itself is made by the two trainers, by way of the writer's lease in the bucket (`spot.storage.records.lease`): the twin
gets ready, asks for the lease, on-demand saves, offers it and leaves. Here it is only decided that a twin is there.
"""

from __future__ import annotations

from spot.core.actions import Action, CancelAttempt, Submit, Wait
from spot.core.format import hours
from spot.core.job import JobState
from spot.core.run import Attempt, CancelReason, Observation, Outcome, Provisioning, Run
from spot.policy import failover
from spot.policy.slack import Slack, hands_over
from spot.policy.termination import ERRORS, MAX_UNEXPLAINED, UNEXPLAINED, failed_as_twin


def asked(run: Run, active: Attempt, seen: Observation, situation: Slack) -> Submit | Wait | None:
    """Where to ask for a twin of `active`, which runs and has none; None if it is not to have one."""
    if active.provisioning is not Provisioning.ON_DEMAND or not hands_over(run.spec.policy):
        return None
    # While on-demand runs the slack stays as it is: the start of a twin takes nothing of it.
    if situation.slack <= situation.margin or situation.work <= situation.expected_start:
        return None
    if failover.preempted_too_often(run) or _hopeless(run, active):
        return None
    spot = failover.next_spot(run, seen, situation)
    if not isinstance(spot, Submit):
        return spot if isinstance(spot, Wait) else None
    if not failover.is_cheaper(run, spot, active):
        return None
    return Submit(
        reason=f"beside {active.id}, slack {hours(situation.slack)} leaves time to relieve it,"
        f" {hours(situation.work)} of work left",
        provisioning=spot.provisioning,
        region=spot.region,
        timeout=spot.timeout,
        replaces=active.id,
    )


def _hopeless(run: Run, active: Attempt) -> bool:
    """Whether twins of it have failed in a way in which the next would fail as well, or somebody does not want one."""
    failed = [one for one in run.attempts if one.replaces == active.id and failed_as_twin(run, one)]
    return any(_tells(one) for one in failed) or sum(map(_is_strange, failed)) >= MAX_UNEXPLAINED


def _tells(standby: Attempt) -> bool:
    """Of a mistake, or of somebody's will."""
    if standby.outcome is Outcome.CANCELLED:
        return standby.cancel is None
    return standby.outcome in ERRORS or (standby.outcome is Outcome.REQUEST_REJECTED and not standby.refused)


def _is_strange(standby: Attempt) -> bool:
    """Nobody knows why it failed, or why it was never let in."""
    if standby.started_at is None:
        return standby.outcome in UNEXPLAINED - {Outcome.EXPIRED} and not standby.never_created
    return standby.outcome in UNEXPLAINED or standby.outcome is Outcome.CANCELLED


def during(run: Run, active: Attempt, seen: Observation, situation: Slack) -> Action | None:
    """What a hand-over has to say about a live attempt; None if it is to be treated as if it were alone."""
    slack = f"slack {hours(situation.slack)}"
    writer = run.attempt(seen.writer)
    if writer and writer.replaces == active.id:
        reason = f"{writer.id} has relieved {active.id}, {slack}"
        return CancelAttempt(attempt=active.id, reason=reason, why=CancelReason.HANDED_OVER)
    if run.standby is None or run.standby is writer:
        return None
    if active is not run.standby:
        return None
    return _twin(run, active, situation)


def _twin(run: Run, standby: Attempt, situation: Slack) -> Action:
    now, slack = situation.now, f"slack {hours(situation.slack)}"
    stands_by, least = standby.state is JobState.RUNNING, situation.hard_margin
    if situation.slack <= least:  # by more than what on-demand may not yet have saved below the margin
        reason = f"{slack} <= {hours(least)}: too late for spot, {standby.replaces} goes on alone"
        return CancelAttempt(attempt=standby.id, reason=reason, why=CancelReason.FALLBACK)
    since = standby.started_at if stands_by and standby.started_at else standby.intended_at
    patience = situation.worst_start + situation.reconcile_interval if stands_by else failover.patience(run, standby)
    what = f"{standby.id} {'stands by' if stands_by else 'waits'} in {standby.region} for {hours(now - since)}"
    if now - since > patience:
        why = CancelReason.FALLBACK if stands_by else CancelReason.NO_CAPACITY
        return CancelAttempt(attempt=standby.id, reason=f"{what}, longer than {hours(patience)}", why=why)
    return Wait(reason=what, until=min(since + patience, now + (situation.slack - least)))
