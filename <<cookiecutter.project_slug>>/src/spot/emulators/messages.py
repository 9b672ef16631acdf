"""What Vertex AI says of a job that did not go well, and the google.rpc.Code it gives with it.

The texts are Google's, from its documentation; the codes of all but stockout and quota are not documented.
"""

from __future__ import annotations

from datetime import timedelta

from spot.core.job import JobError
from spot.core.run import Provisioning

CANCELLED = 1
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
RESOURCE_EXHAUSTED = 8
INTERNAL = 13

RATE_LIMIT = (
    "Quota exceeded for quota metric 'Resource management (CRUD) requests' and limit"
    " 'Resource management (CRUD) requests per minute per region' of service 'aiplatform.googleapis.com'."
)


def stockout(region: str) -> JobError:
    """The same text for a preemption and for capacity that never was."""
    return JobError(
        code=RESOURCE_EXHAUSTED,
        message=f"Resources are insufficient in region: {region}."
        " Try a different region or use a different accelerator.",
    )


def quota(what: str, provisioning: Provisioning) -> JobError:
    """`what` as in a metric's name: nvidia_l4_gpus, cpus. FLEX_START uses the preemptible quota."""
    kind = "" if provisioning is Provisioning.ON_DEMAND else "preemptible_"
    metric = f"aiplatform.googleapis.com/custom_model_training_{kind}{what}"
    return JobError(code=RESOURCE_EXHAUSTED, message=f"The following quota metrics exceed quota limits: {metric}")


def unsupported(machine_type: str) -> JobError:
    return JobError(code=INVALID_ARGUMENT, message=f'Machine type "{machine_type}" is not supported.')


def exited(status: int) -> JobError:
    return JobError(
        code=INVALID_ARGUMENT,
        message=f"The replica workerpool0-0 exited with a non-zero status of {status}. Termination reason: Error.",
    )


def out_of_memory() -> JobError:
    return JobError(
        code=INVALID_ARGUMENT,
        message="The replica workerpool0-0 ran out of memory and exited with a non-zero status of 137.",
    )


def internal() -> JobError:
    return JobError(code=INTERNAL, message="Internal error occurred for the current attempt.")


def cancelled() -> JobError:
    return JobError(code=CANCELLED, message="CANCELED")


def timed_out(timeout: timedelta) -> JobError:
    return JobError(
        code=DEADLINE_EXCEEDED, message=f"The job ran for longer than its timeout of {timeout.total_seconds():.0f}s."
    )
