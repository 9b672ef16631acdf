"""Hold the patterns and bounds of values, for settings and for records of the bucket.

A record annotates a field with its pattern or its `Bounds`; `storage.records.codec` checks both when it decodes.
"""

import re
from datetime import timedelta
from typing import Annotated, NamedTuple

MAX_REGIONS = 20
MAX_MACHINES = 100
MAX_GPUS = 16
"""Of a machine."""

ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
"""Ids of runs and attempts: also label values on Vertex AI and segments of object names."""
ID_ALLOWED = "1 to 63 of a-z, 0-9, _ and -, a letter or digit first"

REGION = re.compile(r"[a-z]{2,20}-[a-z]{4,20}[0-9]{1,2}")

PROJECT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")

BUCKET = re.compile(
    r"(?!goog)(?!.*google)(?!.*\.\.)(?![0-9]+\.[0-9]+\.[0-9]+\.[0-9]+\Z)[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]"
)

ROOT = re.compile(r"gs:/(/[A-Za-z0-9._-]+)+|/[^\x00-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff]*")
"""URIs of a project's objects: `gs://bucket/prefix`, or a directory."""

SERVICE_ACCOUNT = re.compile(r"[a-z0-9-]+@[a-z0-9.-]+\.gserviceaccount\.com|")

MACHINE_TYPE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)+")
ACCELERATOR = re.compile(r"NVIDIA_[A-Z0-9_]+")
DISK_TYPE = re.compile(r"[a-z][a-z0-9-]{1,40}|")

DATASET = re.compile(r"datasets/[0-9a-f]{64}\.json")
"""Names of records of data sets, below the root of a project."""

SHA256 = re.compile(r"[0-9a-f]{64}")

CHAMPION = re.compile(rf"{ID.pattern}#[0-9a-f]{{64}}")
"""Runs whose model is in use, with a checksum of its files."""

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
"""Digests of container images."""

IMAGE = re.compile(rf"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+@{DIGEST.pattern}")
"""Images by digest."""

JOB = re.compile(rf"projects/[a-z0-9-]{{1,63}}/locations/(?P<region>{REGION.pattern})/customJobs/[0-9]{{1,40}}")
"""Resource names of jobs. The region becomes part of a host name."""

PROCESS = re.compile(rf"{ID.pattern}\.[0-9]{{1,6}}")
"""Starts of an attempt, as `a4.1`."""


class Bounds(NamedTuple):
    """Hold the least and the largest value of a number."""

    least: float
    most: float


Id = Annotated[str, ID]
Region = Annotated[str, REGION]
Project = Annotated[str, PROJECT]
Root = Annotated[str, ROOT]
ServiceAccount = Annotated[str, SERVICE_ACCOUNT]
MachineType = Annotated[str, MACHINE_TYPE]
Accelerator = Annotated[str, ACCELERATOR]
DiskType = Annotated[str, DISK_TYPE]
Image = Annotated[str, IMAGE]
DatasetName = Annotated[str, DATASET]
ChampionPin = Annotated[str, CHAMPION]
Sha256 = Annotated[str, SHA256]
Commit = Annotated[str, re.compile(r"[0-9a-f]{40}|unknown")]
JobName = Annotated[str, JOB]
Process = Annotated[str, PROCESS]
Count = Annotated[int, Bounds(0, 10**10 - 1)]
"""Steps, starts and fencing tokens: at most 10 digits in an object name."""
Size = Annotated[int, Bounds(0, 2**63 - 1)]
"""Bytes and generations."""
Crc32c = Annotated[int, Bounds(0, 2**32 - 1)]
Machines = Annotated[int, Bounds(1, MAX_MACHINES)]
Gpus = Annotated[int, Bounds(0, MAX_GPUS)]
Share = Annotated[float, Bounds(0, 1)]
Work = Annotated[timedelta, Bounds(1, 366 * 86400)]
"""A duration that rates divide by, in seconds."""
Quantity = Annotated[float, Bounds(0, 1e9)]
"""Seconds, rates and dollars."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that move a cursor, change the order of text or cannot be written."""
_SHOWN = 60


def terminal(text: str) -> str:
    """Return `text` without control characters, for a terminal or a log. Line feeds are kept."""
    return "\n".join(_CONTROL.sub("\ufffd", line) for line in text.split("\n"))


def one_line(text: object) -> str:
    """Return `text` on one line, without control characters."""
    return terminal(" ".join(str(text).split()))


def shown(value: object) -> str:
    """Return the value in plain ASCII on one short line."""
    if isinstance(value, bool):
        return str(value).lower()
    try:
        quoted = ascii(value)
    except (ValueError, RecursionError):  # an integer of too many digits, tables nested too deep
        return f"a value too large to show ({type(value).__name__})"
    if len(quoted) <= _SHOWN:
        return quoted
    length = f" ({len(value)} characters)" if isinstance(value, str) else ""
    return f"{quoted[: _SHOWN - 10]}...{length}"
