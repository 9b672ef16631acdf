"""Decide whether a run has ended, and end the attempts that are still active then."""

from datetime import timedelta

from spot.core.actions import Action, CancelAttempt, Close, Wait
from spot.core.format import clock, counted, hours
from spot.core.job import JobState
from spot.core.run import Attempt, CancelReason, Observation, Outcome, Run, RunState, Strategy
from spot.policy.slack import Slack

MAX_UNEXPLAINED = 3
"""Attempts in a row that may fail without a checkpoint, by Vertex AI's fault or an unknown one."""
ERRORS = frozenset({Outcome.TRAINING_FAILED, Outcome.OUT_OF_MEMORY})
UNEXPLAINED = frozenset({Outcome.INTERNAL, Outcome.UNKNOWN, Outcome.EXPIRED})
GRACE_AFTER_COMPLETION = timedelta(minutes=10)
"""Time for a job to end by itself once its model is complete; a cancel follows."""
WAITING = frozenset({JobState.QUEUED, JobState.PENDING, JobState.PAUSED})


def outcome(run: Run, seen: Observation) -> Close | None:
    """Return how the run has ended, None if it goes on. Active attempts are cancelled before it is closed."""
    if seen.completed_at is not None:
        late = seen.completed_at - run.spec.deadline
        when = f"{hours(late)} late" if late.total_seconds() > 0 else f"{hours(-late)} before the deadline"
        return Close(reason=f"model complete at {clock(seen.completed_at)}, {when}", state=RunState.SUCCEEDED)
    if run.cancel_request is not None:
        return Close(reason=f"cancelled by {run.cancel_request.by}", state=RunState.CANCELLED)
    own = [attempt for attempt in run.attempts if not failed_as_standby(run, attempt)]
    foreign = [attempt for attempt in own if attempt.outcome is Outcome.CANCELLED and attempt.cancel is None]
    if foreign:
        return Close(reason=f"{foreign[-1].job} was cancelled outside of this run", state=RunState.CANCELLED)
    failure = _failure(run, own)
    return Close(reason=failure, state=RunState.FAILED) if failure else None


def end(run: Run, active: Attempt, seen: Observation, ending: Close | None, slack: Slack) -> Action | None:
    """Return how an active attempt of a run that has ended is brought to its end, None if the run goes on."""
    if ending is None:
        return None
    if seen.completed_at is None:
        why = CancelReason.ASKED if run.cancel_request is not None else CancelReason.FAILED
        return CancelAttempt(attempt=active.id, reason=ending.reason, why=why)
    until = seen.completed_at + GRACE_AFTER_COMPLETION
    reason = f"model complete at {clock(seen.completed_at)}, {active.id} has not"
    if active.state in WAITING:
        return CancelAttempt(attempt=active.id, reason=f"{reason} started", why=CancelReason.COMPLETE)
    if slack.now <= until:
        return Wait(reason=f"{reason} ended yet", until=until)
    return CancelAttempt(attempt=active.id, reason=f"{reason} ended", why=CancelReason.COMPLETE)


def failed_as_standby(run: Run, attempt: Attempt) -> bool:
    """Return whether it ended beside the attempt that it was to replace; its end does not count against the run."""
    replaced = run.attempt(attempt.replaces)
    if replaced is None or attempt.ended_at is None or attempt.advanced_at is not None:
        return False
    outlived = replaced.ended_at is None or replaced.ended_at >= attempt.ended_at
    return replaced.outcome is not Outcome.HANDED_OVER and outlived


def _failure(run: Run, own: list[Attempt]) -> str | None:
    for rejected in (attempt for attempt in own if attempt.outcome is Outcome.REQUEST_REJECTED):
        if not (rejected.refused and _accepted_elsewhere(run, rejected)):
            return f"Vertex AI rejected the request for {rejected.id}{_said(rejected)}"
    policy = run.spec.policy
    errors = [attempt for attempt in own if attempt.outcome in ERRORS]
    if len(errors) > policy.max_errors:
        last = errors[-1]
        found = f"{counted(len(errors), 'error')}, {policy.max_errors} allowed"
        return f"{found}; {last.id} ended {last.outcome}{_said(last)}"
    allowed = policy.max_preemptions
    if policy.strategy is Strategy.SPOT and allowed is not None and run.preemptions > allowed:
        return f"{run.preemptions} preemptions, {allowed} allowed, and the strategy is spot"
    if len(trail := _unexplained(own)) >= MAX_UNEXPLAINED:
        return f"{len(trail)} attempts in a row ended {trail[0].outcome} without a checkpoint{_said(trail[0])}"
    return None


def _said(attempt: Attempt) -> str:
    return f": {attempt.error.message}" if attempt.error and attempt.error.message else ""


def _accepted_elsewhere(run: Run, refused: Attempt) -> bool:
    """Return whether another region or provisioning accepted the same request: then the request itself is valid."""
    where = refused.region, refused.provisioning
    return any(attempt.job and (attempt.region, attempt.provisioning) != where for attempt in run.attempts)


def _unexplained(attempts: list[Attempt]) -> list[Attempt]:
    """Return the newest attempts in a row that failed without a known reason and without progress."""
    trail: list[Attempt] = []
    for attempt in reversed(attempts):
        if attempt.never_created:
            continue
        never_ran = attempt.outcome is Outcome.EXPIRED and attempt.started_at is None
        if attempt.outcome not in UNEXPLAINED or attempt.advanced_at is not None or never_ran:
            break
        trail.append(attempt)
    return trail
