"""Test that in any world within the stated conditions the deadline is met, every action is valid, and every run ends.

`pytest --hypothesis-profile=long tests/machinery/supervisor/test_policy_worlds.py` tries more worlds, in ten minutes.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot.core.actions import Wait
from spot.core.run import Observation, Provisioning, RunState, Strategy
from spot.policy.decide import decide
from tests.machinery import samples
from tests.machinery.supervisor.passes import Passes
from tests.machinery.supervisor.worlds import BUDGETS, MINUTE, NEVER, Region, World, any_world, kept_promises, runs

NEVER_TRAINS = ((1, NEVER),)
TIGHT = [
    pytest.param([World(regions={"us-central1": Region()}, spot_starts=NEVER_TRAINS)], id="spot runs without progress"),
    pytest.param(
        [World(regions={"us-central1": Region(spot=(up, NEVER))}, spot_starts=NEVER_TRAINS) for up in range(120, 135)],
        id="spot is lost at any minute between two reconciles",
    ),
    pytest.param([World(regions={"us-central1": Region(spot=(0, NEVER))})], id="spot never comes"),
]

pytestmark = pytest.mark.timeout(
    900
)  # hundreds of hours in passes of minutes; hypothesis takes a time-out for a failure


@pytest.mark.parametrize("worlds", TIGHT)
def test_the_deadline_is_met_if_the_latest_start_falls_anywhere_between_two_reconciles(worlds: list[World]) -> None:
    """Every delay is the longest stated one: a reconcile interval of 15 min, an end of 3 min, a start of 25 min."""
    for world in worlds:
        for spare in range(170, 200):
            run = samples.run(
                regions=("us-central1",),
                work=30 * MINUTE,
                expected_start=MINUTE,
                reserve=timedelta(),
                deadline=samples.T0 + (30 + spare) * MINUTE,
            )
            passes = Passes(
                replace(world, gaps=(15,), cancels=(3,), error_delays=(3,), on_demand_starts=((24, 1),)), run
            )
            passes.go_on_until(1000)
            assert passes.run.attempts[-1].provisioning is Provisioning.ON_DEMAND
            assert passes.cloud.completed is not None
            assert passes.cloud.completed <= 30 + spare


@given(st.data())
def test_a_hybrid_run_that_on_demand_can_finish_in_time_is_in_time(data: st.DataObject) -> None:
    run = data.draw(runs((Strategy.HYBRID,), st.none()))
    passes = Passes(data.draw(kept_promises(run)), run)
    passes.go_on_until(10_000)
    assert passes.run.state is RunState.SUCCEEDED
    assert passes.cloud.completed is not None
    assert samples.T0 + passes.cloud.completed * MINUTE <= run.spec.deadline


@given(st.data())
def test_every_run_ends_by_valid_actions_within_its_budget_and_stays_ended(data: st.DataObject) -> None:
    run = data.draw(runs(tuple(Strategy), BUDGETS))
    world = data.draw(any_world(run))
    passes = Passes(world, run)
    passes.go_on_until(world.calm + 20_000)
    budget = run.spec.policy.budget_usd
    # What an attempt has cost is known only as well as the supervisor's clock agrees with Vertex AI's.
    assert budget is None or any(world.behind) or passes.cloud.usd <= budget + 1e-9
    later = passes.cloud.now + timedelta(days=data.draw(st.integers(0, 9)))
    assert isinstance(decide(passes.run, Observation(), later), Wait)
