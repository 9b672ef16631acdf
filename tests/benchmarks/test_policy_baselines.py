"""Test that the baselines of the benchmark follow their published rules."""

from __future__ import annotations

from datetime import timedelta

import pytest

from benchmarks.policy_baselines import greedy, uniform_progress
from benchmarks.policy_settings import DEADLINE, MINUTE, Setting, run
from spot.core.run import Attempt, Provisioning
from spot.simulation.replay import Decide, Replayed, replay
from spot.simulation.startup_times import StartupRanges, StartupTimes
from spot.simulation.traces import Spans

REGION, OTHER = "us-central1", "us-east4"
WORK = 16 * 60
NOTHING: Spans = ()
ALWAYS: Spans = ((0, 10**9),)
STARTUP_TIMES: StartupTimes = StartupTimes.drawn(StartupRanges(), (REGION, OTHER), seed=0)
BOTH = pytest.mark.parametrize("decide", [uniform_progress, greedy])


def replayed(decide: Decide, *spot: Spans, work: int = WORK, starts: StartupRanges | None = None) -> Replayed:
    """Replay a run with this spot capacity, in one region or in two."""
    regions = (REGION, OTHER)[: len(spot)]
    setting = Setting(regions=regions, gpus=1)
    startup_times = StartupTimes.drawn(starts, regions, seed=0) if starts else STARTUP_TIMES
    return replay(run(setting, work, hand_over=False), decide, dict(zip(regions, spot, strict=True)), startup_times)


def minute(attempt: Attempt, found: Replayed) -> int:
    """Return the minute of its submit."""
    return (attempt.intended_at - found.run.submitted_at) // MINUTE


def kinds(found: Replayed) -> list[Provisioning]:
    return [attempt.provisioning for attempt in found.run.attempts]


def first_on_demand(found: Replayed) -> int:
    return next(minute(it, found) for it in found.run.attempts if it.provisioning is Provisioning.ON_DEMAND)


@BOTH
def test_running_spot_is_never_cancelled(decide: Decide) -> None:
    assert kinds(replayed(decide, ALWAYS)) == [Provisioning.SPOT]


@BOTH
@pytest.mark.parametrize("up", [1, 25, 40, 90, 300])
def test_the_deadline_is_met_with_any_spot_capacity_and_the_slowest_on_demand_start(decide: Decide, up: int) -> None:
    capacity = tuple((begin, begin + up) for begin in range(0, DEADLINE, 2 * up))
    slowest = StartupRanges(on_demand=(15, 15), restore=(6, 6))
    assert not replayed(decide, capacity, work=20 * 60, starts=slowest).missed


@BOTH
def test_regions_are_tried_in_turn_with_the_provisioning_timeout_of_our_policy(decide: Decide) -> None:
    found = replayed(decide, NOTHING, ((90, DEADLINE),))
    assert [(it.region, minute(it, found)) for it in found.run.attempts[:2]] == [(REGION, 0), (OTHER, 20)]


def test_uniform_progress_starts_on_demand_once_it_is_behind_and_every_region_was_tried() -> None:
    assert first_on_demand(replayed(uniform_progress, NOTHING)) == 20
    assert first_on_demand(replayed(uniform_progress, NOTHING, NOTHING)) == 40


def test_uniform_progress_waits_for_spot_while_it_is_ahead() -> None:
    found = replayed(uniform_progress, ((0, 600),))
    done = found.run.attempts[1].from_step
    behind = done * DEADLINE / WORK
    assert behind <= first_on_demand(found) <= behind + 20


def test_uniform_progress_returns_to_spot_when_it_is_two_starts_ahead() -> None:
    found = replayed(uniform_progress, ((400, DEADLINE),))
    on_demand = next(it for it in found.run.attempts if it.provisioning is Provisioning.ON_DEMAND)
    after = found.run.attempts[found.run.attempts.index(on_demand) + 1]
    assert after.provisioning is Provisioning.SPOT
    line = WORK / DEADLINE * minute(after, found)
    assert 0 < after.from_step - line < WORK / DEADLINE * 2 * 24 + 1


def test_greedy_waits_for_spot_until_on_demand_has_to_start() -> None:
    found = replayed(greedy, NOTHING)
    latest = DEADLINE - WORK - timedelta(minutes=21) // MINUTE
    assert latest - 1 <= first_on_demand(found) <= latest


def test_greedy_stays_on_demand() -> None:
    found = replayed(greedy, ((800, DEADLINE),))
    assert kinds(found)[-1] is Provisioning.ON_DEMAND
    assert kinds(found).count(Provisioning.ON_DEMAND) == 1
