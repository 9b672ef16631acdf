"""Classify how an attempt ended, from everything that is known about it.

Evidence of the run comes first: a complete model, a start, the trainer's own exit code. The text of Vertex AI comes
second, its code third. Vertex AI has no state for a preemption: it reports the text of a region without machines.
An unknown text is never the reason to end a run that made progress.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from spot.core.errors import Exit
from spot.core.history import CancelReason
from spot.core.job import JobError, JobState
from spot.core.run import Attempt, Outcome, Provisioning
from spot.storage.records.markers import AttemptStarts
from spot.supervisor.error_texts import Family, exit_status, ran_out_of_memory

STOP_SIGNALS = frozenset({130, 143})
"""Exit codes of the trainer after SIGINT and SIGTERM."""
KILLED = frozenset({9, 137})
CRASHED = frozenset({6, 134, 139})
"""Exit statuses of an abort and a segmentation fault: Vertex AI documents them as transient."""
TIMEOUT_TOLERANCE = timedelta(minutes=2)
TOO_MANY_REQUESTS = 429


class Code(IntEnum):
    """Name the values of google.rpc.Code that the error of a job can carry."""

    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    INTERNAL = 13
    UNAVAILABLE = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEvidence:
    """Hold what is known about an attempt whose job exists."""

    attempt: Attempt
    starts: AttemptStarts
    now: datetime
    error_lag: timedelta
    machines: int
    completed: bool = False
    replaced: bool = False
    """Whether a standby that replaces this attempt holds the lease."""
    stands_by: bool = False
    """Whether this attempt is a standby without the lease."""

    @property
    def started(self) -> bool:
        """Whether the attempt ever had a machine."""
        return self.attempt.started_at is not None or self.starts.count > 0 or self.advanced

    @property
    def advanced(self) -> bool:
        """Whether the attempt committed a checkpoint."""
        return self.attempt.advanced_at is not None


def classify(evidence: AttemptEvidence) -> Outcome | None:
    """Return the outcome, or None while the job is active or its error may still come."""
    state = evidence.attempt.state
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
            return _reclaimed(evidence) if evidence.starts.exit_code in STOP_SIGNALS else Outcome.UNKNOWN


def classify_refusal(error: JobError) -> Outcome:
    """Return the outcome of a create that was answered with a 4xx status."""
    match Family.of(error.message):
        case Family.TRANSIENT | Family.STOCKOUT:
            return Outcome.NO_CAPACITY
        case Family.QUOTA if error.code == TOO_MANY_REQUESTS:
            return Outcome.QUOTA
        case Family.PERMISSION if error.code != TOO_MANY_REQUESTS:
            return Outcome.PERMISSION
    # "Too many requests" is as transient as a stockout.
    return Outcome.NO_CAPACITY if error.code == TOO_MANY_REQUESTS else Outcome.REQUEST_REJECTED


def _handed_over(evidence: AttemptEvidence) -> bool:
    if not evidence.replaced or (evidence.attempt.state is JobState.CANCELLED and evidence.attempt.cancel is None):
        return False
    status = exit_status(evidence.attempt.error.message) if evidence.attempt.error else None
    left = evidence.starts.exit_code in {Exit.AGAIN, *STOP_SIGNALS} or status == Exit.AGAIN
    return left or (evidence.attempt.cancel is not None and evidence.attempt.cancel.why is CancelReason.HANDED_OVER)


def _cancelled(evidence: AttemptEvidence) -> Outcome:
    if evidence.attempt.cancel is not None:
        if evidence.attempt.cancel.why is CancelReason.HANDED_OVER:
            return Outcome.HANDED_OVER
        waited = evidence.attempt.cancel.why is CancelReason.NO_CAPACITY and not evidence.started
        return Outcome.NO_CAPACITY if waited else Outcome.CANCELLED
    began, end = evidence.attempt.started_at, evidence.attempt.ended_at or evidence.now
    if began and end - began >= evidence.attempt.timeout - TIMEOUT_TOLERANCE:
        return Outcome.EXPIRED
    return Outcome.CANCELLED


def _failed(evidence: AttemptEvidence) -> Outcome | None:
    text = evidence.attempt.error.message if evidence.attempt.error else ""
    code = evidence.attempt.error.code if evidence.attempt.error else 0
    if evidence.starts.exit_code:
        return _by_exit_status(evidence.starts.exit_code, evidence)
    since_end = evidence.now - (evidence.attempt.ended_at or evidence.now)
    if not text and not code and since_end < evidence.error_lag:
        return _cancelled(evidence) if evidence.attempt.cancel else None  # after a cancel the reason does not matter
    status = exit_status(text)
    if status not in STOP_SIGNALS and ran_out_of_memory(text):
        return Outcome.OUT_OF_MEMORY
    if status is not None:
        return _by_exit_status(status, evidence)
    return _by_family(text, evidence) or _by_code(code, text, evidence)


def _reclaimed(evidence: AttemptEvidence) -> Outcome:
    """Return how an attempt ended whose machine went away; an on-demand machine is never preempted."""
    return Outcome.INTERNAL if evidence.attempt.provisioning is Provisioning.ON_DEMAND else Outcome.PREEMPTED


def _without_machine(evidence: AttemptEvidence) -> Outcome:
    """Return how an attempt ended that had no machine, or has none any more."""
    gone = evidence.started and evidence.attempt.provisioning is not Provisioning.ON_DEMAND
    return Outcome.PREEMPTED if gone else Outcome.NO_CAPACITY


def _by_exit_status(status: int, evidence: AttemptEvidence) -> Outcome:
    if status in STOP_SIGNALS:
        return _reclaimed(evidence)
    lost_peer = status == Exit.AGAIN and evidence.machines > 1  # the replicas that are left exit so
    if status in KILLED or lost_peer:  # the cause is unknown; such an end before any progress must not recur for ever
        preempted = evidence.attempt.provisioning is Provisioning.SPOT and evidence.advanced
        return Outcome.PREEMPTED if preempted else Outcome.INTERNAL
    return Outcome.INTERNAL if status == Exit.AGAIN or status in CRASHED else Outcome.TRAINING_FAILED


def _by_family(text: str, evidence: AttemptEvidence) -> Outcome | None:
    """Return the outcome of a text without an exit status, None if it is not known or contradicts the evidence."""
    match Family.of(text):
        case Family.PERMISSION:
            return Outcome.PERMISSION
        case Family.QUOTA:
            return Outcome.QUOTA
        case Family.STOCKOUT:
            return _without_machine(evidence)
        case Family.PREEMPTED:
            return _reclaimed(evidence) if evidence.started else Outcome.NO_CAPACITY
        case Family.TRANSIENT:
            return Outcome.INTERNAL if evidence.started else Outcome.NO_CAPACITY
        case Family.CLUSTER:
            return Outcome.INTERNAL
        case Family.INTERNAL:
            return _internal(evidence)
        case Family.REJECTED if not evidence.started:
            return Outcome.REQUEST_REJECTED
    return None


def _internal(evidence: AttemptEvidence) -> Outcome:
    """Return how an attempt ended by an internal error, which hides a stockout before spot has a machine."""
    hidden = evidence.attempt.provisioning is not Provisioning.ON_DEMAND and not evidence.started
    return Outcome.NO_CAPACITY if hidden else Outcome.INTERNAL


def _by_code(code: int, text: str, evidence: AttemptEvidence) -> Outcome:
    match code:
        case Code.RESOURCE_EXHAUSTED:
            return _without_machine(evidence)
        case Code.INTERNAL | Code.UNAVAILABLE:
            return _internal(evidence)
        case Code.PERMISSION_DENIED if not evidence.started:
            return Outcome.PERMISSION
        case Code.INVALID_ARGUMENT | Code.NOT_FOUND if not evidence.started:
            return Outcome.REQUEST_REJECTED
        case Code.DEADLINE_EXCEEDED:
            return Outcome.EXPIRED
        case Code.CANCELLED if not text or "cancel" in text.lower():
            return _cancelled(evidence)
    # A spot trainer that made progress, or was killed before its ended marker, was most likely preempted.
    killed = evidence.starts.count > 0 and evidence.starts.exit_code is None and not text
    preempted = evidence.attempt.provisioning is Provisioning.SPOT and (evidence.advanced or killed)
    return Outcome.PREEMPTED if preempted else Outcome.UNKNOWN
