"""List what the machinery assumes of Google Cloud and no test can show. Each name is a fact of `live/facts.json`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from spot.core.format import hours
from spot.core.job import JobSnapshot
from spot.policy.calibrate import ERROR_LAG, GRACE, ON_DEMAND_START, SPOT_START


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    name: str
    value: str
    seconds: float | None = None
    text: str = ""
    job: JobSnapshot | None = None


@dataclass(frozen=True, slots=True)
class Assumption:
    question: str
    assumed: str
    pattern: str = ""
    """Of the values that agree; empty for exactly `assumed`."""
    least_s: float = 0.0
    most_s: float = float("inf")

    def agrees(self, answer: Answer) -> bool:
        if answer.seconds is not None:
            return self.least_s <= answer.seconds <= self.most_s
        return re.fullmatch(self.pattern or re.escape(self.assumed), answer.value) is not None


_GPU_START, _SPOT_START = SPOT_START
ASSUMPTIONS: Mapping[str, Assumption] = {
    "doctor": Assumption("checks of spot doctor", "all ok"),
    "create-twice": Assumption("Cloud Storage: create an object twice", "412"),
    "stale-swap": Assumption("Cloud Storage: overwrite an older generation", "412"),
    "large-conflict": Assumption("Cloud Storage: 8 MiB with a failing precondition", "412"),
    "burst": Assumption("Cloud Storage: 5 writes a second to one name", "429"),
    "wrong-checksum": Assumption("Cloud Storage: upload with a wrong CRC32C", "400"),
    "read-after-write": Assumption("Cloud Storage: list and read right after a write", "both new"),
    "manifest": Assumption("registry: what the digest of the image names", "manifest", "manifest|index"),
    "unknown-machine": Assumption("create with an unknown machine type", "400: request-rejected"),
    "missing-gpu": Assumption("create with a GPU that the region lacks", "400: request-rejected"),
    "missing-image": Assumption(
        "create with a missing image", "FAILED: permission", "(400|FAILED): (permission|request-.+)"
    ),
    "foreign-account": Assumption("create with an account that you may not act as", "permission", "40[03]: permission"),
    "huge-request": Assumption("create with 10,000 GPUs on spot", "429: quota", "429: quota|QUEUED.*"),
    "uid": Assumption("user of the container", "10001"),
    "shm": Assumption("/dev/shm", "at least 64 MiB", r"([7-9]\d|6[4-9]|\d{3,}) MiB"),
    "disk": Assumption("free disk", "at least 50 GB", r"([5-9]\d|\d{3,}) GB"),
    "token": Assumption("first token of the account expires in", "at most 1 h", most_s=3600),
    "bucket-write": Assumption("the account writes to the bucket", "yes"),
    "label-lag": Assumption("create to the list by labels", "at most 5 min", most_s=300),
    _SPOT_START: Assumption("create to RUNNING on spot", "at most 10 min", most_s=600),
    ON_DEMAND_START: Assumption("create to RUNNING on demand", "at most 10 min", most_s=600),
    _GPU_START: Assumption("create to RUNNING on spot, your GPU", "at most 10 min", most_s=600),
    "exit-0": Assumption("exit 0 on spot", "SUCCEEDED"),
    "exit-1": Assumption("exit 1 on spot", "FAILED: training-failed"),
    "exit-75": Assumption("exit 75 on spot", "FAILED: internal"),
    "exit-137": Assumption("exit 137 on spot", "FAILED: internal"),
    "exit-143": Assumption("exit 143 on spot", "FAILED: preempted"),
    "exit-134": Assumption("exit 134 on spot", "FAILED: internal"),
    ERROR_LAG: Assumption("end of a job to its error", "at most 3 min", most_s=180),
    "disabled-retries": Assumption("starts after exit 134, with disable_retries", "1"),
    "retries": Assumption("starts after exit 134, without disable_retries", "2 to 4", "[2-4]"),
    "cancel-signal": Assumption("signal of a cancel", "SIGTERM"),
    GRACE: Assumption("cancel to SIGKILL", "at least 15 s", least_s=14),
    "cancel-exit-0": Assumption("end of a job whose container exits 0 after a cancel", "CANCELLED: cancelled"),
    "timeout": Assumption("end of a job past its timeout", "CANCELLED: expired", "(CANCELLED|FAILED|EXPIRED): expired"),
    "out-of-memory": Assumption("end of a job without memory", "FAILED: out-of-memory"),
    "gpu": Assumption("a matrix product of PyTorch on your GPU", "works", "works.*"),
    "lost-replica": Assumption("end of a job of two replicas if one exits 75", "FAILED: internal"),
    "lost-replica-starts": Assumption("starts of the replica that exits", "1"),
    "peer-signal": Assumption("signal of the replica that is left", "SIGTERM", "SIGTERM|none"),
    "log-lag": Assumption("a line of the container to the Logs API", "at most 1 min", most_s=60),
}


def timed(name: str, seconds: float, *, text: str = "", job: JobSnapshot | None = None) -> Answer:
    value = hours(timedelta(seconds=seconds))
    return Answer(name=name, value=value, seconds=max(seconds, 0.0), text=text, job=job)
