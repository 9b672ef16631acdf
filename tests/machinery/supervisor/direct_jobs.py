"""Connect the supervisor's `JobClient` to the emulator without HTTP: thousands of calls a second."""

from __future__ import annotations

from spot.core.job import JobError, JobSnapshot
from spot.core.run import Attempt, Run
from spot.emulators.custom_job import EmulatedJob, InvalidJob
from spot.emulators.jobs import JobTable, UnknownJob, WrongState
from spot.google.job_spec import label_filter, labels
from spot.google.vertex import JobNotFound, RequestRejected, wire


class DirectJobs:
    def __init__(self, vertex: JobTable) -> None:
        self._vertex = vertex

    def create(self, run: Run, attempt: Attempt) -> JobSnapshot:
        try:
            return _sighting(self._vertex.create(run.spec.project, attempt.region, wire(run, attempt)))
        except InvalidJob as error:
            raise RequestRejected(str(error), JobError(code=400, message=str(error))) from error

    def get(self, run: Run, attempt: Attempt) -> JobSnapshot:  # noqa: ARG002  # a JobClient
        try:
            return _sighting(self._vertex.get(str(attempt.job)))
        except UnknownJob as error:
            raise JobNotFound(str(error)) from error

    def find(self, run: Run, attempt: Attempt) -> list[JobSnapshot]:
        found = self._vertex.list(run.spec.project, attempt.region, label_filter(labels(run, attempt))).jobs
        return [_sighting(job) for job in reversed(found)]

    def cancel(self, name: str) -> None:
        try:
            self._vertex.cancel(name)
        except (UnknownJob, WrongState):
            return


def _sighting(job: EmulatedJob) -> JobSnapshot:
    return JobSnapshot(
        name=job.name,
        state=job.state,
        created_at=job.created_at,
        started_at=job.started_at,
        ended_at=job.ended_at,
        error=job.error,
    )
