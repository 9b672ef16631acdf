"""Tell the time and wait."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Provide time to code that must also run in simulated time."""

    def now(self) -> datetime:
        """Return the time in UTC."""

    def monotonic(self) -> float:
        """Return seconds that never go back, for durations."""

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """Provide the time of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
