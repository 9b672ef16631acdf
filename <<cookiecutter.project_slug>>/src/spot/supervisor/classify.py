"""Classify how an attempt ended, from everything that is known about it.

Evidence of the run comes first: a complete model, a start, the trainer's own exit code. The text of Vertex AI comes
second, its code third. Vertex AI has no state for a preemption: it reports the text of a region without machines.
Messages: https://cloud.google.com/vertex-ai/docs/training/troubleshooting and .../use-spot-vms
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum

from spot.core.errors import Exit
from spot.core.job import JobError, JobState
from spot.core.run import Cancel, CancelReason, Outcome, Provisioning

ERROR_IS_LATE = timedelta(minutes=3)
"""The longest wait for the error of a failed job. Vertex AI sets it about a minute after the end."""
STOP_SIGNALS = frozenset({130, 143})
"""Exit codes of the trainer after SIGINT and SIGTERM."""
KILLED = 137
TIMEOUT_TOLERANCE = timedelta(minutes=2)

_STOCKOUT = re.compile(r"stockout|resources are insufficient in region", re.IGNORECASE)
_OUT_OF_MEMORY = re.compile(r"ran out of memory", re.IGNORECASE)
_EXIT = re.compile(r"exited with a non-zero status of (\d+)", re.IGNORECASE)
_QUOTA = re.compile(
    r"exceed quota limits|quotas? (?:is |are )?exceeded|exceeds? (?:the |your )?quota|CustomModelTraining",
    re.IGNORECASE,
)
_OF_TRAINING = re.compile(r"custom_?model_?training", re.IGNORECASE)
_INTERNAL = re.compile(r"internal error", re.IGNORECASE)
_REJECTED = re.compile(r"is not supported|invalid", re.IGNORECASE)


class Code(IntEnum):
    """Name the values of google.rpc.Code that the error of a job can carry."""

    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    INTERNAL = 13
    UNAVAILABLE = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEvidence:
    """Hold what is known about an attempt whose job exists."""

    state: JobState
    provisioning: Provisioning
    timeout: timedelta
    error: JobError | None = None
    since_end: timedelta = timedelta()
    """Time since the job ended, or was first seen to have ended."""
    ran: timedelta | None = None
    """Time from the first RUNNING to the end; None without a RUNNING."""
    trainer_starts: int = 0
    """Number of started markers."""
    exit_code: int | None = None
    """Exit code in the newest ended marker; None without one, as after SIGKILL."""
    advanced: bool = False
    """Whether the attempt committed a checkpoint."""
    completed: bool = False
    """Whether the completion record exists."""
    cancel: Cancel | None = None
    """The supervisor's own cancel, if any."""
    replaced: bool = False
    """Whether a standby that replaces this attempt holds the lease."""
    stands_by: bool = False
    """Whether this attempt is a standby without the lease."""

    @property
    def started(self) -> bool:
        """Whether the attempt ever had a machine."""
        return self.ran is not None or self.trainer_starts > 0 or self.advanced


def classify(evidence: AttemptEvidence) -> Outcome | None:
    """Return the outcome, or None while the job is active or its error may still come."""
    state = evidence.state
    if not state.ended:
        return None
    if _handed_over(evidence):
        return Outcome.HANDED_OVER
    if evidence.completed:
        return Outcome.CANCELLED if evidence.stands_by else Outcome.SUCCEEDED
    match state:
        case JobState.EXPIRED:
            return Outcome.EXPIRED
        case JobState.CANCELLED:
            return _cancelled(evidence)
        case JobState.FAILED:
            return _failed(evidence)
        case _:  # exit 0 without a model: a trainer that takes SIGTERM for success looks like this
            return Outcome.PREEMPTED if evidence.exit_code in STOP_SIGNALS else Outcome.UNKNOWN


def classify_refusal(error: JobError) -> Outcome:
    """Return the outcome of a create that was answered with a 4xx status."""
    if error.code != 429:
        return Outcome.REQUEST_REJECTED
    of_training = _QUOTA.search(error.message) and _OF_TRAINING.search(error.message)
    return Outcome.QUOTA if of_training else Outcome.NO_CAPACITY  # "too many requests" is as transient as a stockout


def _handed_over(evidence: AttemptEvidence) -> bool:
    """Return whether the attempt left because a standby replaced it."""
    if not evidence.replaced or (evidence.state is JobState.CANCELLED and evidence.cancel is None):
        return False
    status = _EXIT.search(evidence.error.message) if evidence.error else None
    left = evidence.exit_code in {Exit.AGAIN, *STOP_SIGNALS} or (status is not None and int(status[1]) == Exit.AGAIN)
    return left or (evidence.cancel is not None and evidence.cancel.why is CancelReason.HANDED_OVER)


def _cancelled(evidence: AttemptEvidence) -> Outcome:
    if evidence.cancel is not None:
        if evidence.cancel.why is CancelReason.HANDED_OVER:
            return Outcome.HANDED_OVER
        waited = evidence.cancel.why is CancelReason.NO_CAPACITY and not evidence.started
        return Outcome.NO_CAPACITY if waited else Outcome.CANCELLED
    if evidence.ran is not None and evidence.ran >= evidence.timeout - TIMEOUT_TOLERANCE:
        return Outcome.EXPIRED
    return Outcome.CANCELLED


def _failed(evidence: AttemptEvidence) -> Outcome | None:
    text = evidence.error.message if evidence.error else ""
    code = evidence.error.code if evidence.error else 0
    if evidence.exit_code in STOP_SIGNALS:
        return Outcome.PREEMPTED
    if evidence.exit_code:
        return Outcome.INTERNAL if evidence.exit_code == Exit.AGAIN else Outcome.TRAINING_FAILED
    if not text and not code and evidence.since_end < ERROR_IS_LATE:
        return _cancelled(evidence) if evidence.cancel else None  # after a cancel the reason does not matter
    return _by_text(text, evidence) or _by_code(code, evidence)


def _by_text(text: str, evidence: AttemptEvidence) -> Outcome | None:
    if _OUT_OF_MEMORY.search(text):
        return Outcome.OUT_OF_MEMORY
    if match := _EXIT.search(text):
        return _by_exit_status(int(match[1]), evidence)
    if _STOCKOUT.search(text):
        return Outcome.PREEMPTED if evidence.started else Outcome.NO_CAPACITY
    if _QUOTA.search(text):
        return Outcome.QUOTA
    if _INTERNAL.search(text):
        return Outcome.INTERNAL
    return Outcome.REQUEST_REJECTED if _REJECTED.search(text) else None


def _by_exit_status(status: int, evidence: AttemptEvidence) -> Outcome:
    if status in STOP_SIGNALS:
        return Outcome.PREEMPTED
    if status == KILLED:  # the sender is unknown; an attempt killed before any progress must not be retried for ever
        preempted = evidence.provisioning is Provisioning.SPOT and evidence.advanced
        return Outcome.PREEMPTED if preempted else Outcome.INTERNAL
    return Outcome.INTERNAL if status == Exit.AGAIN else Outcome.TRAINING_FAILED


def _by_code(code: int, evidence: AttemptEvidence) -> Outcome:
    match code:
        case Code.RESOURCE_EXHAUSTED:
            return Outcome.PREEMPTED if evidence.started else Outcome.NO_CAPACITY
        case Code.INTERNAL | Code.UNAVAILABLE:
            return Outcome.INTERNAL
        case Code.INVALID_ARGUMENT | Code.NOT_FOUND | Code.PERMISSION_DENIED | Code.FAILED_PRECONDITION:
            return Outcome.REQUEST_REJECTED
        case Code.DEADLINE_EXCEEDED:
            return Outcome.EXPIRED
        case Code.CANCELLED:
            return Outcome.CANCELLED
    # Without text and code, a spot trainer that was killed before its ended marker was most likely preempted.
    killed = evidence.trainer_starts > 0 and evidence.exit_code is None
    return Outcome.PREEMPTED if killed and evidence.provisioning is Provisioning.SPOT else Outcome.UNKNOWN
