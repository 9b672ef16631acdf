"""How an attempt ended, from all that is known of it.

Evidence first (is the model complete, did it start, what did the trainer itself write), Vertex AI's text second, its
code third: Vertex AI reports a preemption with the very text of a region that has no machines, and has no state for it.
Source of the messages: https://cloud.google.com/vertex-ai/docs/training/troubleshooting and .../use-spot-vms
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum

from spot.core.job import JobError, JobState
from spot.core.run import Cancel, CancelReason, Outcome, Provisioning

ERROR_IS_LATE = timedelta(minutes=3)
"""How long an error that is still empty is waited for. It is set about a minute after the job has ended."""
TOLD_TO_STOP = frozenset({130, 143})
"""The trainer's exit codes after SIGINT and SIGTERM."""
KILLED = 137
AGAIN = 75
"""The trainer's own word that the training is not at fault."""
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
_INVALID = re.compile(r"is not supported|invalid", re.IGNORECASE)


class Code(IntEnum):
    """google.rpc.Code, those that a job's error can carry."""

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
class Evidence:
    """What is known of an attempt whose job exists."""

    state: JobState
    provisioning: Provisioning
    timeout: timedelta
    error: JobError | None = None
    since_end: timedelta = timedelta()
    """How long ago the job ended, or was first seen to have."""
    ran: timedelta | None = None
    """From its first RUNNING to its end; None if it never ran."""
    trainer_starts: int = 0
    """Started markers."""
    exit_code: int | None = None
    """What the trainer's newest start said at its end; None if it said nothing, as after SIGKILL."""
    advanced: bool = False
    """Whether it wrote a checkpoint."""
    completed: bool = False
    """Whether the completion manifest exists."""
    cancel: Cancel | None = None
    """Our own cancel, if there was one."""
    relieved: bool = False
    """Whether another attempt holds the lease in its place."""
    stands_by: bool = False
    """Whether it is a twin that has not taken over."""

    @property
    def started(self) -> bool:
        return self.ran is not None or self.trainer_starts > 0 or self.advanced


def classify(evidence: Evidence) -> Outcome | None:
    """The outcome; None while the job has not ended, or its error may still come."""
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
            return Outcome.PREEMPTED if evidence.exit_code in TOLD_TO_STOP else Outcome.UNKNOWN


def _handed_over(evidence: Evidence) -> bool:
    """It left because it was relieved, or was made to."""
    if not evidence.relieved or (evidence.state is JobState.CANCELLED and evidence.cancel is None):
        return False
    said = _EXIT.search(evidence.error.message) if evidence.error else None
    left = evidence.exit_code in {AGAIN, *TOLD_TO_STOP} or (said is not None and int(said[1]) == AGAIN)
    return left or (evidence.cancel is not None and evidence.cancel.why is CancelReason.HANDED_OVER)


def classify_refusal(error: JobError) -> Outcome:
    """The same for a create that was answered with an HTTP error of the 4xx kind."""
    if error.code != 429:
        return Outcome.REQUEST_REJECTED
    of_training = _QUOTA.search(error.message) and _OF_TRAINING.search(error.message)
    return Outcome.QUOTA if of_training else Outcome.NO_CAPACITY  # also: too many requests, which pass like it


def _cancelled(evidence: Evidence) -> Outcome:
    if evidence.cancel is not None:
        if evidence.cancel.why is CancelReason.HANDED_OVER:
            return Outcome.HANDED_OVER
        waited = evidence.cancel.why is CancelReason.NO_CAPACITY and not evidence.started
        return Outcome.NO_CAPACITY if waited else Outcome.CANCELLED
    if evidence.ran is not None and evidence.ran >= evidence.timeout - TIMEOUT_TOLERANCE:
        return Outcome.EXPIRED
    return Outcome.CANCELLED


def _failed(evidence: Evidence) -> Outcome | None:
    text = evidence.error.message if evidence.error else ""
    code = evidence.error.code if evidence.error else 0
    if evidence.exit_code in TOLD_TO_STOP:
        return Outcome.PREEMPTED
    if evidence.exit_code:
        return Outcome.INTERNAL if evidence.exit_code == AGAIN else Outcome.TRAINING_FAILED
    if not text and not code and evidence.since_end < ERROR_IS_LATE:
        return _cancelled(evidence) if evidence.cancel else None  # why it failed does not matter any more
    return _by_text(text, evidence) or _by_code(code, evidence)


def _by_text(text: str, evidence: Evidence) -> Outcome | None:
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
    if _INVALID.search(text):
        return Outcome.REQUEST_REJECTED
    return None


def _by_exit_status(status: int, evidence: Evidence) -> Outcome:
    if status in TOLD_TO_STOP:
        return Outcome.PREEMPTED
    if status == KILLED:  # by whom is not said; one that dies before it gets anywhere must not be tried for ever
        taken = evidence.provisioning is Provisioning.SPOT and evidence.advanced
        return Outcome.PREEMPTED if taken else Outcome.INTERNAL
    return Outcome.INTERNAL if status == AGAIN else Outcome.TRAINING_FAILED


def _by_code(code: int, evidence: Evidence) -> Outcome:
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
    # Nothing was said. A trainer that was killed on a spot machine without a word was preempted, most likely.
    killed = evidence.trainer_starts > 0 and evidence.exit_code is None
    return Outcome.PREEMPTED if killed and evidence.provisioning is Provisioning.SPOT else Outcome.UNKNOWN
