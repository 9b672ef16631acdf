"""Test the costs measured in a window, and that none is below the least possible cost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import policy_replays
from benchmarks.policy_optimum import least_cost
from benchmarks.policy_replays import DECIDE, BeatenOptimum, Cost, Job, Policy, replayed, ways
from benchmarks.policy_settings import DEADLINE, SETTINGS, SLOW_SETTINGS, WORK, Setting, run
from benchmarks.policy_windows import Part, Window
from spot.simulation.baselines import on_demand_only
from spot.simulation.replay import replay
from spot.simulation.startup_times import StartupRanges, StartupTimes
from spot.simulation.traces import Capacity

ALONE = Setting(regions=("europe-west1",), gpus=8)


def job(setting: Setting = ALONE, *, start: int = 9_000, policies: tuple[Policy, ...] = tuple(Policy)) -> Job:
    return Job(setting=setting, window=Window(start=start, part=Part.TUNING), seed=0, policies=policies)


@pytest.mark.parametrize(("start", "setting"), [(0, SETTINGS[-3]), (12_345, SETTINGS[-1])], ids=["one region", "two"])
def test_no_policy_costs_less_than_the_optimum(start: int, setting: Setting) -> None:
    costs = replayed(job(setting, start=start))
    least = {it.work: it.ratio for it in costs if it.policy is Policy.OPTIMUM}
    assert len(costs) == len(Policy) * len(WORK)
    assert all(it.missed or it.ratio >= least[it.work] - 1e-9 for it in costs)


def test_a_policy_that_did_would_be_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_replays, "least_cost", lambda *ways, **rest: 1.01 * least_cost(*ways, **rest))
    with pytest.raises(BeatenOptimum, match="less than"):
        replayed(job(Setting(regions=("asia-south2",), gpus=1)))


def test_where_there_is_no_spot_the_optimum_is_on_demand_that_restores_quickest() -> None:
    draws = StartupTimes.drawn(StartupRanges(), ALONE.regions, seed=0)
    nothing = dict.fromkeys(ALONE.regions, ())
    usd = least_cost(list(ways(ALONE, nothing, draws)), deadline=DEADLINE, most_work=max(WORK))
    for work in WORK:
        at_once = replay(run(ALONE, work, hand_over=False), on_demand_only, nothing, draws).usd
        assert usd[work] == pytest.approx((work + 2) * ALONE.on_demand_usd)
        assert usd[work] <= at_once <= usd[work] + 4 * ALONE.on_demand_usd


def test_on_demand_that_takes_an_hour_is_late_unless_the_settings_state_it() -> None:
    with_starts = SLOW_SETTINGS[0]
    without_starts = Setting(regions=with_starts.regions, gpus=with_starts.gpus)
    slowest = StartupTimes.drawn(replace(with_starts.starts, on_demand=(60, 60)), with_starts.regions, seed=0)
    nothing: Capacity = dict.fromkeys(with_starts.regions, ())
    missed = [
        replay(run(setting, 12 * 60, hand_over=False), DECIDE[Policy.ALONE], nothing, slowest).missed
        for setting in (with_starts, without_starts)
    ]
    assert missed == [False, True]


def test_every_policy_is_replayed_with_every_amount_of_work() -> None:
    costs: list[Cost] = replayed(job(policies=tuple(DECIDE)))
    assert {(it.policy, it.work) for it in costs} == {(policy, work) for policy in DECIDE for work in WORK}
