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
    History,
    automatic_interval_s,
    worth_withdrawing,
)

costs = st.floats(0, 1e4)
histories = st.builds(History, preemptions=st.integers(0, 1000), compute_seconds=st.floats(0, 1e7))


@given(costs, st.floats(0, 1e4), histories)
def test_it_stays_within_its_bounds(cost_s: float, durable_s: float, history: History) -> None:
    interval = automatic_interval_s(cost_s=cost_s, durable_s=durable_s, history=history)
    assert SHORTEST_S <= interval <= max(LONGEST_S, DURABLE_FACTOR * durable_s)
    assert interval >= DURABLE_FACTOR * durable_s


@given(costs, costs, histories)
def test_a_dearer_save_is_never_made_more_often(one_s: float, other_s: float, history: History) -> None:
    cheap, dear = (automatic_interval_s(cost_s=cost, durable_s=0, history=history) for cost in sorted((one_s, other_s)))
    assert cheap <= dear


@given(costs, st.floats(0, 1e6), st.integers(0, 100))
def test_more_preemptions_never_make_it_longer(cost_s: float, compute_s: float, preemptions: int) -> None:
    calm, rough = (History(preemptions=count, compute_seconds=compute_s) for count in (preemptions, preemptions + 1))
    assert automatic_interval_s(cost_s=cost_s, durable_s=0, history=calm) >= automatic_interval_s(
        cost_s=cost_s, durable_s=0, history=rough
    )


@pytest.mark.parametrize(("cost_s", "hours"), [(1.0, 2.0), (0.5, 8.0), (10.0, 0.5)])
def test_between_the_bounds_it_is_youngs_optimum(cost_s: float, hours: float) -> None:
    mtbf_s = hours * 3600
    history = History(preemptions=1, compute_seconds=2 * mtbf_s - PRIOR_S)
    assert automatic_interval_s(cost_s=cost_s, durable_s=0, history=history) == pytest.approx(
        math.sqrt(2 * cost_s * mtbf_s)
    )


def test_before_the_first_save_it_is_the_shortest() -> None:
    assert automatic_interval_s(cost_s=None, durable_s=0, history=History(preemptions=0, compute_seconds=0)) == 30


def test_a_save_in_flight_is_withdrawn_only_if_a_fresh_one_fits_into_the_grace() -> None:
    assert worth_withdrawing(fresh_s=2, remaining_s=10)
    assert not worth_withdrawing(fresh_s=12, remaining_s=10)
