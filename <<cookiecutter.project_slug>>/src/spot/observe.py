"""What is known of a run now: its record, brought up to date by Vertex AI and the bucket. Changes nothing out there,

but for two repairs that can do no harm: a cancel that was recorded is asked for again, and strays are cancelled.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta

from spot.classify import Evidence as Known
from spot.classify import classify
from spot.evidence import Evidence
from spot.run import Attempt, JobError, JobState, Observation, Outcome, Run, Sighting
from spot.vertex import Gone, Jobs, Unavailable

GIVE_UP_AFTER = timedelta(minutes=5)
"""A create that was not found so long after its intent will not be sent any more."""
STRAYS_FOR = timedelta(hours=1)
"""How long a create that was given up is looked for all the same."""

_log = logging.getLogger(__name__)


def observe(run: Run, jobs: Jobs, evidence: Evidence, now: datetime) -> tuple[Run, Observation]:
    """Raises `VertexError` or `StoreError` if something could not be read: then nothing is known."""
    _cancel_strays(run, jobs, now)
    live = run.live
    if live is None:
        return run, evidence.observe(run)
    # The job first: a trainer completes the model before its job ends, so what is read after cannot be older.
    try:
        sighting = jobs.get(live.job) if live.job else jobs.find(run, live)
    except Gone as error:
        if now - live.intended_at < GIVE_UP_AFTER:  # it may not be seen everywhere yet
            raise Unavailable(str(error)) from error
        seen = evidence.observe(run)
        return run.with_last(_vanished(live, seen, str(error), now)), seen
    seen = evidence.observe(run)
    if sighting is None:
        given_up = now - live.intended_at > GIVE_UP_AFTER
        return (run.with_last(_given_up(live, now)) if given_up else run), seen
    live = _merged(live, sighting, seen, now)
    if live.state.ended:
        live = _judged(run, live, seen, evidence, now)
    elif live.cancel and live.state is not JobState.CANCELLING:
        jobs.cancel(sighting.name)
    return run.with_last(live), seen


def _merged(live: Attempt, sighting: Sighting, seen: Observation, now: datetime) -> Attempt:
    """`live` as it is shown. Times that were known stay as they were."""
    progress = seen.progress
    advanced = progress is not None and progress.attempt == live.id
    return replace(
        live,
        job=sighting.name,
        state=sighting.state,
        started_at=live.started_at or sighting.started_at,
        advanced_at=live.advanced_at or (progress.at if progress and advanced else None),
        ended_at=live.ended_at or ((sighting.ended_at or now) if sighting.state.ended else None),
        error=sighting.error or live.error,
    )


def _judged(run: Run, live: Attempt, seen: Observation, evidence: Evidence, now: datetime) -> Attempt:
    starts = evidence.starts(run, live)
    ended_at = live.ended_at or now
    outcome = classify(
        Known(
            state=live.state,
            provisioning=live.provisioning,
            timeout=live.timeout,
            error=live.error,
            since_end=now - ended_at,
            ran=ended_at - live.started_at if live.started_at else None,
            trainer_starts=starts.count,
            exit_code=starts.exit_code,
            advanced=live.advanced_at is not None,
            completed=seen.completed_at is not None,
            cancel=live.cancel,
        )
    )
    return replace(live, outcome=outcome, starts=starts.count, last_step=_step(seen))


def _vanished(live: Attempt, seen: Observation, said: str, now: datetime) -> Attempt:
    return replace(
        live, outcome=Outcome.UNKNOWN, error=JobError(code=404, message=said), ended_at=now, last_step=_step(seen)
    )


def _given_up(live: Attempt, now: datetime) -> Attempt:
    message = f"no job of {live.id} was found within {GIVE_UP_AFTER}: it was never created"
    return replace(live, outcome=Outcome.UNKNOWN, error=JobError(code=0, message=message), ended_at=now)


def _step(seen: Observation) -> int:
    return seen.progress.step if seen.progress else 0


def _cancel_strays(run: Run, jobs: Jobs, now: datetime) -> None:
    """A create that was given up and took effect after all has a job that nobody follows."""
    for attempt in run.attempts:
        if attempt.never_created and now - attempt.intended_at < STRAYS_FOR:
            stray = jobs.find(run, attempt)
            if stray and not stray.state.ended and stray.state is not JobState.CANCELLING:
                _log.warning("%s: cancelling %s, whose create had been given up", run.id, stray.name)
                jobs.cancel(stray.name)
