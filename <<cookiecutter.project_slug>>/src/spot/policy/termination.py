"""Decide whether a run has ended, and end the attempts that are still active then."""

from collections.abc import Set
from datetime import timedelta

from spot.core.actions import Action, CancelAttempt, Close, Wait
from spot.core.format import clock, counted, hours
from spot.core.history import CancelReason
from spot.core.job import JobState
from spot.core.run import Attempt, Observation, Outcome, Run, RunState, Strategy
from spot.policy.slack import Slack

MAX_WITHOUT_CHECKPOINT = 6
"""Attempts in a row that may end without a new checkpoint, however they end, before a person must look."""
ERRORS = frozenset({Outcome.TRAINING_FAILED, Outcome.OUT_OF_MEMORY})
UNATTRIBUTED = frozenset({Outcome.INTERNAL, Outcome.UNKNOWN})
UNEXPLAINED = UNATTRIBUTED | {Outcome.EXPIRED}
_LEFT = frozenset({None, Outcome.CANCELLED, Outcome.HANDED_OVER, Outcome.SUCCEEDED})
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
    foreign = [one for one in _own(run, {Outcome.CANCELLED}) if one.cancel is None]
    if foreign:
        return Close(reason=f"{foreign[-1].job} was cancelled outside of this run", state=RunState.CANCELLED)
    failure = _failure(run, seen)
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


def without_checkpoint(run: Run) -> list[Attempt]:
    """Return the attempts since the newest checkpoint that had a machine, or failed for no known reason."""
    trail: list[Attempt] = []
    for attempt in reversed(run.attempts):
        if attempt.advanced_at is not None:
            break
        strange = attempt.outcome in UNATTRIBUTED and not attempt.never_created
        had_machine = attempt.started_at is not None and attempt.outcome not in _LEFT
        if (strange or had_machine) and not failed_as_standby(run, attempt):
            trail.append(attempt)
    return trail


def stuck(run: Run) -> str | None:
    """Return that too many attempts in a row brought no checkpoint, None if not."""
    trail = without_checkpoint(run)
    if len(trail) < MAX_WITHOUT_CHECKPOINT:
        return None
    return f"{len(trail)} attempts in a row ended without a checkpoint; {trail[0].id} ended as {_said(trail[0])}"


def preempted_too_often(run: Run) -> str | None:
    """Return why no further spot attempt is allowed, None if one is."""
    allowed = run.spec.policy.max_preemptions
    if allowed is None or run.preemptions <= allowed:
        return None
    return f"{run.preemptions} preemptions, {allowed} allowed"


def _said(attempt: Attempt) -> str:
    said = attempt.error.message if attempt.error else ""
    return f"{attempt.outcome}: {said}" if said else str(attempt.outcome)


def _own(run: Run, outcomes: Set[Outcome]) -> list[Attempt]:
    """Return the attempts with one of these outcomes that count against the run."""
    return [one for one in run.attempts if one.outcome in outcomes and not failed_as_standby(run, one)]


def _failure(run: Run, seen: Observation) -> str | None:
    policy = run.spec.policy
    errors = _own(run, ERRORS)
    if len(errors) > policy.max_errors:
        last = errors[-1]
        found = f"{counted(len(errors), 'error')}, {policy.max_errors} allowed"
        return f"{found}; {last.id} ended as {_said(last)}"
    if policy.strategy is Strategy.SPOT and (why := preempted_too_often(run)):
        return f"{why}, and the strategy is spot"
    ran = [attempt for attempt in without_checkpoint(run) if attempt.started_at is not None]
    advanced = seen.progress is not None or any(attempt.advanced_at for attempt in run.attempts)
    if len(ran) >= MAX_WITHOUT_CHECKPOINT and not advanced and all(one.outcome in UNEXPLAINED for one in ran):
        return stuck(run)
    return None
