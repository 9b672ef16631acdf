"""Describe a Vertex AI job. No I/O and no clock."""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum


class JobState(IntEnum):
    """Number the states of a job as google.cloud.aiplatform.v1.JobState does."""

    UNSPECIFIED = 0
    QUEUED = 1
    PENDING = 2
    RUNNING = 3
    SUCCEEDED = 4
    FAILED = 5
    CANCELLING = 6
    CANCELLED = 7
    PAUSED = 8
    EXPIRED = 9
    UPDATING = 10
    PARTIALLY_SUCCEEDED = 11

    @property
    def ended(self) -> bool:
        return self in _ENDED


_ENDED = frozenset(
    {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED, JobState.PARTIALLY_SUCCEEDED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Hold the error of a job. `code` is a google.rpc.Code, or the HTTP status of a rejected create."""

    code: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSnapshot:
    """Hold a CustomJob as Vertex AI showed it."""

    name: str
    """projects/P/locations/REGION/customJobs/ID"""
    state: JobState
    created_at: datetime
    started_at: datetime | None
    """When the job first entered RUNNING."""
    ended_at: datetime | None
    error: JobError | None
