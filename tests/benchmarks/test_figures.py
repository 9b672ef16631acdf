"""Test the figures computed from measurements, and when a target counts as met."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.figures import Figures, Floor, targets
from benchmarks.measure import Cycle
from benchmarks.ways import Name

MB = 1_000_000
OURS = Figures(
    way=Name.OURS,
    size=300 * MB,
    first_stall_s=0.150,
    stall_s=0.030,
    sigterm_s=0.32,
    sigterm_in_flight_s=0.33,
    lost_s=0.050,
    helper_cpu_s=0.160,
    interval_s=30.0,
    extra_bytes=340 * MB,
    extra_but_programs_bytes=310 * MB,
)
ARTICLE = replace(
    OURS, way=Name.ARTICLE, stall_s=4.0, sigterm_s=3.8, sigterm_in_flight_s=7.9, lost_s=None, extra_bytes=200 * MB
)
LIMIT = Floor(memcpy_s=0.030, torch_copy_s=0.020, wire_s=0.25, size=300 * MB)


def missed(ours: Figures, article: Figures = ARTICLE) -> list[str]:
    return [target.text for target in targets(ours, article, LIMIT) if not target.holds]


def test_training_lost_is_the_time_that_the_missing_steps_take() -> None:
    cycle = Cycle(seconds=2.0, steps=180, idle_seconds=1.0, idle_steps=100, helper_cpu_s=0.0)
    assert cycle.lost_s == pytest.approx(0.2)


def test_all_targets_can_hold() -> None:
    assert missed(OURS) == []


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"stall_s": 0.037}, "one memcpy"),
        ({"sigterm_s": 0.5}, "SIGTERM to durable at least 8"),
        ({"sigterm_in_flight_s": 1.0}, "in flight"),
        ({"lost_s": 0.31}, "slowed"),
        ({"extra_but_programs_bytes": 320 * MB}, "memory"),
    ],
)
def test_a_target_that_does_not_hold_is_missed(changes: dict[str, float], word: str) -> None:
    (text,) = missed(replace(OURS, **changes))  # type: ignore[arg-type]
    assert word in text


def test_a_large_state_has_to_be_ten_times_quicker() -> None:
    large = replace(OURS, size=1500 * MB, extra_but_programs_bytes=1500 * MB)
    assert missed(replace(large, sigterm_s=0.4)) == ["SIGTERM to durable at least 10 x shorter"]


def test_nothing_is_promised_for_a_small_state() -> None:
    assert targets(replace(OURS, size=40 * MB), ARTICLE, LIMIT) == []
