"""Inject faults of Vertex AI that the rehearsal does not need: refusals, resets and slow replies."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from spot.core.job import JobError
from spot.core.run import Provisioning
from spot.emulators.custom_job import JobRequest
from spot.emulators.faults import Call, Injection, Method, Reply, Rule
from spot.emulators.vertex_server import error_reply
from spot.supervisor.classify import Code
from tests.machinery.each import each

RATE_LIMIT = (
    "Quota exceeded for quota metric 'Resource management (CRUD) requests' and limit"
    " 'Resource management (CRUD) requests per minute per region' of service 'aiplatform.googleapis.com'."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer with this status and do not execute the call."""

    status: int
    message: str = "injected"

    def __call__(self, execute: Callable[[], Reply]) -> Reply:  # noqa: ARG002  # an Injection
        return error_reply(self.status, self.message)


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the connection and do not execute the call."""

    def __call__(self, execute: Callable[[], Reply]) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Slow:
    """Execute the call, and answer so many real seconds later."""

    seconds: float

    def __call__(self, execute: Callable[[], Reply]) -> Reply:
        reply = execute()
        threading.Event().wait(self.seconds)
        return reply


def on(method: Method) -> Callable[[Call], bool]:
    """Return a condition that selects the calls of one method."""
    return lambda call: call.method is method


def first(*rules: Rule) -> Rule:
    """Return a rule that injects the fault of the first rule that has one."""

    def rule(call: Call) -> Injection | None:
        return next((fault for rule in rules if (fault := rule(call)) is not None), None)

    return rule


def quota(resource: str, provisioning: Provisioning) -> JobError:
    """Return the error for an exceeded quota; `resource` as in a metric's name: nvidia_l4_gpus, cpus."""
    kind = "" if provisioning is Provisioning.ON_DEMAND else "preemptible_"
    metric = f"aiplatform.googleapis.com/custom_model_training_{kind}{resource}"
    return JobError(code=Code.RESOURCE_EXHAUSTED, message=f"The following quota metrics exceed quota limits: {metric}")


def unsupported(machine_type: str) -> JobError:
    return JobError(code=Code.INVALID_ARGUMENT, message=f'Machine type "{machine_type}" is not supported.')


def no_quota(region: str, provisioning: Provisioning, resource: str) -> Rule:
    """Refuse the creation of jobs of one provisioning in a region."""
    return _refused(
        429, quota(resource, provisioning).message, region, lambda request: request.provisioning is provisioning
    )


def no_machine(region: str, machine_type: str) -> Rule:
    """Refuse the creation of jobs with a machine type that the region does not have."""
    return _refused(
        400,
        unsupported(machine_type).message,
        region,
        lambda request: request.spec["workerPoolSpecs"][0]["machineSpec"]["machineType"] == machine_type,
    )


def rate_limit(count: int) -> Rule:
    """Refuse the next `count` calls."""
    return each(Answer(429, RATE_LIMIT), count=count)


def _refused(status: int, message: str, region: str, matches: Callable[[JobRequest], bool]) -> Rule:
    return each(
        Answer(status, message),
        where=lambda call: call.region == region and call.request is not None and matches(call.request),
    )
