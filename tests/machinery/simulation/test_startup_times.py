"""Every policy meets the same luck, whatever it does and whichever regions there are."""

from __future__ import annotations

from spot.core.run import Provisioning
from spot.simulation.startup_times import StartupRanges, StartupTimes

SPOT, ON_DEMAND = Provisioning.SPOT, Provisioning.ON_DEMAND
STARTS = StartupRanges(spot=(5, 15), on_demand=(20, 60), restore=(2, 6))


def test_each_start_takes_as_long_as_was_stated_and_each_of_these_minutes_comes() -> None:
    draws = StartupTimes.drawn(STARTS, ["us-central1"], seed=1)
    minutes = range(2000)
    assert {draws.provisioning(SPOT, "us-central1", minute) for minute in minutes} == set(range(5, 16))
    assert {draws.provisioning(ON_DEMAND, "us-central1", minute) for minute in minutes} == set(range(20, 61))
    assert {draws.restore(SPOT, "us-central1", minute) for minute in minutes} == set(range(2, 7))


def test_another_region_changes_nothing_and_another_seed_does() -> None:
    alone, beside = (
        StartupTimes.drawn(STARTS, regions, seed=1) for regions in (["us-east4"], ["us-central1", "us-east4"])
    )
    other = StartupTimes.drawn(STARTS, ["us-east4"], seed=2)
    luck = [[one.provisioning(SPOT, "us-east4", minute) for minute in range(50)] for one in (alone, beside, other)]
    assert luck[0] == luck[1] != luck[2]


def test_a_later_submit_meets_later_luck() -> None:
    draws = StartupTimes.drawn(STARTS, ["us-central1"], seed=1)
    for minute in range(20):
        assert draws.at(30).restore(SPOT, "us-central1", minute) == draws.restore(SPOT, "us-central1", 30 + minute)
        assert draws.at(9).provisioning(SPOT, "us-central1", minute) == draws.provisioning(
            SPOT, "us-central1", 9 + minute
        )
