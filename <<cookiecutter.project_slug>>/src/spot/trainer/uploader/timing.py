"""Time the hand-over: how often both sides read the lease, and how long they wait for each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from spot.trainer.runtime.errors import UsageError
from spot.trainer.uploader.messages import KeepLease

SPEED = "LEASE_SPEED"
"""The environment variable that divides all these times, for rehearsals of whole runs in minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTiming:
    """Hold the times in seconds, each measured by the local monotonic clock."""

    poll_s: float = 3.0
    heartbeat_s: float = 10.0
    """The interval between two heartbeats of a holder while a standby waits."""
    offer_s: float = 60.0
    """The longest pause of training for an offer that is not accepted."""
    dead_s: float = 60.0
    """The time without a heartbeat after which the standby takes the lease."""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> LeaseTiming:
        """Return the times for this environment. Raise `UsageError` for a wrong `LEASE_SPEED`."""
        text = environ.get(SPEED, "1")
        try:
            speed = float(text)
        except ValueError:
            speed = math.nan
        if not 0 < speed < math.inf:
            raise UsageError(f"environment variable {SPEED}={text!r} is not a number above 0: unset it")
        normal = cls()
        return cls(
            poll_s=normal.poll_s / speed,
            heartbeat_s=normal.heartbeat_s / speed,
            offer_s=normal.offer_s / speed,
            dead_s=normal.dead_s / speed,
        )

    def hold(self, run: str, name: str) -> KeepLease:
        """Return the command to keep the lease of `run`, held by the process `name`."""
        return KeepLease(run=run, name=name, poll_s=self.poll_s, heartbeat_s=self.heartbeat_s, offer_s=self.offer_s)
