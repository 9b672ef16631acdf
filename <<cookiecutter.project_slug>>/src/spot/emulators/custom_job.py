"""A CustomJob of Vertex AI: read from the request that creates it, and written as an answer shows it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from spot.core.job import JobError, JobState
from spot.core.run import Provisioning

DEFAULT_TIMEOUT = timedelta(days=7)
DEFAULT_MAX_WAIT = timedelta(days=1)
_STRATEGIES = {
    **dict.fromkeys([0, "STRATEGY_UNSPECIFIED", 1, "ON_DEMAND", 3, "STANDARD"], Provisioning.ON_DEMAND),
    **dict.fromkeys([4, "SPOT"], Provisioning.SPOT),
    **dict.fromkeys([6, "FLEX_START"], Provisioning.FLEX_START),
}


class InvalidJob(Exception):
    """Vertex AI would answer 400."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked for."""

    display_name: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]
    """The `jobSpec`, as it came."""
    machine_type: str
    provisioning: Provisioning
    timeout: timedelta
    provisioning_timeout: timedelta | None
    """Only for FLEX_START; None is for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it is at one moment."""

    name: str
    region: str
    request: Request
    state: JobState
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None = None
    """When it first entered RUNNING."""
    ended_at: datetime | None = None
    starts: int = 0
    """How often its container was started."""
    error: JobError | None = None


def parse(body: object) -> Request:
    """Raises InvalidJob."""
    try:
        return _parse(body)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise InvalidJob(f"Invalid JSON payload received: not a CustomJob with one worker pool ({error!r})") from error


def _parse(body: Any) -> Request:
    spec = body["jobSpec"]
    scheduling = spec.get("scheduling", {})
    strategy = scheduling.get("strategy", 0)
    if strategy not in _STRATEGIES:
        raise InvalidJob(f"Invalid value at 'custom_job.job_spec.scheduling.strategy': {strategy!r}")
    provisioning = _STRATEGIES[strategy]
    pool = spec["workerPoolSpecs"][0]
    if not pool["containerSpec"].get("imageUri"):
        raise InvalidJob("container_spec.image_uri is required in worker_pool_specs[0]")
    wait = _duration(scheduling.get("maxWaitDuration"), DEFAULT_MAX_WAIT)
    return Request(
        display_name=body.get("displayName", ""),
        labels=_labels(body.get("labels", {})),
        spec=spec,
        machine_type=pool["machineSpec"]["machineType"],
        provisioning=provisioning,
        timeout=_duration(scheduling.get("timeout"), DEFAULT_TIMEOUT),
        provisioning_timeout=wait if wait and provisioning is Provisioning.FLEX_START else None,
    )


def _labels(labels: Mapping[str, str]) -> dict[str, str]:
    for key, value in labels.items():
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) or not re.fullmatch(r"[a-z0-9_-]{0,63}", value):
            raise InvalidJob(f"Label {key}={value} is not valid: lowercase letters, digits, '_' and '-', 63 at most.")
    return dict(labels)


def _duration(text: str | None, default: timedelta) -> timedelta:
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?s", text):
        raise InvalidJob(f"Illegal duration format {text!r}; it is seconds with an 's' at the end.")
    return timedelta(seconds=float(text[:-1]))


def render(job: Job) -> dict[str, object]:
    """The JSON of an answer, enums as numbers."""
    moments = {
        "createTime": job.created_at,
        "startTime": job.started_at,
        "endTime": job.ended_at,
        "updateTime": job.updated_at,
    }
    return {
        "name": job.name,
        "displayName": job.request.display_name,
        "jobSpec": job.request.spec,
        "labels": job.request.labels,
        "state": int(job.state),
        **{key: _timestamp(at) for key, at in moments.items() if at is not None},
        **({"error": {"code": job.error.code, "message": job.error.message}} if job.error else {}),
    }


def _timestamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
