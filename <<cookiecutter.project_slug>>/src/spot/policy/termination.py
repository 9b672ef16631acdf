"""When a run has ended: its model is there, somebody cancelled it, or going on would be wrong."""

from __future__ import annotations

from spot.core.actions import Close
from spot.core.format import clock, hours
from spot.core.run import Attempt, Observation, Outcome, Run, RunState, Strategy

MAX_UNEXPLAINED = 3
"""How many attempts in a row may fail for a reason that is not ours, or not known, before somebody must look."""
ERRORS = frozenset({Outcome.TRAINING_FAILED, Outcome.OUT_OF_MEMORY})
UNEXPLAINED = frozenset({Outcome.INTERNAL, Outcome.UNKNOWN, Outcome.EXPIRED})


def verdict(run: Run, seen: Observation) -> Close | None:
    """How the run has ended, None if it goes on. What still lives of it then has to be cancelled first."""
    if seen.completed_at is not None:
        late = seen.completed_at - run.spec.deadline
        when = f"{hours(late)} late" if late.total_seconds() > 0 else f"{hours(-late)} before the deadline"
        return Close(reason=f"the model is complete since {clock(seen.completed_at)}, {when}", state=RunState.SUCCEEDED)
    if run.cancel_request is not None:
        return Close(reason=f"{run.cancel_request.by} cancelled the run", state=RunState.CANCELLED)
    counted = [one for one in run.attempts if not failed_as_twin(run, one)]
    foreign = [one for one in counted if one.outcome is Outcome.CANCELLED and one.cancel is None]
    if foreign:
        reason = f"somebody cancelled {foreign[-1].job} outside of this run: it ends"
        return Close(reason=reason, state=RunState.CANCELLED)
    fault = _fault(run, counted)
    return Close(reason=fault, state=RunState.FAILED) if fault else None


def failed_as_twin(run: Run, attempt: Attempt) -> bool:
    """Whether it ended beside the one that it was to relieve: what it met says nothing of that one, which trains."""
    other = run.attempt(attempt.replaces)
    if other is None or attempt.ended_at is None or attempt.advanced_at is not None:
        return False
    return other.outcome is not Outcome.HANDED_OVER and (other.ended_at is None or other.ended_at >= attempt.ended_at)


def _fault(run: Run, counted: list[Attempt]) -> str | None:
    for last in (one for one in counted if one.outcome is Outcome.REQUEST_REJECTED):
        if not (last.refused and _accepted_otherwise(run, last)):
            return f"Vertex AI refuses {last.id}{_said(last)}"
    errors = [item for item in counted if item.outcome in ERRORS]
    policy = run.spec.policy
    if len(errors) > policy.max_errors:
        last = errors[-1]
        return f"{last.outcome} of {last.id}, {len(errors)} > {policy.max_errors} allowed{_said(last)}"
    if (
        policy.strategy is Strategy.SPOT
        and policy.max_preemptions is not None
        and run.preemptions > policy.max_preemptions
    ):
        return f"{run.preemptions} preemptions > {policy.max_preemptions} allowed, and there is nothing but spot"
    if len(trail := _unexplained(counted)) >= MAX_UNEXPLAINED:
        return f"{len(trail)} attempts in a row ended {trail[0].outcome} without a checkpoint{_said(trail[0])}"
    return None


def _said(attempt: Attempt) -> str:
    return f": {attempt.error.message}" if attempt.error and attempt.error.message else ""


def _accepted_otherwise(run: Run, refused: Attempt) -> bool:
    """Whether the same was taken in another region or provisioning: then it is those that do not fit."""
    where = refused.region, refused.provisioning
    return any(attempt.job and (attempt.region, attempt.provisioning) != where for attempt in run.attempts)


def _unexplained(attempts: list[Attempt]) -> list[Attempt]:
    """The newest attempts that failed and nobody knows why, without any progress."""
    trail: list[Attempt] = []
    for attempt in reversed(attempts):
        if attempt.never_created:
            continue
        never_ran = attempt.outcome is Outcome.EXPIRED and attempt.started_at is None
        if attempt.outcome not in UNEXPLAINED or attempt.advanced_at is not None or never_ran:
            break
        trail.append(attempt)
    return trail
