"""Simulate the cloud of a world minute by minute: the jobs of one run, their ends and their cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import cycle

from spot.core.errors import TemporarilyUnavailable
from spot.core.history import TrainingProgress
from spot.core.job import JobError, JobSnapshot, JobState
from spot.core.run import Attempt, Observation, Provisioning, Run
from spot.google.vertex import RequestRejected
from spot.storage.records.markers import AttemptStarts
from tests.machinery.samples import T0, no_quota, stockout
from tests.machinery.supervisor.worlds import MINUTE, NEVER, Failure, Fault, Quota, StandbyBehaviour, World


@dataclass(slots=True, kw_only=True)
class Job:
    name: str
    attempt: Attempt
    created: int
    waits: int
    restore: int
    patience: int
    failure: Failure
    standby: StandbyBehaviour
    state: JobState = JobState.QUEUED
    started: int | None = None
    ended: int | None = None
    ends_in: int | None = None
    """Minutes to the end, once the job was cancelled or its model is complete."""
    ran: int = 0
    """Minutes that are billed."""
    unsaved: int = 0
    to_checkpoint: int = 0
    starts: int = 0
    exit_code: int | None = None
    error: JobError | None = None
    error_from: int = 0


class Cloud:
    """Provide the jobs of one run as a `JobClient`, and what its trainer writes as a `TrainingStatus`.

    A step of training takes a minute, so that the rate is exactly the stated one.
    """

    def __init__(self, world: World, work: int) -> None:
        self.world, self.work = world, work
        self.minute = 0
        self.jobs: dict[str, Job] = {}
        self.saved = self.saved_at = 0
        self.saved_by = self.writer = ""
        self.completed: int | None = None
        self.usd = 0.0
        self._starts = {True: cycle(world.on_demand_starts), False: cycle(world.spot_starts)}
        self._checkpoints, self._error_delays = cycle(world.checkpoints), cycle(world.error_delays)
        self._cancels, self._patience, self._lingers = cycle(world.cancels), cycle(world.patience), cycle(world.lingers)
        self._saves, self._restarts = cycle(world.saves), cycle(world.restarts)
        self._interval = max(world.checkpoints) * MINUTE
        self._standbys = cycle(world.standbys)
        self._faults, self._failures = iter(world.faults), iter(world.failures)

    @property
    def now(self) -> datetime:
        """Return the time of the supervisor's clock."""
        wrong = self.world.behind[self.minute % len(self.world.behind)] if self.minute < self.world.calm else 0
        return T0 + (self.minute - wrong) * MINUTE

    @property
    def open_jobs(self) -> list[Job]:
        return [job for job in self.jobs.values() if not job.state.ended]

    def create(self, run: Run, attempt: Attempt) -> JobSnapshot:
        fault = next(self._faults, Fault.NONE)
        if fault is Fault.LOST:
            raise TemporarilyUnavailable("no answer")
        if fault is Fault.RATE_LIMIT:
            raise RequestRejected("429", JobError(code=429, message="Quota exceeded for quota metric 'CRUD requests'"))
        region, on_demand = self.world.regions[attempt.region], attempt.provisioning is Provisioning.ON_DEMAND
        quota = region.on_demand_quota if on_demand else region.spot_quota
        if quota is Quota.REFUSED:
            raise RequestRejected("429", no_quota(attempt.provisioning))
        waits, restore = next(self._starts[on_demand])
        if attempt.provisioning is Provisioning.FLEX_START:  # once it runs it is as sure as on-demand
            restore = next(self._starts[True])[1]
        if self.minute >= self.world.calm and not on_demand:
            waits = min(waits, run.spec.policy.provisioning_timeout // MINUTE)
        job = Job(
            name=f"projects/1/locations/{attempt.region}/customJobs/{len(self.jobs) + 1}",
            attempt=attempt,
            created=self.minute,
            waits={Quota.LATE: NEVER, Quota.SILENT: NEVER}.get(quota, waits),
            restore=restore,
            patience=1 if quota is Quota.LATE else next(self._patience),
            failure=next(self._failures, Failure.NONE) if quota is Quota.GRANTED else Failure.NONE,
            standby=self._behaviour_of(attempt),
        )
        self.jobs[job.name] = job
        if fault is Fault.UNANSWERED:
            raise TemporarilyUnavailable("no answer")
        return self._shown(job)

    def get(self, run: Run, attempt: Attempt) -> JobSnapshot:  # noqa: ARG002  # there is one run
        return self._shown(self.jobs[str(attempt.job)])

    def find(self, run: Run, attempt: Attempt) -> list[JobSnapshot]:  # noqa: ARG002  # there is one run
        return [self._shown(job) for job in self.jobs.values() if job.attempt.id == attempt.id]

    def cancel(self, name: str) -> None:
        job = self.jobs[name]
        if not job.state.ended and job.state is not JobState.CANCELLING:
            job.state, job.ends_in = JobState.CANCELLING, next(self._cancels)

    def observe(self, run: Run) -> Observation:  # noqa: ARG002
        progress = TrainingProgress(
            attempt=self.saved_by,
            step=self.saved,
            total_steps=self.work,
            trained=self.saved * MINUTE,
            steps_per_hour=60,
            at=T0 + self.saved_at * MINUTE,
            checkpoint_interval=self._interval,
        )
        completed_at = None if self.completed is None else T0 + self.completed * MINUTE
        return Observation(
            progress=progress if self.saved_by else None, completed_at=completed_at, writer=self.writer or None
        )

    def starts(self, run: Run, attempt: Attempt) -> AttemptStarts:  # noqa: ARG002
        job = next(job for job in self.jobs.values() if job.attempt.id == attempt.id)
        return AttemptStarts(count=job.starts, exit_code=job.exit_code)

    def advance(self, minute: int, run: Run) -> None:
        """Advance the time to `minute`."""
        while self.minute < minute:
            begun, self.minute = self.minute, self.minute + 1
            for job in self.open_jobs:
                self._advance_job(job, begun, run)

    def _shown(self, job: Job) -> JobSnapshot:
        known = job.error and self.minute >= job.error_from
        return JobSnapshot(
            name=job.name,
            state=job.state,
            created_at=T0 + job.created * MINUTE,
            started_at=None if job.started is None else T0 + job.started * MINUTE,
            ended_at=None if job.ended is None else T0 + job.ended * MINUTE,
            error=job.error if known else None,
        )

    def _advance_job(self, job: Job, begun: int, run: Run) -> None:
        """Advance a job by one minute, from `begun` on."""
        holds = job.started is not None and job.waits == 0
        if holds and not self._taken(job, begun):
            self._run(job, run)
        elif job.state in {JobState.QUEUED, JobState.PENDING}:
            self._wait(job, begun, run)
        if job.ends_in is not None and not job.state.ended:
            job.ends_in -= 1
            if job.ends_in <= 0:
                complete = self.completed is not None and job.exit_code == 0
                self._end(job, JobState.SUCCEEDED if complete else JobState.CANCELLED)

    def _taken(self, job: Job, begun: int) -> bool:
        """Return whether a running job loses its machine, and end or restart it if so."""
        region = self.world.regions[job.attempt.region]
        if job.attempt.provisioning is not Provisioning.SPOT or region.has_spot(begun) or job.exit_code == 0:
            return False
        saves = next(self._saves)
        if saves and job.unsaved:
            self._save(job, job.unsaved, begun)
        job.unsaved, job.exit_code = 0, 143 if saves else None
        if job.state is JobState.RUNNING and next(self._restarts):
            job.state = JobState.PENDING
            job.waits, job.restore = next(self._starts[False])
        else:
            self._fail(job, stockout(job.attempt.region))
        return True

    def _wait(self, job: Job, begun: int, run: Run) -> None:
        spot = job.attempt.provisioning is Provisioning.SPOT
        longest = run.spec.policy.provisioning_timeout // MINUTE
        if job.attempt.provisioning is Provisioning.FLEX_START and self.minute - job.created > longest:
            self._end(job, JobState.EXPIRED)
            return
        if job.waits == NEVER or (spot and not self.world.regions[job.attempt.region].has_spot(begun)):
            job.patience -= 1
            if job.patience <= 0:
                late = job.waits == NEVER
                self._fail(job, no_quota(job.attempt.provisioning, code=8) if late else stockout(job.attempt.region))
            return
        job.state = JobState.PENDING
        job.waits = max(job.waits - 1, 0)
        if job.waits == 0:
            self._begin(job)

    def _begin(self, job: Job) -> None:
        if job.failure is Failure.STOCKOUT:
            self._fail(job, stockout(job.attempt.region))
            return
        job.state, job.started = JobState.RUNNING, self.minute if job.started is None else job.started
        job.starts, job.exit_code = job.starts + 1, None
        job.to_checkpoint = next(self._checkpoints)
        if job.failure is Failure.INTERNAL:
            self._fail(job, JobError(code=13, message="Internal error occurred for the current attempt."))
        if job.failure is Failure.USER:
            self._fail(job, JobError(code=3, message="The replica workerpool0-0 exited with a non-zero status of 1."))

    def _run(self, job: Job, run: Run) -> None:
        job.ran += 1
        self.usd += run.spec.policy.usd_per_hour[job.attempt.region][job.attempt.provisioning] / 60
        if job.restore > 0:
            job.restore -= 1
        elif job.exit_code is None:
            self._train(job)
        if (job.ran + 1) * MINUTE > job.attempt.timeout and not job.state.ended:
            self._fail(job, JobError(code=4, message="The job ran for longer than its timeout."))

    def _replaces_holder(self, standby: Job) -> bool:
        """Return whether the standby holds the lease. Take it from the holder, which saves and ends, if not."""
        if self.writer == standby.attempt.id:
            return True
        if self.completed is not None:
            return False
        holder = next((job for job in self.open_jobs if job.attempt.id == standby.attempt.replaces), None)
        if holder and holder.started is not None and holder.waits == 0:
            if holder.unsaved:
                self._save(holder, holder.unsaved, self.minute)
            holder.exit_code = 75
            self._fail(
                holder, JobError(code=3, message="The replica workerpool0-0 exited with a non-zero status of 75.")
            )
        self.writer = standby.attempt.id
        return False

    def _behaviour_of(self, attempt: Attempt) -> StandbyBehaviour:
        standby = next(self._standbys) if attempt.replaces else StandbyBehaviour.REPLACES
        may_stall = attempt.provisioning is Provisioning.SPOT  # nothing else is ever left once it trains
        return standby if may_stall or standby is not StandbyBehaviour.STALLS else StandbyBehaviour.REPLACES

    def _is_fenced(self, job: Job) -> bool:
        """Whether a later attempt that replaces nothing has claimed the lease."""
        jobs = list(self.jobs.values())
        return any(later.started is not None and not later.attempt.replaces for later in jobs[jobs.index(job) + 1 :])

    def _train(self, job: Job) -> None:
        if self._is_fenced(job):
            job.exit_code = 75
            self._fail(job, JobError(code=3, message="The replica workerpool0-0 exited with a non-zero status of 75."))
            return
        if (
            job.standby is StandbyBehaviour.WAITS
            or (job.attempt.replaces and not self._replaces_holder(job))
            or job.standby is StandbyBehaviour.STALLS
        ):
            return
        job.unsaved, job.to_checkpoint = job.unsaved + 1, job.to_checkpoint - 1
        if self.saved + job.unsaved >= self.work:
            self._complete(job)
        elif job.to_checkpoint <= 0:
            self._save(job, job.unsaved, self.minute)
            job.to_checkpoint = next(self._checkpoints)

    def _save(self, job: Job, minutes: int, at: int) -> None:
        self.saved, self.saved_at, self.saved_by = self.saved + minutes, at, job.attempt.id
        job.unsaved = 0

    def _complete(self, job: Job) -> None:
        self._save(job, job.unsaved, self.minute)
        self.completed, job.exit_code = self.minute, 0
        lingers = next(self._lingers)
        if job.ends_in is None:
            job.ends_in = lingers + 1

    def _fail(self, job: Job, error: JobError) -> None:
        self._end(job, JobState.FAILED)
        job.error, job.error_from = error, self.minute + next(self._error_delays)

    def _end(self, job: Job, state: JobState) -> None:
        job.state, job.ended = state, self.minute
