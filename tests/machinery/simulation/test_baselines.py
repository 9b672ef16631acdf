"""Test that the baselines follow their descriptions."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from spot.core.actions import Submit, Wait
from spot.core.run import Observation, Outcome, Provisioning, RunState
from spot.policy.decide import decide
from spot.simulation.baselines import fixed_spot_window, on_demand_only
from spot.simulation.replay import Replayed, replay
from spot.simulation.traces import Spans
from tests.machinery import samples
from tests.machinery.supervisor.scripted import MINUTE, startup_times

SPOT, ON_DEMAND = Provisioning.SPOT, Provisioning.ON_DEMAND
RUN = samples.run(work=60 * MINUTE, reconcile_interval=MINUTE, regions=("us-central1", "us-east4"))


def submits(replayed: Replayed) -> list[tuple[Provisioning, str, float]]:
    """Return provisioning, region and minute of each attempt."""
    submitted_at = replayed.run.submitted_at
    return [(one.provisioning, one.region, (one.intended_at - submitted_at) / MINUTE) for one in replayed.run.attempts]


def in_the_window(spans: Spans, hours: int = 24) -> Replayed:
    run = samples.run(work=60 * MINUTE, reconcile_interval=MINUTE, deadline=samples.after(hours=hours))
    return replay(run, fixed_spot_window, {"us-central1": spans, "us-east4": spans}, startup_times())


def test_on_demand_only_submits_once_in_the_cheapest_region() -> None:
    found = replay(RUN, on_demand_only, {}, startup_times())
    assert submits(found) == [(ON_DEMAND, "us-central1", 0)]
    assert (found.run.state, found.completed_at) == (RunState.SUCCEEDED, 67)


def test_the_fixed_window_pauses_for_300_times_2_to_the_n_seconds_and_at_most_an_hour() -> None:
    found = in_the_window(())
    starts = [start for provisioning, _, start in submits(found) if provisioning is SPOT]
    assert [later - earlier - 20 for earlier, later in itertools.pairwise(starts)][:6] == [
        5,
        10,
        20,
        40,
        60,
        60,
    ]


def test_the_fixed_window_falls_back_to_on_demand_after_three_quarters_of_the_time_even_from_a_running_machine() -> (
    None
):
    assert submits(in_the_window(()))[-1] == (ON_DEMAND, "us-central1", 18 * 60)
    cut_off = in_the_window(((0, 10_000),), hours=1)
    assert submits(cut_off) == [(SPOT, "us-central1", 0), (ON_DEMAND, "us-central1", 45)]
    assert [one.outcome for one in cut_off.run.attempts] == [Outcome.CANCELLED, Outcome.SUCCEEDED]


def test_the_fixed_window_tries_the_regions_in_turn_and_as_our_policy_the_cheapest_first() -> None:
    assert [region for _, region, _ in submits(in_the_window(()))][:3] == ["us-central1", "us-east4", "us-central1"]
    cheaper = {"us-central1": {SPOT: 2.0, ON_DEMAND: 4.0}, "us-east4": {SPOT: 1.0, ON_DEMAND: 4.0}}
    run = samples.run(regions=("us-central1", "us-east4"), usd_per_hour=cheaper)
    for policy in (fixed_spot_window, decide):
        first = policy(run, Observation(), samples.T0)
        assert isinstance(first, Submit)
        assert (first.provisioning, first.region) == (SPOT, "us-east4")


@pytest.mark.parametrize("hours", [1, 24])
def test_the_fixed_window_completes_a_run_even_if_it_is_late(hours: int) -> None:
    found = in_the_window((), hours=hours)
    assert found.run.state is RunState.SUCCEEDED
    assert found.missed is (hours == 1)
    assert samples.T0 + timedelta(hours=hours) == found.run.spec.deadline


def test_the_fixed_window_pauses_for_an_hour_after_any_number_of_attempts() -> None:
    tried = [samples.ended(Outcome.NO_CAPACITY, at=samples.after(hours=1))] * 2000
    run = samples.run(*tried, deadline=samples.after(hours=9000))
    action = fixed_spot_window(run, Observation(), samples.after(hours=1))
    assert isinstance(action, Wait)
    assert action.until == samples.after(hours=2)
