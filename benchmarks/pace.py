"""Limit the speed of one connection to the emulated Cloud Storage, by a clock that tests can set."""

from __future__ import annotations

import time
from collections.abc import Callable

RATE = 200e6
"""Bytes per second of one connection."""
LATENCY_S = 0.030
"""Seconds from a request to the first byte of its body or reply."""
CATCH_UP_S = 0.010
"""Oversleep that later bytes may make up for; more is lost, as on a real network."""


class Pace:
    """Delay one connection: `LATENCY_S` a request, then `RATE` whichever way the bytes go."""

    def __init__(
        self,
        rate: float = RATE,
        latency_s: float = LATENCY_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate
        self._latency_s = latency_s
        self._clock = clock
        self._sleep = sleep
        self._free_at = 0.0

    def request(self) -> None:
        """Delay after the head of a request."""
        self._take(self._latency_s)

    def carry(self, size: int) -> None:
        """Delay for this many bytes of a body."""
        self._take(size / self._rate)

    def _take(self, seconds: float) -> None:
        now = self._clock()
        self._free_at = max(self._free_at, now - CATCH_UP_S) + seconds
        if self._free_at > now:
            self._sleep(self._free_at - now)
