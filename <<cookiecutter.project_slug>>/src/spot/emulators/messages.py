"""Build the errors that Vertex AI reports for a job, with their google.rpc.Code.

The texts are from Google's documentation, which states the code of a stockout only.
"""

from datetime import timedelta

from spot.core.job import JobError
from spot.supervisor.classify import Code


def stockout(region: str) -> JobError:
    """Return the error for missing capacity; a preemption has the same text."""
    return JobError(
        code=Code.RESOURCE_EXHAUSTED,
        message=f"Resources are insufficient in region: {region}."
        " Try a different region or use a different accelerator.",
    )


def exited(status: int) -> JobError:
    return JobError(
        code=Code.INVALID_ARGUMENT,
        message=f"The replica workerpool0-0 exited with a non-zero status of {status}. Termination reason: Error.",
    )


def internal(detail: object) -> JobError:
    return JobError(code=Code.INTERNAL, message=f"Internal error occurred for the current attempt. {detail}")


def cancelled() -> JobError:
    return JobError(code=Code.CANCELLED, message="CANCELED")


def timed_out(timeout: timedelta) -> JobError:
    message = f"The job ran for longer than its timeout of {timeout.total_seconds():.0f}s."
    return JobError(code=Code.DEADLINE_EXCEEDED, message=message)
