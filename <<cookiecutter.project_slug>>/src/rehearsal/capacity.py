"""How many machines a region has to give at a time."""

from __future__ import annotations

import bisect
import csv
import itertools
import re
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from spot.run import Provisioning

UNLIMITED = sys.maxsize
_ZONE = re.compile(r"(?P<region>[a-z]+-[a-z]+\d+)-[a-z]")


class Capacity(Protocol):
    """What decides whether a job gets its machine."""

    def free(self, region: str, provisioning: Provisioning, now: datetime) -> int:
        """How many jobs of one machine the region can hold in all, those that have theirs included."""
        ...


class Unlimited:
    """Every job gets its machine."""

    def free(self, region: str, provisioning: Provisioning, now: datetime) -> int:  # noqa: ARG002  # Capacity
        return UNLIMITED


class Scripted:
    """As somebody says, who may say something else at any time."""

    def __init__(
        self, counts: Mapping[tuple[str, Provisioning], int] | None = None, *, default: int = UNLIMITED
    ) -> None:
        self._lock = threading.Lock()
        self._counts = dict(counts or {})
        self._default = default

    def set(self, region: str, provisioning: Provisioning, count: int) -> None:
        with self._lock:
            self._counts[region, provisioning] = count

    def free(self, region: str, provisioning: Provisioning, now: datetime) -> int:  # noqa: ARG002  # Capacity
        with self._lock:
            return self._counts.get((region, provisioning), self._default)


class TraceError(Exception):
    """A capacity trace that cannot be used."""


class Trace:
    """Spot capacity as it was once measured; everything else is unlimited.

    The CSV has a time in its first column and a count for each zone in the others; an empty cell is no probe, and the
    last count holds. Vertex AI picks the zone, so a region has what its best zone has. The moment `offset` after the
    first row falls on `start`; before its first row the trace holds the first counts, and after its last the last.
    """

    def __init__(self, path: Path, start: datetime, *, offset: timedelta = timedelta()) -> None:
        self._path = path
        self._times, self._counts = _read(path)
        self._shift = self._times[0] + offset - start

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(self._counts)

    def free(self, region: str, provisioning: Provisioning, now: datetime) -> int:
        """Raises TraceError for spot in a region that the file does not have."""
        if provisioning is not Provisioning.SPOT:
            return UNLIMITED
        if region not in self._counts:
            known = ", ".join(self._counts)
            raise TraceError(f"{self._path}: region {region!r} is not in this trace, which has {known}")
        row = bisect.bisect_right(self._times, now + self._shift) - 1
        return self._counts[region][max(row, 0)]


def _read(path: Path) -> tuple[list[datetime], dict[str, list[int]]]:
    """The times, and the counts of each region at each of them."""
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines(), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TraceError(f"{path}: this trace cannot be read as CSV: {error}") from error
    if len(rows) < 2:
        raise TraceError(
            f"{path}: a trace needs a line of column names and at least one of counts, this has {len(rows)}"
        )
    regions = _regions(path, rows[0])
    times: list[datetime] = []
    counts: dict[str, list[int]] = {region: [] for region in regions}
    last = [0] * len(regions)
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]):
            raise TraceError(f"{path}, line {line}: {len(rows[0])} columns have names, but {len(row)} values are here")
        times.append(_time(path, line, row[0]))
        if times[-1:] <= times[-2:-1]:
            raise TraceError(f"{path}, line {line}: {row[0]!r} is not after the time before it; sort the lines by time")
        last = [_count(path, line, cell) if cell else known for cell, known in zip(row[1:], last, strict=True)]
        for region, zones in itertools.groupby(sorted(zip(regions, last, strict=True)), key=lambda zone: zone[0]):
            counts[region].append(max(count for _, count in zones))
    return times, counts


def _regions(path: Path, names: list[str]) -> list[str]:
    """The region of each column of counts."""
    if len(names) < 2:
        raise TraceError(f"{path}, line 1: there is no column for a zone, only {names}")
    if len(set(names)) < len(names):
        raise TraceError(f"{path}, line 1: {max(names, key=names.count)!r} is the name of more than one column")
    found = [(name, _ZONE.fullmatch(name)) for name in names[1:]]
    for name, match in found:
        if not match:
            raise TraceError(f"{path}, line 1: {name!r} is no zone, such as us-central1-a")
    return [match["region"] for _, match in found if match]


def _time(path: Path, line: int, cell: str) -> datetime:
    try:
        at = datetime.fromisoformat(cell)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise TraceError(f"{path}, line {line}: {cell!r} is no time in UTC, such as 2025-10-04T00:10:00Z")
    return at.astimezone(UTC)


def _count(path: Path, line: int, cell: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", cell):
        raise TraceError(f"{path}, line {line}: {cell!r} is no count of machines, which is a whole number from 0 up")
    return int(cell)
