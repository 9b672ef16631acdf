"""The `filter` of a list request: conditions on labels, state and display name, joined by AND."""

from __future__ import annotations

import re
from collections.abc import Callable

from spot.emulators.custom_job import InvalidJob, Job

_CONDITION = re.compile(
    r'(?P<field>labels\.[a-z0-9_-]+|state|display_?[nN]ame)\s*(?P<operator>!?=)\s*(?P<quote>"?)(?P<value>[^"]*)(?P=quote)'
)


def parse(text: str) -> Callable[[Job], bool]:
    """Whether a job satisfies it; raises InvalidJob if it cannot be read."""
    conditions = [_condition(part.strip()) for part in re.split(r"\s+AND\s+", text)] if text.strip() else []
    return lambda job: all(condition(job) for condition in conditions)


def _condition(text: str) -> Callable[[Job], bool]:
    match = _CONDITION.fullmatch(text)
    if not match:
        raise InvalidJob(f"The provided filter is not valid: {text!r}")
    equal, value, field = match["operator"] == "=", match["value"], match["field"]
    return lambda job: (_value(job, field) == value) is equal


def _value(job: Job, field: str) -> str | None:
    if field == "state":
        return f"JOB_STATE_{job.state.name}"
    return job.request.labels.get(field.removeprefix("labels.")) if "." in field else job.request.display_name
