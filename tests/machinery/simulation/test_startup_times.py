"""Test that start-up times depend on seed, region and minute only, so that every policy meets the same ones."""

from __future__ import annotations

from spot.core.run import Provisioning
from spot.simulation.startup_times import StartupRanges, StartupTimes

SPOT, ON_DEMAND = Provisioning.SPOT, Provisioning.ON_DEMAND
STARTS = StartupRanges(spot=(5, 15), on_demand=(20, 60), restore=(2, 6))


def test_start_up_times_cover_exactly_the_stated_ranges() -> None:
    draws = StartupTimes.drawn(STARTS, ["us-central1"], seed=1)
    minutes = range(2000)
    assert {draws.provisioning(SPOT, "us-central1", minute) for minute in minutes} == set(range(5, 16))
    assert {draws.provisioning(ON_DEMAND, "us-central1", minute) for minute in minutes} == set(range(20, 61))
    assert {draws.restore(SPOT, "us-central1", minute) for minute in minutes} == set(range(2, 7))


def test_another_region_changes_no_draw_and_another_seed_does() -> None:
    alone, among_two = (
        StartupTimes.drawn(STARTS, regions, seed=1) for regions in (["us-east4"], ["us-central1", "us-east4"])
    )
    other = StartupTimes.drawn(STARTS, ["us-east4"], seed=2)
    drawn = [[one.provisioning(SPOT, "us-east4", minute) for minute in range(50)] for one in (alone, among_two, other)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_later_submit_meets_later_draws() -> None:
    draws = StartupTimes.drawn(STARTS, ["us-central1"], seed=1)
    for minute in range(20):
        assert draws.at(30).restore(SPOT, "us-central1", minute) == draws.restore(SPOT, "us-central1", 30 + minute)
        assert draws.at(9).provisioning(SPOT, "us-central1", minute) == draws.provisioning(
            SPOT, "us-central1", 9 + minute
        )


def test_the_stated_share_of_preemptions_is_saved_and_none_by_default() -> None:
    draws = StartupTimes.drawn(STARTS, ["us-central1"], seed=1)
    saved = {share: sum(draws.saves(minute, share) for minute in range(2000)) for share in (0.0, 0.3, 1.0)}
    assert (saved[0.0], saved[1.0]) == (0, 2000)
    assert 500 < saved[0.3] < 700
    assert all(draws.at(30).saves(minute, 0.5) == draws.saves(30 + minute, 0.5) for minute in range(50))
