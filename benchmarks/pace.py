"""How fast one connection to the stand-in for Cloud Storage is, by a clock that tests can set."""

from __future__ import annotations

import time
from collections.abc import Callable

RATE = 200e6
"""Bytes a second of one connection."""
LATENCY_S = 0.030
"""From a request to the first byte of its body being taken, or of its reply being sent."""
CATCH_UP_S = 0.010
"""How late a sleep may end without lowering the rate; more than that is lost, as it would be on a wire."""


class Pace:
    """Delays one connection: `LATENCY_S` a request, then `RATE` whichever way the bytes go."""

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
        """A request's head has arrived."""
        self._take(self._latency_s)

    def carry(self, size: int) -> None:
        """So many bytes of a body pass."""
        self._take(size / self._rate)

    def _take(self, seconds: float) -> None:
        now = self._clock()
        self._free_at = max(self._free_at, now - CATCH_UP_S) + seconds
        if self._free_at > now:
            self._sleep(self._free_at - now)
