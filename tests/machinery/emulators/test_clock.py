"""A rehearsal's clock starts where it is told and runs as fast as it is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from spot.emulators.clock import ScaledClock

EPOCH = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
WALL = datetime(2030, 1, 1, tzinfo=UTC)


class Real:
    """The real time, as the clock sees it."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def scaled(real: Real, scale: float = 600.0) -> ScaledClock:
    return ScaledClock(scale, EPOCH, monotonic=lambda: real.seconds, wall=lambda: WALL, pause=real.sleep)


def test_it_starts_at_its_epoch_and_runs_as_fast_as_it_is_told() -> None:
    real = Real()
    clock = scaled(real)
    assert clock.now() == EPOCH
    real.seconds += 6
    assert clock.now() == EPOCH + timedelta(hours=1)


def test_sleep_is_in_simulated_seconds() -> None:
    real = Real()
    clock = scaled(real)
    clock.sleep(1200)
    assert clock.now() == EPOCH + timedelta(minutes=20)
    assert real.seconds == 102


def test_a_sleep_that_is_over_already_takes_no_time() -> None:
    real = Real()
    scaled(real).sleep(-1)
    assert real.seconds == 100


def test_it_converts_moments() -> None:
    clock = scaled(Real())
    assert clock.simulated(WALL + timedelta(seconds=6)) == EPOCH + timedelta(hours=1)
    assert clock.simulated(WALL - timedelta(seconds=6)) == EPOCH - timedelta(hours=1)


def test_by_itself_it_reads_the_real_time() -> None:
    clock = ScaledClock(3600, EPOCH)
    before = clock.now()
    clock.sleep(36)
    assert timedelta(seconds=36) <= clock.now() - before < timedelta(hours=10)
    assert abs(clock.simulated(datetime.now(UTC)) - clock.now()) < timedelta(hours=1)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_time_cannot_stand_still_or_run_back(scale: float) -> None:
    with pytest.raises(ValueError, match="give a scale above 0"):
        ScaledClock(scale, EPOCH)
