"""Lead a run from on-demand back to spot: a spot attempt starts beside it as a standby, and replaces it.

The trainers make the hand-over themselves, through the lease in the bucket (`spot.storage.records.lease`). The standby
gets ready and asks for the lease; on-demand saves, offers the lease and exits. The policy only starts the standby, and
ends attempts that are left over.
"""

from dataclasses import replace

from spot.core.actions import Action, CancelAttempt, Submit, Wait
from spot.core.format import hours
from spot.core.history import CancelReason
from spot.core.job import JobState
from spot.core.run import Attempt, Observation, Outcome, Provisioning, Run
from spot.policy import failover
from spot.policy.offers import Offers
from spot.policy.slack import MOMENT, Slack, hands_over
from spot.policy.termination import ERRORS, UNATTRIBUTED, UNEXPLAINED, failed_as_standby, preempted_too_often

MAX_FAILED_STANDBYS = 3
_FINAL = ERRORS | {Outcome.PERMISSION}
_NOT_TAKEN_OVER = UNEXPLAINED | {Outcome.CANCELLED}


def next_standby(run: Run, active: Attempt, offers: Offers, slack: Slack) -> Submit | Wait | None:
    """Return the standby to submit beside `active`, or until when to pause; None if it gets none."""
    alone = len(run.active_attempts) == 1 and active.state is JobState.RUNNING and active.cancel is None
    if not alone or active.provisioning is not Provisioning.ON_DEMAND or not hands_over(run.spec.policy):
        return None
    # While on-demand runs, the slack stays the same: the start of a standby costs none of it.
    if slack.left <= slack.margin or slack.work <= slack.expected_start:
        return None
    if preempted_too_often(run) or _is_hopeless(run, active):
        return None
    spot = failover.next_spot(run, offers, slack)
    if not isinstance(spot, Submit):
        return spot if isinstance(spot, Wait) else None
    if not _is_cheaper(run, spot, active):
        return None
    reason = f"{slack}: standby for {active.id}, {hours(slack.work)} of work left"
    return replace(spot, reason=reason, replaces=active.id)


def next_action(run: Run, active: Attempt, seen: Observation, slack: Slack) -> Action | None:
    """Return what a hand-over requires of an active attempt; None if it is treated as if it were alone."""
    writer = run.attempt(seen.writer)
    if writer and writer.replaces == active.id:
        reason = f"{writer.id} replaced {active.id}, {slack}"
        return CancelAttempt(attempt=active.id, reason=reason, why=CancelReason.HANDED_OVER)
    if active is not run.standby or active is writer:
        return None
    if slack.left <= slack.hard_margin:  # by more than what on-demand may not yet have saved below the margin
        reason = f"{slack}: too late for spot, {active.replaces} continues alone"
        return CancelAttempt(attempt=active.id, reason=reason, why=CancelReason.FALLBACK)
    ready = active.state is JobState.RUNNING
    since = active.started_at if ready and active.started_at else active.intended_at
    patience = slack.worst_start + slack.reconcile_interval if ready else failover.patience(run, active)
    waited = slack.now - since
    if waited > patience:
        why = CancelReason.FALLBACK if ready else CancelReason.NO_CAPACITY
        problem = f"no hand-over to standby {active.id}" if ready else f"no {active.provisioning} capacity"
        reason = f"{problem} in {active.region} after {hours(waited)}"
        return CancelAttempt(attempt=active.id, reason=reason, why=why)
    reason = f"standby {active.id} {'runs' if ready else 'waits'} in {active.region} for {hours(waited)}"
    return Wait(reason=reason, until=min(since + patience + MOMENT, slack.now + (slack.left - slack.hard_margin)))


def _is_cheaper(run: Run, spot: Submit, active: Attempt) -> bool:
    """Return whether a standby costs less than `active`; assumed where a price is not known."""
    policy = run.spec.policy
    standby, replaced = policy.price(spot.region, spot.provisioning), policy.price(active.region, active.provisioning)
    return standby is None or replaced is None or standby < replaced


def _is_hopeless(run: Run, active: Attempt) -> bool:
    """Return whether the standbys of `active` have failed so that the next would fail too, or a user cancelled one."""
    failed = [one for one in run.attempts if one.replaces == active.id and failed_as_standby(run, one)]
    return any(map(_is_final, failed)) or sum(map(_is_unexplained, failed)) >= MAX_FAILED_STANDBYS


def _is_final(standby: Attempt) -> bool:
    """Return whether it ended by an error of its own, a missing permission or a cancel from outside."""
    if standby.outcome is Outcome.CANCELLED:
        return standby.cancel is None
    return standby.outcome in _FINAL


def _is_unexplained(standby: Attempt) -> bool:
    """Return whether it failed, or never got the lease, for an unknown reason."""
    if standby.started_at is None:
        return standby.outcome in UNATTRIBUTED and not standby.never_created
    return standby.outcome in _NOT_TAKEN_OVER
