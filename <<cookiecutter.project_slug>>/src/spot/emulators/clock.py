"""Scale time: days of a rehearsal pass in minutes."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class ScaledClock:
    """Run `scale` times as fast as real time, starting at `epoch`."""

    def __init__(
        self,
        scale: float,
        epoch: datetime,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        if not scale > 0:
            raise ValueError(f"a clock cannot run at {scale} times real time: give a scale above 0")
        self._scale, self._epoch = scale, epoch.astimezone(UTC)
        self._monotonic, self._pause = monotonic, pause
        self._began, self._began_wall = monotonic(), wall()

    def now(self) -> datetime:
        return self._epoch + timedelta(seconds=self._monotonic() - self._began) * self._scale

    def monotonic(self) -> float:
        return (self._monotonic() - self._began) * self._scale

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds` of this clock."""
        self._pause(max(seconds, 0.0) / self._scale)

    def simulated(self, real: datetime) -> datetime:
        """Return the time of this clock at a real time."""
        return self._epoch + (real - self._began_wall) * self._scale
