"""Parse the request that creates a CustomJob of Vertex AI, and render the job for a response."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from spot.core.job import JobError, JobState
from spot.core.run import Provisioning

DEFAULT_TIMEOUT, DEFAULT_MAX_WAIT = "604800s", "86400s"
_STRATEGIES = {
    **dict.fromkeys([0, "STRATEGY_UNSPECIFIED", 1, "ON_DEMAND", 3, "STANDARD"], Provisioning.ON_DEMAND),
    **dict.fromkeys([4, "SPOT"], Provisioning.SPOT),
    **dict.fromkeys([6, "FLEX_START"], Provisioning.FLEX_START),
}


class InvalidJob(Exception):
    """Report a request that Vertex AI answers with 400."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    labels: Mapping[str, str]
    spec: Mapping[str, Any]
    """The unchanged `jobSpec`."""
    machines: int
    provisioning: Provisioning
    timeout: timedelta
    provisioning_timeout: timedelta | None
    """Only for FLEX_START; None waits without limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatedJob:
    """Hold the state of a job at one moment."""

    name: str
    region: str
    request: JobRequest
    state: JobState
    created_at: datetime
    started_at: datetime | None = None
    """The time of the first RUNNING state."""
    ended_at: datetime | None = None
    error: JobError | None = None


def parse(body: object) -> JobRequest:
    """Parse a CustomJob in JSON; raise `InvalidJob` for anything else."""
    try:
        return _parse(body)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InvalidJob(f"Invalid JSON payload received: not a CustomJob with worker pools ({error!r})") from error


def replicas_of(spec: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return pool and index of each replica that a `jobSpec` asks for, the primary first."""
    pools = enumerate(spec["workerPoolSpecs"])
    return [(f"workerpool{pool}", index) for pool, asked in pools for index in range(int(asked.get("replicaCount", 1)))]


def _parse(body: Any) -> JobRequest:
    spec = body["jobSpec"]
    scheduling = spec.get("scheduling", {})
    strategy = scheduling.get("strategy", 0)
    if strategy not in _STRATEGIES:
        raise InvalidJob(f"Invalid value at 'custom_job.job_spec.scheduling.strategy': {strategy!r}")
    provisioning = _STRATEGIES[strategy]
    pool = spec["workerPoolSpecs"][0]
    if not pool["containerSpec"].get("imageUri"):
        raise InvalidJob("container_spec.image_uri is required in worker_pool_specs[0]")
    if int(pool.get("replicaCount", 1)) != 1:
        raise InvalidJob("replica_count of worker_pool_specs[0] must be 1")
    wait = _duration(scheduling.get("maxWaitDuration", DEFAULT_MAX_WAIT))
    return JobRequest(
        labels=_labels(body.get("labels", {})),
        spec=spec,
        machines=len(replicas_of(spec)),
        provisioning=provisioning,
        timeout=_duration(scheduling.get("timeout", DEFAULT_TIMEOUT)),
        provisioning_timeout=wait if wait and provisioning is Provisioning.FLEX_START else None,
    )


def _labels(labels: Mapping[str, str]) -> dict[str, str]:
    for key, value in labels.items():
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) or not re.fullmatch(r"[a-z0-9_-]{0,63}", value):
            raise InvalidJob(
                f"Label {key}={value} is not valid: use at most 63 lowercase letters, digits, '_' and '-'."
            )
    return dict(labels)


def _duration(text: str) -> timedelta:
    """Return a duration such as `1200.5s`."""
    return timedelta(seconds=float(text.removesuffix("s")))


def render(job: EmulatedJob) -> dict[str, object]:
    """Return the JSON of a response, with enums as numbers."""
    moments = {"createTime": job.created_at, "startTime": job.started_at, "endTime": job.ended_at}
    return {
        "name": job.name,
        "jobSpec": job.request.spec,
        "labels": job.request.labels,
        "state": int(job.state),
        **{key: _timestamp(at) for key, at in moments.items() if at is not None},
        **({"error": {"code": job.error.code, "message": job.error.message}} if job.error else {}),
    }


def _timestamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
