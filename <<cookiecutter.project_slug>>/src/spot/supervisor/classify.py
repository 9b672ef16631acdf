"""Classify how an attempt ended, from everything that is known about it.

Evidence of the run comes first: a complete model, a start, the trainer's own exit code. The text of Vertex AI comes
second, its code third. Vertex AI has no state for a preemption: it reports the text of a region without machines.
An unknown text is never the reason to end a run that made progress.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum

from spot.core.errors import Exit
from spot.core.history import Cancel, CancelReason
from spot.core.job import JobError, JobState
from spot.core.run import Outcome, Provisioning
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

    state: JobState
    provisioning: Provisioning
    timeout: timedelta
    error_lag: timedelta = timedelta(minutes=3)
    machines: int = 1
    error: JobError | None = None
    since_end: timedelta = timedelta()
    """Time since the job ended, or was first seen to have ended."""
    ran: timedelta | None = None
    """Time from the first RUNNING to the end; None without a RUNNING."""
    trainer_starts: int = 0
    exit_code: int | None = None
    """Exit code in the newest ended marker; None without one, as after SIGKILL."""
    advanced: bool = False
    """Whether the attempt committed a checkpoint."""
    completed: bool = False
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
            return _reclaimed(evidence) if evidence.exit_code in STOP_SIGNALS else Outcome.UNKNOWN


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
    """Return whether the attempt left because a standby replaced it."""
    if not evidence.replaced or (evidence.state is JobState.CANCELLED and evidence.cancel is None):
        return False
    status = exit_status(evidence.error.message) if evidence.error else None
    left = evidence.exit_code in {Exit.AGAIN, *STOP_SIGNALS} or status == Exit.AGAIN
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
    if evidence.exit_code:
        return _by_exit_status(evidence.exit_code, evidence)
    if not text and not code and evidence.since_end < evidence.error_lag:
        return _cancelled(evidence) if evidence.cancel else None  # after a cancel the reason does not matter
    status = exit_status(text)
    if status not in STOP_SIGNALS and ran_out_of_memory(text):
        return Outcome.OUT_OF_MEMORY
    if status is not None:
        return _by_exit_status(status, evidence)
    return _by_family(text, evidence) or _by_code(code, text, evidence)


def _reclaimed(evidence: AttemptEvidence) -> Outcome:
    """Return how an attempt ended whose machine went away; an on-demand machine is never preempted."""
    return Outcome.INTERNAL if evidence.provisioning is Provisioning.ON_DEMAND else Outcome.PREEMPTED


def _without_machine(evidence: AttemptEvidence) -> Outcome:
    """Return how an attempt ended that had no machine, or has none any more."""
    gone = evidence.started and evidence.provisioning is not Provisioning.ON_DEMAND
    return Outcome.PREEMPTED if gone else Outcome.NO_CAPACITY


def _by_exit_status(status: int, evidence: AttemptEvidence) -> Outcome:
    if status in STOP_SIGNALS:
        return _reclaimed(evidence)
    lost_peer = status == Exit.AGAIN and evidence.machines > 1  # the replicas that are left exit so
    if status in KILLED or lost_peer:  # the cause is unknown; such an end before any progress must not recur for ever
        preempted = evidence.provisioning is Provisioning.SPOT and evidence.advanced
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
    hidden = evidence.provisioning is not Provisioning.ON_DEMAND and not evidence.started
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
    killed = evidence.trainer_starts > 0 and evidence.exit_code is None and not text
    preempted = evidence.provisioning is Provisioning.SPOT and (evidence.advanced or killed)
    return Outcome.PREEMPTED if preempted else Outcome.UNKNOWN
