"""Simulate the cloud of a replay: the life of each job, minute by minute, and what a supervisor sees of it."""

from bisect import bisect_right
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum

from spot.core.history import Cancel, CancelReason, TrainingProgress
from spot.core.job import JobState
from spot.core.run import Attempt, Observation, Outcome, Provisioning, Run
from spot.simulation.startup_times import StartupTimes
from spot.simulation.traces import Capacity

MINUTE = timedelta(minutes=1)
NEVER = 10**9


class ReplayError(Exception):
    """Report an action that a replay has no model of: a mistake in a policy."""


class JobPhase(IntEnum):
    WAITING = 0
    STARTING = 1
    """Its machine runs and is billed."""
    TRAINING = 2
    ENDED = 3


@dataclass(slots=True, kw_only=True)
class ReplayedJob:
    """Hold one job; times are minutes since submit."""

    attempt: Attempt
    """As a supervisor sees it."""
    runs_at: int
    lost_at: int
    """When its machine is preempted, or its timeout ends."""
    lost_as: Outcome
    phase: JobPhase = JobPhase.WAITING
    trains_at: int = NEVER
    base: int = 0
    due: int = NEVER
    """When its phase changes."""


class Cloud:
    """Simulate the jobs of one run. A step is a minute of work."""

    def __init__(self, run: Run, capacity: Capacity, times: StartupTimes) -> None:
        policy = run.spec.policy
        self.work = -(-policy.work // MINUTE)
        self.completed_at: int | None = None
        self.jobs: list[ReplayedJob] = []
        """The active ones, at most two."""
        self._submitted_at = run.submitted_at
        self._saved_share = policy.saved_share
        self._every = max(policy.max_checkpoint_interval // MINUTE, 1)
        self._capacity, self._times = capacity, times
        self._saved = 0
        self._progress: TrainingProgress | None = None

    def submit(self, attempt: Attempt, minute: int) -> ReplayedJob:
        """Create a job. Raise `ReplayError` for an attempt that a replay has no model of."""
        if self.jobs and (len(self.jobs) > 1 or attempt.replaces != self.jobs[0].attempt.id):
            active = ", ".join(job.attempt.id for job in self.jobs)
            raise ReplayError(f"{attempt.id} does not replace the only active attempt ({active})")
        runs_at, taken_at = self._machine(attempt.provisioning, attempt.region, minute)
        expires_at = runs_at + attempt.timeout // MINUTE
        job = ReplayedJob(
            attempt=attempt,
            runs_at=runs_at,
            lost_at=min(taken_at, expires_at),
            lost_as=Outcome.PREEMPTED if taken_at <= expires_at else Outcome.EXPIRED,
            due=runs_at,
        )
        self.jobs.append(job)
        return job

    def _machine(self, provisioning: Provisioning, region: str, minute: int) -> tuple[int, int]:
        if provisioning is Provisioning.ON_DEMAND:
            return minute + self._times.provisioning(provisioning, region, minute), NEVER
        if provisioning is not Provisioning.SPOT or region not in self._capacity:
            raise ReplayError(f"no capacity is known for {provisioning} in {region!r}")
        ups = self._capacity[region]
        for index in range(max(bisect_right(ups, (minute, NEVER)) - 1, 0), len(ups)):
            got, lost = max(ups[index][0], minute), ups[index][1]
            if got < lost and (runs := got + self._times.provisioning(provisioning, region, got)) < lost:
                return runs, lost
        return NEVER, NEVER

    def cancel(self, attempt: str, why: CancelReason, minute: int) -> None:
        """End an active job at once; a training job saves first."""
        [job] = [job for job in self.jobs if job.attempt.id == attempt]
        outcome = Outcome.CANCELLED
        if job.phase is JobPhase.TRAINING:
            self._save(job, minute)
        if job.phase is JobPhase.WAITING and why is CancelReason.NO_CAPACITY:
            outcome = Outcome.NO_CAPACITY
        if why is CancelReason.HANDED_OVER:
            outcome = Outcome.HANDED_OVER
        self._end(job, minute, JobState.CANCELLED, outcome, Cancel(at=self._moment(minute), why=why))

    @property
    def due(self) -> int:
        return min([job.due for job in self.jobs], default=NEVER)

    def checkpoint_due(self, minute: int, *, only_first: bool) -> int:
        """Return the minute of the next checkpoint after `minute`, or only of the first one of its attempt."""
        for job in self.jobs:
            if job.phase is JobPhase.TRAINING:
                saves = max(minute - job.trains_at, 0) // self._every
                return NEVER if saves and only_first else job.trains_at + (saves + 1) * self._every
        return NEVER

    def change(self) -> bool:
        """Make the next change; return whether a supervisor can see it."""
        job = min(self.jobs, key=lambda job: job.due)
        minute = job.due
        match job.phase:
            case JobPhase.WAITING:
                job.phase = JobPhase.STARTING
                restore = self._times.restore(job.attempt.provisioning, job.attempt.region, minute)
                job.trains_at, job.due = minute + restore, min(minute + restore, job.lost_at)
                at = self._moment(job.runs_at)
                job.attempt = replace(job.attempt, state=JobState.RUNNING, started_at=at, trainer_started_at=at)
            case JobPhase.TRAINING if job.base + minute - job.trains_at >= self.work:
                self.completed_at = minute
                self._save(job, minute)
                self._end(job, minute, JobState.SUCCEEDED, Outcome.SUCCEEDED)
            case _ if job.lost_at <= minute:
                if job.phase is JobPhase.TRAINING and self._times.saves(minute, self._saved_share):
                    self._save(job, minute)
                self._save_newest(job, minute)
                self._end(job, minute, JobState.FAILED, job.lost_as)
            case _ if self.completed_at is not None:
                self._end(job, minute, JobState.SUCCEEDED, Outcome.SUCCEEDED)
            case _:
                return self._take_over(job, minute)
        return True

    def _take_over(self, job: ReplayedJob, minute: int) -> bool:
        """Let a restored job train; a standby replaces its active one. Return whether there was one."""
        replaced = next((other for other in self.jobs if other.attempt.id == job.attempt.replaces), None)
        if replaced is not None:
            if replaced.phase is JobPhase.TRAINING:
                self._save(replaced, minute)
            self._end(replaced, minute, JobState.FAILED, Outcome.HANDED_OVER)
        job.phase, job.base = JobPhase.TRAINING, self._saved
        job.due = min(minute + self.work - job.base, job.lost_at)
        return replaced is not None

    def _save_newest(self, job: ReplayedJob, minute: int) -> None:
        """Record the newest periodic checkpoint before `minute`."""
        if job.phase is JobPhase.TRAINING and (saves := (minute - job.trains_at) // self._every):
            self._save(job, job.trains_at + saves * self._every)

    def _save(self, job: ReplayedJob, minute: int) -> None:
        step = job.base + minute - job.trains_at
        if step > self._saved:
            self._saved, at = step, self._moment(minute)
            job.attempt = replace(job.attempt, advanced_at=self._moment(job.trains_at), saved_at=at)
            self._progress = TrainingProgress(
                attempt=job.attempt.id,
                step=step,
                total_steps=self.work,
                trained=step * MINUTE,
                steps_per_hour=60.0,
                at=at,
            )

    def _end(
        self, job: ReplayedJob, minute: int, state: JobState, outcome: Outcome, cancel: Cancel | None = None
    ) -> None:
        self.jobs.remove(job)
        job.phase, job.due = JobPhase.ENDED, NEVER
        job.attempt = replace(
            job.attempt,
            state=state,
            ended_at=self._moment(minute),
            last_step=self._saved,
            starts=1 if job.trains_at < NEVER else 0,
            cancel=cancel,
            outcome=outcome,
        )

    def shown(self, jobs: list[ReplayedJob], minute: int) -> tuple[tuple[Attempt, ...], Observation]:
        """Return the attempts of `jobs` and the state of the bucket, as a supervisor sees them in this minute."""
        for job in self.jobs:
            self._save_newest(job, minute)
        holder = self.jobs[0] if len(self.jobs) > 1 else None
        return tuple([job.attempt for job in jobs]), Observation(
            progress=self._progress,
            writer=holder.attempt.id if holder and holder.phase is not JobPhase.WAITING else None,
            completed_at=None if self.completed_at is None else self._moment(self.completed_at),
        )

    def _moment(self, minute: int) -> datetime:
        return self._submitted_at + minute * MINUTE
