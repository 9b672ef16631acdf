"""Test the pace of the emulated store by its own accounting, without waiting."""

from __future__ import annotations

import pytest

from benchmarks.pace import CATCH_UP_S, Pace

RATE, LATENCY_S, PIECE = 200e6, 0.030, 1 << 20


class Clock:
    """Advance the time only in `sleep`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.late = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds + self.late


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> Pace:
    """Of a connection that has carried something already, and is not ahead of its rate."""
    pace = Pace(RATE, LATENCY_S, clock, clock.sleep)
    pace.carry(round(RATE * CATCH_UP_S))
    return pace


def carry(pace: Pace, clock: Clock, pieces: int) -> float:
    began = clock.now
    for _ in range(pieces):
        pace.carry(PIECE)
    return clock.now - began


def test_a_body_takes_its_size_over_the_rate(pace: Pace, clock: Clock) -> None:
    assert carry(pace, clock, 100) == pytest.approx(100 * PIECE / RATE)


def test_a_request_takes_the_latency_before_its_body(pace: Pace, clock: Clock) -> None:
    began = clock.now
    pace.request()
    assert clock.now - began == pytest.approx(LATENCY_S)
    assert carry(pace, clock, 10) == pytest.approx(10 * PIECE / RATE)


def test_sleeps_that_end_late_do_not_lower_the_rate(pace: Pace, clock: Clock) -> None:
    clock.late = 0.001
    assert carry(pace, clock, 100) == pytest.approx(100 * PIECE / RATE, rel=0.01)


def test_idle_time_gives_no_credit_beyond_the_catch_up(pace: Pace, clock: Clock) -> None:
    clock.now += 60
    assert carry(pace, clock, 100) == pytest.approx(100 * PIECE / RATE - CATCH_UP_S)
