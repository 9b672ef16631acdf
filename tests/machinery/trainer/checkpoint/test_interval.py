"""Test that the automatic interval is Young's optimum within its bounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot.trainer.checkpoint.interval import (
    DURABLE_FACTOR,
    LONGEST_S,
    PRIOR_S,
    SHORTEST_S,
    automatic_interval_s,
    mean_time_between_preemptions_s,
)

costs = st.floats(0, 1e4)
means = st.builds(mean_time_between_preemptions_s, preemptions=st.integers(0, 1000), compute_s=st.floats(0, 1e7))


@given(costs, st.floats(0, 1e4), means)
def test_it_stays_within_its_bounds(cost_s: float, durable_s: float, mtbf_s: float) -> None:
    interval = automatic_interval_s(cost_s=cost_s, durable_s=durable_s, mean_time_between_preemptions_s=mtbf_s)
    assert SHORTEST_S <= interval <= max(LONGEST_S, DURABLE_FACTOR * durable_s)
    assert interval >= DURABLE_FACTOR * durable_s


@given(costs, costs, means)
def test_a_dearer_save_is_never_made_more_often(one_s: float, other_s: float, mtbf_s: float) -> None:
    cheap, dear = (
        automatic_interval_s(cost_s=cost, durable_s=0, mean_time_between_preemptions_s=mtbf_s)
        for cost in sorted((one_s, other_s))
    )
    assert cheap <= dear


@given(costs, st.floats(0, 1e6), st.integers(0, 100))
def test_more_preemptions_never_make_it_longer(cost_s: float, compute_s: float, preemptions: int) -> None:
    calm, rough = (
        automatic_interval_s(
            cost_s=cost_s,
            durable_s=0,
            mean_time_between_preemptions_s=mean_time_between_preemptions_s(preemptions=count, compute_s=compute_s),
        )
        for count in (preemptions, preemptions + 1)
    )
    assert calm >= rough


@pytest.mark.parametrize(("cost_s", "hours"), [(1.0, 2.0), (0.5, 8.0), (10.0, 0.5)])
def test_between_the_bounds_it_is_youngs_optimum(cost_s: float, hours: float) -> None:
    mtbf_s = hours * 3600
    assert mean_time_between_preemptions_s(preemptions=1, compute_s=2 * mtbf_s - PRIOR_S) == mtbf_s
    assert automatic_interval_s(cost_s=cost_s, durable_s=0, mean_time_between_preemptions_s=mtbf_s) == pytest.approx(
        math.sqrt(2 * cost_s * mtbf_s)
    )


def test_before_the_first_save_it_is_the_shortest() -> None:
    assert automatic_interval_s(cost_s=None, durable_s=0, mean_time_between_preemptions_s=PRIOR_S) == 30
