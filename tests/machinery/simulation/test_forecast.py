"""Test that a forecast replays every policy on the same windows, and claims no more than the replays show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from spot.core.run import Strategy
from spot.simulation.cloud import ReplayError
from spot.simulation.forecast import Baseline, Case, Forecast, compare, quantile
from spot.simulation.startup_times import StartupRanges, StartupTimes
from spot.simulation.traces import shipped, windows
from tests.machinery import samples
from tests.machinery.simulation import forecasted
from tests.machinery.simulation.forecasted import replays

REGIONS = ("us-central1", "us-east4")


def played(starts: Sequence[int] = (100, 3000, 9000), **changes: Any) -> Forecast:
    case = Case(label="", run=samples.run(regions=REGIONS, reconcile_interval=timedelta(minutes=5), **changes))
    found = windows(shipped(), REGIONS, 8, 24 * 60)
    times = StartupTimes.drawn(StartupRanges(), REGIONS, seed=1)
    return compare([case], found, times, starts)[0]


def test_everyone_is_replayed_on_the_same_windows() -> None:
    found = played()
    for rival in Baseline:
        assert [sample.start for sample in found.of(rival).replays] == [100, 3000, 9000]


def test_each_case_gets_its_own_replays() -> None:
    cases = [Case(label=str(work), run=samples.run(work=timedelta(hours=work))) for work in (4, 8)]
    found = windows(shipped(), REGIONS, 1, 24 * 60)
    times = StartupTimes.drawn(StartupRanges(), REGIONS, seed=1)
    made = compare(cases, found, times, found.drawn(7, seed=1))
    assert [one.case.label for one in made] == ["4", "8"]
    assert [one.on_demand.mean_usd for one in made] == [pytest.approx(4, abs=0.2), pytest.approx(8, abs=0.2)]


def test_a_region_without_capacity_data_is_an_error_and_no_number() -> None:
    case = Case(label="", run=samples.run(regions=("us-central1",)))
    found = windows(shipped(), ["us-east4"], 1, 24 * 60)
    with pytest.raises(ReplayError, match="no capacity is known for spot in 'us-central1'"):
        compare([case], found, StartupTimes.drawn(StartupRanges(), ["us-east4"], seed=1), [0])


def test_on_demand_only_costs_the_work_and_a_restore() -> None:
    for sample in played().on_demand.replays:
        assert 10 + 2 / 60 <= sample.usd <= 10 + 6 / 60
        assert sample.preemptions == 0


def test_ours_costs_less_in_measured_capacity_and_is_in_time() -> None:
    found = played()
    assert found.saving is not None
    assert 0.3 < found.saving < 0.6
    assert found.ours.late == found.ours.unfinished == 0


def test_a_deadline_that_no_policy_can_meet_is_missed_by_all() -> None:
    found = played(deadline=samples.after(hours=10.1))
    assert [found.of(rival).late for rival in Baseline] == [3, 3, 3]
    assert found.ours.unfinished == 0


def test_the_strategy_of_the_run_is_replayed() -> None:
    found = played(strategy=Strategy.ON_DEMAND)
    assert found.ours.usd == found.on_demand.usd


def test_on_demand_may_take_as_long_as_the_settings_say() -> None:
    assert StartupRanges.of(samples.policy(worst_start=timedelta(minutes=21))).on_demand == (5, 15)
    assert StartupRanges.of(samples.policy(worst_start=timedelta(minutes=66))).on_demand == (5, 60)
    assert StartupRanges.of(samples.policy(worst_start=timedelta(minutes=1))).on_demand == (5, 5)


def test_quantiles_are_values_that_came() -> None:
    assert [quantile(range(1, 101), share) for share in (0, 0.25, 0.5, 0.95, 1)] == [1, 26, 51, 96, 100]
    assert quantile([], 0.5) is None


def test_what_never_happened_is_below_three_in_so_many() -> None:
    assert replays([1] * 1000, [1.0] * 1000).late_upper_bound == 0.003
    assert replays([1, 1], [1.0, 1.0]).late_upper_bound == 1
    assert replays([1, 1], [1.0, 25.0]).late_upper_bound is None


def test_windows_that_overlap_or_come_twice_are_no_more_evidence() -> None:
    often = replays([1] * 100, [1.0] * 100, start=60)
    assert (often.independent, often.late_upper_bound) == (1, 1)
    assert replays([1] * 100, [1.0] * 100, apart=24 * 60).independent == 5  # hours 0, 24, 48, 72, 96
    assert replays([1] * 100, [1.0] * 100, apart=24 * 60).late_upper_bound == 0.6


def test_a_replay_without_a_model_has_missed_its_deadline_and_has_no_end() -> None:
    found = replays([1, 2, 3], [20, None, 25])
    assert (found.late, found.unfinished, found.hours) == (2, 1, (20, 25))
    assert found.ends == (20, 25, math.inf)
    assert quantile(found.ends, 0.95) == math.inf, "not of those alone that were done"


def test_a_saving_below_nothing_is_a_loss() -> None:
    assert forecasted.forecast().saving == pytest.approx(0.5)
    assert forecasted.forecast(ours=replays([12] * 4, [12] * 4)).saving == pytest.approx(-0.2)


def test_without_a_model_nothing_is_saved() -> None:
    assert forecasted.forecast(ours=replays([1] * 4, [12, 12, 12, None])).saving is None
