"""The cloud of a replay: what becomes of each job, minute by minute, and what a supervisor can see of it."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from spot.core.job import JobState
from spot.core.run import Attempt, Cancel, CancelReason, Observation, Outcome, Provisioning, Run, TrainingProgress
from spot.simulation.startup_times import StartupTimes
from spot.simulation.windows import Capacity

MINUTE = timedelta(minutes=1)
NEVER = 10**9


class ReplayError(Exception):
    """The policy asked for what a replay has no model of: a mistake in a program."""


class Phase(IntEnum):
    WAITING = 0
    STARTING = 1
    """Its machine is there, and paid for."""
    TRAINING = 2
    ENDED = 3


@dataclass(slots=True, kw_only=True)
class Job:
    """Minutes since submit; `NEVER` is none."""

    attempt: Attempt
    """As it was submitted."""
    runs_at: int
    lost_at: int
    """When its machine is taken away, or its time is up."""
    lost_as: Outcome
    phase: Phase = Phase.WAITING
    trains_at: int = NEVER
    base: int = 0
    """What it trains on from."""
    due: int = NEVER
    """When its phase changes."""
    saved_at: int | None = None
    """When its newest checkpoint that a later one needs was taken."""
    ended: Attempt | None = None


class Cloud:
    """The jobs of one run. Steps are minutes of work."""

    def __init__(self, run: Run, capacity: Capacity, draws: StartupTimes) -> None:
        policy = run.spec.policy
        self.work = -(-policy.work // MINUTE)
        self.completed_at: int | None = None
        self.jobs: list[Job] = []
        """Those that live, at most two."""
        self._submitted_at = run.submitted_at
        self._every = max(policy.max_checkpoint_interval // MINUTE, 1)
        self._capacity, self._draws = capacity, draws
        self._saved, self._saved_at, self._saved_by = 0, 0, ""

    def submit(self, attempt: Attempt, minute: int) -> Job:
        """Raises `ReplayError` for what has no model."""
        if self.jobs and (len(self.jobs) > 1 or attempt.replaces != self.jobs[0].attempt.id):
            raise ReplayError(
                f"{attempt.id} beside {', '.join(job.attempt.id for job in self.jobs)}, not to relieve it"
            )
        runs_at, taken_at = self._machine(attempt.provisioning, attempt.region, minute)
        expires_at = runs_at + attempt.timeout // MINUTE
        job = Job(
            attempt=attempt,
            runs_at=runs_at,
            lost_at=min(taken_at, expires_at),
            lost_as=Outcome.PREEMPTED if taken_at <= expires_at else Outcome.EXPIRED,
            due=runs_at,
        )
        self.jobs.append(job)
        return job

    def _machine(self, provisioning: Provisioning, region: str, minute: int) -> tuple[int, int]:
        """When it runs, and when it is taken away."""
        if provisioning is Provisioning.ON_DEMAND:
            return minute + self._draws.provisioning(provisioning, region, minute), NEVER
        if provisioning is not Provisioning.SPOT or region not in self._capacity:
            raise ReplayError(f"nothing is known of {provisioning} in {region!r}")
        ups = self._capacity[region]
        for index in range(max(bisect_right(ups, (minute, NEVER)) - 1, 0), len(ups)):
            got, lost = max(ups[index][0], minute), ups[index][1]
            if got < lost and (runs := got + self._draws.provisioning(provisioning, region, got)) < lost:
                return runs, lost
        return NEVER, NEVER

    def cancel(self, attempt: str, why: CancelReason, minute: int) -> None:
        """At once; one that trains saves first. Raises `ReplayError` for one that does not live."""
        job = next((job for job in self.jobs if job.attempt.id == attempt), None)
        if job is None:
            raise ReplayError(f"{attempt} is to be cancelled, and does not live")
        if job.phase is Phase.TRAINING:
            self._save(job, minute)
        never_ran = job.phase is Phase.WAITING
        outcome = Outcome.NO_CAPACITY if never_ran and why is CancelReason.NO_CAPACITY else Outcome.CANCELLED
        if why is CancelReason.HANDED_OVER:
            outcome = Outcome.HANDED_OVER
        cancel = Cancel(at=self._moment(minute), why=why)
        self._end(job, minute, JobState.CANCELLED, outcome, cancel)

    @property
    def due(self) -> int:
        """When something changes next."""
        return min((job.due for job in self.jobs), default=NEVER)

    def checkpoint_due(self, minute: int, *, only_first: bool) -> int:
        """When the next checkpoint after `minute` will be there, or the first of its attempt."""
        for job in self.jobs:
            if job.phase is Phase.TRAINING:
                saves = max(minute - job.trains_at, 0) // self._every
                return NEVER if saves and only_first else job.trains_at + (saves + 1) * self._every
        return NEVER

    def change(self) -> bool:
        """Let happen what is due next. Whether a supervisor can see it."""
        job = min(self.jobs, key=lambda job: job.due)
        minute = job.due
        match job.phase:
            case Phase.WAITING:
                job.phase = Phase.STARTING
                restore = self._draws.restore(job.attempt.provisioning, job.attempt.region, minute)
                job.trains_at, job.due = minute + restore, min(minute + restore, job.lost_at)
            case Phase.STARTING if job.lost_at <= minute:
                self._lose(job, minute)
            case Phase.STARTING if self.completed_at is not None:
                self._end(job, minute, JobState.SUCCEEDED, Outcome.SUCCEEDED)
            case Phase.STARTING:
                return self._take_over(job, minute)
            case Phase.TRAINING if job.base + minute - job.trains_at >= self.work:
                self.completed_at = minute
                self._save(job, minute)
                self._end(job, minute, JobState.SUCCEEDED, Outcome.SUCCEEDED)
            case _:
                self._lose(job, minute)
        return True

    def _take_over(self, job: Job, minute: int) -> bool:
        """Its restore is done: what another one holds is handed to it. Whether there was one."""
        holder = next((other for other in self.jobs if other is not job), None)
        if holder is not None:
            if holder.phase is Phase.TRAINING:
                self._save(holder, minute)
            self._end(holder, minute, JobState.FAILED, Outcome.HANDED_OVER)
        job.phase, job.base = Phase.TRAINING, self._saved
        job.due = min(minute + self.work - job.base, job.lost_at)
        return holder is not None

    def _lose(self, job: Job, minute: int) -> None:
        if job.phase is Phase.TRAINING and (saves := (minute - job.trains_at) // self._every):
            self._save(job, job.trains_at + saves * self._every)
        self._end(job, minute, JobState.FAILED, job.lost_as)

    def _save(self, job: Job, minute: int) -> None:
        step = job.base + minute - job.trains_at
        if step > self._saved:
            self._saved, self._saved_at, self._saved_by = step, minute, job.attempt.id
            job.saved_at = minute

    def _end(self, job: Job, minute: int, state: JobState, outcome: Outcome, cancel: Cancel | None = None) -> None:
        self.jobs.remove(job)
        job.phase, job.due = Phase.ENDED, NEVER
        ended_at = self._moment(minute)
        job.ended = self._attempt(job, state, job.saved_at, ended_at, outcome, cancel)

    def shown(self, jobs: list[Job], minute: int) -> tuple[tuple[Attempt, ...], Observation]:
        """These jobs, and what is in the bucket, as a supervisor sees it in this minute."""
        for job in self.jobs:
            if job.phase is Phase.TRAINING and (saves := (minute - job.trains_at) // self._every):
                self._save(job, job.trains_at + saves * self._every)
        attempts = tuple(job.ended or self._attempt(job, _STATES[job.phase], job.saved_at) for job in jobs)
        return attempts, self._observation()

    def _observation(self) -> Observation:
        progress = None
        if self._saved:
            progress = TrainingProgress(
                attempt=self._saved_by,
                step=self._saved,
                total_steps=self.work,
                trained=self._saved * MINUTE,
                steps_per_hour=60.0,
                at=self._moment(self._saved_at),
            )
        holder = self.jobs[0] if len(self.jobs) > 1 else None
        return Observation(
            progress=progress,
            writer=holder.attempt.id if holder and holder.phase is not Phase.WAITING else None,
            completed_at=None if self.completed_at is None else self._moment(self.completed_at),
        )

    def _attempt(
        self,
        job: Job,
        state: JobState,
        saved_at: int | None,
        ended_at: datetime | None = None,
        outcome: Outcome | None = None,
        cancel: Cancel | None = None,
    ) -> Attempt:
        submitted = job.attempt
        started_at = self._moment(job.runs_at) if state is not JobState.PENDING and job.trains_at < NEVER else None
        return Attempt(
            id=submitted.id,
            provisioning=submitted.provisioning,
            region=submitted.region,
            intended_at=submitted.intended_at,
            timeout=submitted.timeout,
            from_step=submitted.from_step,
            replaces=submitted.replaces,
            job=submitted.job,
            state=state,
            started_at=started_at,
            trainer_started_at=started_at,
            advanced_at=self._moment(job.trains_at) if saved_at is not None else None,
            saved_at=self._moment(saved_at) if saved_at is not None else None,
            ended_at=ended_at,
            last_step=self._saved if outcome else None,
            starts=1 if started_at and outcome else 0,
            cancel=cancel,
            outcome=outcome,
        )

    def _moment(self, minute: int) -> datetime:
        return self._submitted_at + minute * MINUTE


_STATES = {Phase.WAITING: JobState.PENDING, Phase.STARTING: JobState.RUNNING, Phase.TRAINING: JobState.RUNNING}
