"""When a run has ended: its model is there, somebody cancelled it, or going on would be wrong."""

from __future__ import annotations

from spot.action import Close
from spot.run import Attempt, Observation, Outcome, Run, RunState, Strategy
from spot.show import clock, hours

MAX_UNEXPLAINED = 3
"""How many attempts in a row may fail for a reason that is not ours, or not known, before somebody must look."""
UNEXPLAINED = frozenset({Outcome.INTERNAL, Outcome.UNKNOWN, Outcome.EXPIRED})


def verdict(run: Run, seen: Observation) -> Close | None:
    """How the run has ended, None if it goes on. Asked only while no attempt lives."""
    if seen.completed_at is not None:
        late = seen.completed_at - run.spec.deadline
        when = f"{hours(late)} late" if late.total_seconds() > 0 else f"{hours(-late)} before the deadline"
        return Close(reason=f"the model is complete since {clock(seen.completed_at)}, {when}", state=RunState.SUCCEEDED)
    if run.cancel_request is not None:
        return Close(reason=f"{run.cancel_request.by} cancelled the run", state=RunState.CANCELLED)
    if not run.attempts:
        return None
    last = run.attempts[-1]
    if last.outcome is Outcome.CANCELLED and last.cancel is None:
        reason = f"somebody cancelled {last.job} outside of this run: it ends"
        return Close(reason=reason, state=RunState.CANCELLED)
    fault = _fault(run, last)
    return Close(reason=fault, state=RunState.FAILED) if fault else None


def _fault(run: Run, last: Attempt) -> str | None:
    said = f": {last.error.message}" if last.error and last.error.message else ""
    if last.outcome is Outcome.INVALID and not (last.refused and _accepted_otherwise(run, last)):
        return f"Vertex AI refuses {last.id}{said}"
    errors = [item for item in run.attempts if item.outcome in {Outcome.USER_ERROR, Outcome.OUT_OF_MEMORY}]
    allowed = run.spec.terms.max_errors
    if errors and errors[-1] is last and len(errors) > allowed:
        return f"{last.outcome} of {last.id}, {len(errors)} > {allowed} allowed{said}"
    terms = run.spec.terms
    if (
        terms.strategy is Strategy.SPOT
        and terms.max_preemptions is not None
        and run.preemptions > terms.max_preemptions
    ):
        return f"{run.preemptions} preemptions > {terms.max_preemptions} allowed, and there is nothing but spot"
    if len(trail := _unexplained(run)) >= MAX_UNEXPLAINED:
        return f"{len(trail)} attempts in a row ended {last.outcome} without a checkpoint{said}"
    return None


def _accepted_otherwise(run: Run, refused: Attempt) -> bool:
    """Whether the same was taken in another region or provisioning: then it is those that do not fit."""
    where = refused.region, refused.provisioning
    return any(attempt.job and (attempt.region, attempt.provisioning) != where for attempt in run.attempts)


def _unexplained(run: Run) -> list[Attempt]:
    """The newest attempts that failed and nobody knows why, without any progress."""
    trail: list[Attempt] = []
    for attempt in reversed(run.attempts):
        if attempt.never_created:
            continue
        never_ran = attempt.outcome is Outcome.EXPIRED and attempt.started_at is None
        if attempt.outcome not in UNEXPLAINED or attempt.advanced_at is not None or never_ran:
            break
        trail.append(attempt)
    return trail
