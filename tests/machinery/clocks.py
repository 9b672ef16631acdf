"""Provide a clock that moves only when a test moves it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)


class ManualClock:
    """Tell the time that the test has advanced to. `on_sleep` is called with the seconds of each sleep."""

    def __init__(self, start: datetime = START, on_sleep: Callable[[float], object] = lambda _: None) -> None:
        self._now, self.on_sleep = start, on_sleep

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        """Return the time in seconds, to measure durations."""
        return self._now.timestamp()

    def sleep(self, seconds: float) -> None:
        self.advance(timedelta(seconds=seconds))
        self.on_sleep(seconds)

    def advance(self, by: timedelta) -> None:
        self._now += by
