"""Decide how many machines a region can provide at a time."""

import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from spot.core.run import Provisioning
from spot.simulation import traces

UNLIMITED = sys.maxsize


class ScriptedCapacity:
    """Provide the counts that a scenario sets; it may change them at any time."""

    def __init__(self, counts: Mapping[tuple[str, Provisioning], int] | None = None) -> None:
        self._counts = dict(counts or {})

    def set(self, region: str, provisioning: Provisioning, count: int) -> None:
        self._counts[region, provisioning] = count

    def limit(self, region: str, provisioning: Provisioning, now: datetime) -> int:  # noqa: ARG002  # as of a trace
        """Return how many machines the region can provide, those of running jobs included."""
        return self._counts.get((region, provisioning), UNLIMITED)


class TraceCapacity:
    """Replay measured spot capacity from `start` on; flex-start and on-demand are unlimited.

    The first row of the file falls on `start`. After the last row its counts hold. Raises `SpotError`.
    """

    def __init__(self, path: Path, start: datetime) -> None:
        self._trace = traces.read(path)
        self._start = start

    @property
    def regions(self) -> tuple[str, ...]:
        return self._trace.regions

    def limit(self, region: str, provisioning: Provisioning, now: datetime) -> int:
        """Return the limit; raise `SpotError` for spot in a region that the file does not have."""
        if provisioning is not Provisioning.SPOT:
            return UNLIMITED
        return self._trace.count(region, now - self._start)


Capacity = ScriptedCapacity | TraceCapacity
