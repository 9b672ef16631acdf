"""Bring the record of a run up to date with Vertex AI and the bucket.

Only two repairs reach the cloud, and both are harmless: a recorded cancel is requested again, strays are cancelled.
Real preemptions are added to the facts of the project: nothing can force one, and each is evidence.
"""

import logging
from dataclasses import replace
from datetime import datetime, timedelta

from spot.core.errors import SpotError, TemporarilyUnavailable
from spot.core.history import TrainingProgress
from spot.core.job import JobError, JobSnapshot, JobState
from spot.core.run import Attempt, Observation, Outcome, Run
from spot.google.vertex import JobClient, JobNotFound
from spot.policy.slack import Slack
from spot.storage.base import Store
from spot.storage.records import facts
from spot.storage.records.facts import Preemption
from spot.supervisor.classify import AttemptEvidence, classify
from spot.supervisor.training_status import TrainingStatus

GIVE_UP_AFTER = timedelta(minutes=5)
"""A create without a job this long after its intent will not be sent any more."""
GIVE_UP_UNHEARD_AFTER = timedelta(minutes=15)
"""The same limit in a region that does not answer: it is down, or it does not exist."""
NOT_FOUND = 404
STRAYS_FOR = timedelta(hours=1)
"""How long a job is looked for after its create was given up."""

_log = logging.getLogger(__name__)


def observe(run: Run, jobs: JobClient, status: TrainingStatus, now: datetime) -> tuple[Run, Observation]:
    """Return the run with its attempts brought up to date, and what the bucket says.

    Raises `SpotError` if something could not be read: then nothing is known. Past the hard margin, an attempt that
    cannot be read is in an unspecified state instead.
    """
    cancel_strays(run, jobs, now)
    # Jobs first: a trainer writes its completion before its job ends, so the bucket is never older than the jobs.
    snapshots = [(active, _try_to_look(run, active, jobs, now)) for active in run.active_attempts]
    seen = _until(status.observe(run), now)
    slack = Slack.of(run, seen, now)
    for active, snapshot in snapshots:
        if isinstance(snapshot, TemporarilyUnavailable):
            if slack.left > slack.hard_margin:
                raise snapshot
            _log.warning("%s: the state of %s is unknown: %s", run.id, active.id, snapshot)
            run = run.with_attempt(replace(active, state=JobState.UNSPECIFIED))
        elif snapshot is None:
            if now - active.intended_at > GIVE_UP_AFTER:
                created, lost = f"Vertex AI no longer has the job of {active.id}", f"no job of {active.id} was found"
                run = run.with_attempt(given_up(active, created if active.job else lost, seen, now))
        else:
            updated = _merged(active, snapshot, seen, now)
            if updated.state.ended:
                updated = _classified(run, updated, seen, status, now)
            elif updated.cancel and updated.state is not JobState.CANCELLING:
                request_cancel(run, snapshot.name, jobs)
            run = run.with_attempt(updated)
    return run, seen


def request_cancel(run: Run, job: str, jobs: JobClient) -> None:
    """Cancel a job whose cancel is recorded. A request without an answer is repeated until the job has ended."""
    try:
        jobs.cancel(job)
    except TemporarilyUnavailable as error:
        _log.warning("%s: %s was not cancelled: %s", run.id, job, error)


def _try_to_look(
    run: Run, active: Attempt, jobs: JobClient, now: datetime
) -> JobSnapshot | TemporarilyUnavailable | None:
    try:
        return _look(run, active, jobs, now)
    except TemporarilyUnavailable as error:
        return error


def _look(run: Run, active: Attempt, jobs: JobClient, now: datetime) -> JobSnapshot | None:
    """Return the job, or None if neither its name nor its labels find one. One query alone may ask the wrong place.

    Also return None for a create in a region that has not answered since. The lease fences such a job if it exists;
    a budget could not.
    """
    if active.job:
        try:
            return jobs.get(run, active)
        except JobNotFound as error:
            _log.warning("%s: %s", run.id, error)
    try:
        found = jobs.find(run, active)
    except TemporarilyUnavailable as error:
        has_budget = run.spec.policy.budget_usd is not None
        if active.job or has_budget or now - active.intended_at <= GIVE_UP_UNHEARD_AFTER:
            raise
        _log.warning("%s: %s", run.id, error)
        return None
    for extra in found[1:]:
        _cancel_extra(run, active, extra, jobs)
    return found[0] if found else None


def _cancel_extra(run: Run, attempt: Attempt, extra: JobSnapshot, jobs: JobClient) -> None:
    if not extra.state.ended and extra.state is not JobState.CANCELLING:
        _log.warning("%s: cancelling job %s, which %s does not need", run.id, extra.name, attempt.id)
        jobs.cancel(extra.name)


def _until(seen: Observation, now: datetime) -> Observation:
    """Return an observation without times after `now`: the clock of a trainer's machine may be ahead."""
    progress, completed_at = seen.progress, seen.completed_at
    return replace(
        seen,
        progress=progress and replace(progress, at=min(progress.at, now)),
        completed_at=completed_at and min(completed_at, now),
    )


def _merged(active: Attempt, snapshot: JobSnapshot, seen: Observation, now: datetime) -> Attempt:
    """Merge a snapshot and the newest progress into `active`. Known times are kept, and none is after `now`."""
    started_at, ended_at = (at and min(at, now) for at in (snapshot.started_at, snapshot.ended_at))
    active = replace(
        active,
        job=snapshot.name,
        state=snapshot.state,
        started_at=active.started_at or started_at,
        ended_at=active.ended_at or ((ended_at or now) if snapshot.state.ended else None),
        error=snapshot.error or active.error,
    )
    progress = seen.progress
    return _advanced(active, progress) if progress and progress.attempt == active.id else active


def _advanced(active: Attempt, progress: TrainingProgress) -> Attempt:
    if active.advanced_at is None:
        # A standby begins where the replaced attempt stopped, not where the run stood at the decision.
        active = replace(active, from_step=active.from_step if progress.from_step is None else progress.from_step)
        active = replace(active, advanced_at=_first_step(active, progress))
    return replace(active, saved_at=progress.at, saving=progress.saving, steps_per_hour=progress.steps_per_hour)


def _classified(run: Run, ended: Attempt, seen: Observation, status: TrainingStatus, now: datetime) -> Attempt:
    """Return `ended` with its outcome, or without one while its error may still come."""
    starts = status.starts(run, ended)
    writer = run.attempt(seen.writer)
    successor = writer if writer and writer.replaces == ended.id else None
    outcome = classify(
        AttemptEvidence(
            attempt=ended,
            starts=starts,
            now=now,
            error_lag=run.spec.policy.error_lag,
            machines=run.spec.machine.count,
            completed=seen.completed_at is not None,
            replaced=successor is not None,
            stands_by=bool(ended.replaces) and ended.advanced_at is None and seen.writer != ended.id,
        )
    )
    return replace(
        ended,
        outcome=outcome,
        starts=starts.count,
        trainer_started_at=_within(ended, starts.started_at, ended.ended_at or now),
        last_step=_handed_over(successor, seen) if outcome is Outcome.HANDED_OVER else seen.step,
    )


def _handed_over(successor: Attempt | None, seen: Observation) -> int:
    """Return the step at which `successor` resumed; the newest step may already be its own."""
    progress = seen.progress
    if progress and successor and progress.attempt == successor.id and progress.from_step is not None:
        return progress.from_step
    return seen.step


def _within(attempt: Attempt, moment: datetime | None, ended_at: datetime) -> datetime | None:
    """Clamp a time of the machine's clock to the life of the attempt by ours."""
    if moment is None or attempt.started_at is None:
        return None
    return min(max(moment, attempt.started_at), attempt.advanced_at or ended_at)


def _first_step(active: Attempt, progress: TrainingProgress) -> datetime:
    """Estimate when the attempt made its first new step, from the rate of its newest checkpoint."""
    made = max(progress.step - active.from_step, 0)
    ago = timedelta(hours=made / progress.steps_per_hour) if progress.steps_per_hour > 0 else timedelta()
    return min(max(progress.at - ago, active.started_at or active.intended_at), progress.at)


def given_up(active: Attempt, message: str, seen: Observation, now: datetime) -> Attempt:
    """Return `active` as an attempt whose job, if it exists, is cancelled as a stray."""
    error = JobError(code=NOT_FOUND, message=message)
    return replace(active, outcome=Outcome.UNKNOWN, error=error, ended_at=now, last_step=seen.step)


def cancel_strays(run: Run, jobs: JobClient, now: datetime) -> None:
    """Cancel jobs whose create was given up and took effect after all."""
    for attempt in run.attempts:
        if not _given_up_recently(attempt, now):
            continue
        try:
            for stray in jobs.find(run, attempt):
                _cancel_extra(run, attempt, stray, jobs)
        except SpotError as error:  # another region must not block this run
            _log.warning("%s: cannot look for a stray job of %s: %s", run.id, attempt.id, error)


def may_have_strays(run: Run, now: datetime) -> bool:
    """Return whether a job whose create was given up may still appear."""
    return any(_given_up_recently(attempt, now) for attempt in run.attempts)


def _given_up_recently(attempt: Attempt, now: datetime) -> bool:
    gone = attempt.outcome is Outcome.UNKNOWN and attempt.error is not None and attempt.error.code == NOT_FOUND
    return gone and attempt.ended_at is not None and now - attempt.ended_at < STRAYS_FOR


def note_preemptions(store: Store, status: TrainingStatus, before: Run, run: Run, now: datetime) -> None:
    """Record the attempts that were found preempted since `before`. No decision rests on it: a failure is logged."""
    known = {one.id for one in before.attempts if one.outcome}
    for attempt in run.attempts:
        if attempt.outcome is not Outcome.PREEMPTED or attempt.id in known or not (attempt.job and attempt.ended_at):
            continue
        try:
            starts = status.starts(run, attempt)
            one = Preemption(
                job=attempt.job,
                ended_at=attempt.ended_at,
                signal_at=starts.ended_at,
                saved_at=attempt.saved_at,
                code=attempt.error.code if attempt.error else 0,
                text=facts.quoted(attempt.error.message) if attempt.error else "",
                lag=now - attempt.ended_at,
            )
            facts.update(store, lambda found, one=one: found.with_preemption(one))  # type: ignore[misc]
        except SpotError as error:
            _log.warning("%s: the preemption of %s was not recorded: %s", run.id, attempt.id, error)
