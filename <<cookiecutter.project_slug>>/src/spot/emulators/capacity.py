"""Decide how many machines a region can provide at a time."""

import sys
from collections.abc import Mapping
from datetime import datetime

from spot.core.run import Provisioning
from spot.simulation.traces import Trace

UNLIMITED = sys.maxsize


class EmulatedCapacity:
    """Provide the counts that a scenario sets, and on spot those of a trace; everything else is unlimited.

    The first row of the trace falls on the given time. After the last row its counts hold.
    """

    def __init__(
        self,
        counts: Mapping[tuple[str, Provisioning], int] | None = None,
        *,
        measured: tuple[Trace, datetime] | None = None,
    ) -> None:
        self._counts, self._measured = dict(counts or {}), measured

    def set(self, region: str, provisioning: Provisioning, count: int) -> None:
        self._counts[region, provisioning] = count

    def limit(self, region: str, provisioning: Provisioning, now: datetime) -> int:
        """Return how many machines the region can provide, those of running jobs included.

        Raises `SpotError` for spot in a region that the trace does not have.
        """
        if self._measured and provisioning is Provisioning.SPOT:
            trace, start = self._measured
            return trace.count(region, now - start)
        return self._counts.get((region, provisioning), UNLIMITED)
