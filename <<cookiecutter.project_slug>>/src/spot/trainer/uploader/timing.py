"""How often the two sides of a hand-over look at the writer's lease, and how long they wait for each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from spot.trainer.runtime.errors import UsageError
from spot.trainer.uploader.messages import KeepLease

SPEED = "LEASE_SPEED"
"""The variable that makes all of it so many times as fast, where whole runs are rehearsed in minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTiming:
    """In seconds of each side's own clock."""

    poll_s: float = 3.0
    heartbeat_s: float = 10.0
    """Between two signs of life of a holder that is waited for."""
    offer_s: float = 60.0
    """How long a holder that has offered the lease stands still."""
    dead_s: float = 60.0
    """How long a holder gives no sign of life before its successor takes the lease unoffered."""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> LeaseTiming:
        """Raises `UsageError`."""
        text = environ.get(SPEED, "1")
        try:
            speed = float(text)
        except ValueError:
            speed = math.nan
        if not 0 < speed < math.inf:
            raise UsageError(f"{SPEED}={text!r} in the environment is not a number above 0: unset it")
        normal = cls()
        return cls(
            poll_s=normal.poll_s / speed,
            heartbeat_s=normal.heartbeat_s / speed,
            offer_s=normal.offer_s / speed,
            dead_s=normal.dead_s / speed,
        )

    def hold(self, run: str, name: str) -> KeepLease:
        """The order to the uploader to look after the lease of `run`, which `name` has."""
        return KeepLease(run=run, name=name, poll_s=self.poll_s, heartbeat_s=self.heartbeat_s, offer_s=self.offer_s)
