"""What is known of a run now: its record, brought up to date by Vertex AI and the bucket. Changes nothing out there,

but for two repairs that can do no harm: a cancel that was recorded is asked for again, and strays are cancelled.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta

from spot.core.job import JobError, JobSnapshot, JobState
from spot.core.run import Attempt, Observation, Outcome, Progress, Run
from spot.google.vertex import Gone, Jobs, Unavailable, VertexError
from spot.supervisor.classify import Evidence as Known
from spot.supervisor.classify import classify
from spot.supervisor.training_status import Evidence

GIVE_UP_AFTER = timedelta(minutes=5)
"""A create that was not found so long after its intent will not be sent any more."""
GIVE_UP_UNHEARD_AFTER = timedelta(minutes=15)
"""The same where nobody has answered since: the region is down, or there is none of this name."""
NOT_FOUND = 404
STRAYS_FOR = timedelta(hours=1)
"""How long a create that was given up is looked for all the same."""

_log = logging.getLogger(__name__)


def observe(run: Run, jobs: Jobs, evidence: Evidence, now: datetime) -> tuple[Run, Observation]:
    """Raises `VertexError` or `StoreError` if something could not be read: then nothing is known."""
    cancel_strays(run, jobs, now)
    # The jobs first: a trainer completes the model before its job ends, so what is read after cannot be older.
    sightings = [(active, _look(run, active, jobs, now)) for active in run.active_attempts]
    seen = evidence.observe(run)
    for active, sighting in sightings:
        if sighting is None:
            if now - active.intended_at > GIVE_UP_AFTER:
                run = run.with_attempt(_given_up(active, seen, now))
        else:
            run = run.with_attempt(_known(run, active, sighting, seen, jobs, evidence, now))
    return run, seen


def _known(
    run: Run, active: Attempt, sighting: JobSnapshot, seen: Observation, jobs: Jobs, evidence: Evidence, now: datetime
) -> Attempt:
    """`active` as its job, and what it wrote, show it."""
    active = _merged(active, sighting, seen, now)
    if active.state.ended:
        return _judged(run, active, seen, evidence, now)
    if active.cancel and active.state is not JobState.CANCELLING:
        jobs.cancel(sighting.name)
    return active


def _look(run: Run, active: Attempt, jobs: Jobs, now: datetime) -> JobSnapshot | None:
    """None if two ways of asking know of no such job. One alone may have asked the wrong place.

    None also if a create was never heard of in a region that does not answer. Should there be a job after all, the
    lease keeps the two apart; a budget could not.
    """
    if active.job:
        try:
            return jobs.get(active.job)
        except Gone as error:
            _log.warning("%s: %s", run.id, error)
    try:
        return jobs.find(run, active)
    except Unavailable as error:
        heard_of, kept = active.job is not None, run.spec.policy.budget_usd is not None
        if heard_of or kept or now - active.intended_at <= GIVE_UP_UNHEARD_AFTER:
            raise
        _log.warning("%s: %s", run.id, error)
        return None


def _merged(active: Attempt, sighting: JobSnapshot, seen: Observation, now: datetime) -> Attempt:
    """`active` as it is shown. Times that were known stay as they were."""
    active = replace(
        active,
        job=sighting.name,
        state=sighting.state,
        started_at=active.started_at or sighting.started_at,
        ended_at=active.ended_at or ((sighting.ended_at or now) if sighting.state.ended else None),
        error=sighting.error or active.error,
    )
    progress = seen.progress
    return _advanced(active, progress) if progress and progress.attempt == active.id else active


def _advanced(active: Attempt, progress: Progress) -> Attempt:
    """`active`, which wrote the newest checkpoint."""
    if active.advanced_at is None:
        # One that relieves another begins where that has come to, not where it was when this was decided.
        active = replace(active, from_step=active.from_step if progress.from_step is None else progress.from_step)
        active = replace(active, advanced_at=_first_step(active, progress))
    return replace(active, saved_at=progress.at, saving=progress.saving)


def _judged(run: Run, active: Attempt, seen: Observation, evidence: Evidence, now: datetime) -> Attempt:
    starts = evidence.starts(run, active)
    writer = run.attempt(seen.writer)
    successor = writer if writer and writer.replaces == active.id else None
    ended_at = active.ended_at or now
    outcome = classify(
        Known(
            state=active.state,
            provisioning=active.provisioning,
            timeout=active.timeout,
            error=active.error,
            since_end=now - ended_at,
            ran=ended_at - active.started_at if active.started_at else None,
            trainer_starts=starts.count,
            exit_code=starts.exit_code,
            advanced=active.advanced_at is not None,
            completed=seen.completed_at is not None,
            cancel=active.cancel,
            relieved=successor is not None,
            stands_by=bool(active.replaces) and active.advanced_at is None and seen.writer != active.id,
        )
    )
    return replace(
        active,
        outcome=outcome,
        starts=starts.count,
        trainer_started_at=_within(active, starts.started_at, ended_at),
        last_step=_handed_over(successor, seen) if outcome is Outcome.HANDED_OVER else _step(seen),
    )


def _handed_over(successor: Attempt | None, seen: Observation) -> int:
    """Where the successor went on, which may have made steps of its own since."""
    progress = seen.progress
    if progress and successor and progress.attempt == successor.id and progress.from_step is not None:
        return progress.from_step
    return _step(seen)


def _within(active: Attempt, moment: datetime | None, ended_at: datetime) -> datetime | None:
    """Two clocks may differ, but a trainer begins after its machine has and before that ends."""
    if moment is None or active.started_at is None:
        return None
    return min(max(moment, active.started_at), active.advanced_at or ended_at)


def _first_step(active: Attempt, progress: Progress) -> datetime:
    """When it made its first new step, however late its checkpoints were looked at."""
    made = max(progress.step - active.from_step, 0)
    ago = timedelta(hours=made / progress.steps_per_hour) if progress.steps_per_hour > 0 else timedelta()
    return min(max(progress.at - ago, active.started_at or active.intended_at), progress.at)


def _given_up(active: Attempt, seen: Observation, now: datetime) -> Attempt:
    message = (
        f"Vertex AI knows of no job of {active.id} any more" if active.job else f"no job of {active.id} was ever found"
    )
    return replace(
        active,
        outcome=Outcome.UNKNOWN,
        error=JobError(code=NOT_FOUND, message=message),
        ended_at=now,
        last_step=_step(seen),
    )


def _step(seen: Observation) -> int:
    return seen.progress.step if seen.progress else 0


def may_have_strays(run: Run, now: datetime) -> bool:
    """Whether a job may still turn up that was given up."""
    return any(_lost(attempt, now) for attempt in run.attempts)


def cancel_strays(run: Run, jobs: Jobs, now: datetime) -> None:
    """A job that was given up, and is there after all, has nobody who follows it."""
    for attempt in run.attempts:
        if not _lost(attempt, now):
            continue
        try:
            stray = jobs.find(run, attempt)
            if stray and not stray.state.ended and stray.state is not JobState.CANCELLING:
                _log.warning("%s: cancelling %s, which had been given up", run.id, stray.name)
                jobs.cancel(stray.name)
        except VertexError as error:  # another region must not keep this run from its own
            _log.warning("%s: no look for a stray of %s: %s", run.id, attempt.id, error)


def _lost(attempt: Attempt, now: datetime) -> bool:
    gone = attempt.outcome is Outcome.UNKNOWN and attempt.error is not None and attempt.error.code == NOT_FOUND
    return gone and attempt.ended_at is not None and now - attempt.ended_at < STRAYS_FOR
