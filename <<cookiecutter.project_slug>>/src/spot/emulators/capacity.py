"""How many machines a region has to give at a time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from spot.core.run import Provisioning
from spot.simulation import traces

UNLIMITED = sys.maxsize


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


class Trace:
    """Spot capacity as it was once measured; everything else is unlimited.

    The moment `offset` after the first row of the file (`spot.simulation.traces`) falls on `start`; before its first row the trace
    holds the first counts, and after its last the last. Raises `spot.simulation.traces.TraceError`.
    """

    def __init__(self, path: Path, start: datetime, *, offset: timedelta = timedelta()) -> None:
        self._trace = traces.read(path)
        self._start = start - offset

    @property
    def regions(self) -> tuple[str, ...]:
        return self._trace.regions

    def free(self, region: str, provisioning: Provisioning, now: datetime) -> int:
        """Raises TraceError for spot in a region that the file does not have."""
        if provisioning is not Provisioning.SPOT:
            return UNLIMITED
        return self._trace.count(region, now - self._start)
