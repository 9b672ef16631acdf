"""Build the errors that Vertex AI reports for a job, with their google.rpc.Code.

The texts are from Google's documentation, which states the code of a stockout only.
"""

from datetime import timedelta

from spot.core.job import JobError

CANCELLED = 1
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
RESOURCE_EXHAUSTED = 8
INTERNAL = 13


def stockout(region: str) -> JobError:
    """Return the error for missing capacity; a preemption has the same text."""
    return JobError(
        code=RESOURCE_EXHAUSTED,
        message=f"Resources are insufficient in region: {region}."
        " Try a different region or use a different accelerator.",
    )


def exited(status: int) -> JobError:
    return JobError(
        code=INVALID_ARGUMENT,
        message=f"The replica workerpool0-0 exited with a non-zero status of {status}. Termination reason: Error.",
    )


def internal(detail: object) -> JobError:
    return JobError(code=INTERNAL, message=f"Internal error occurred for the current attempt. {detail}")


def cancelled() -> JobError:
    return JobError(code=CANCELLED, message="CANCELED")


def timed_out(timeout: timedelta) -> JobError:
    return JobError(
        code=DEADLINE_EXCEEDED, message=f"The job ran for longer than its timeout of {timeout.total_seconds():.0f}s."
    )
