"""Generated capacity has the means that were stated."""

from __future__ import annotations

from datetime import timedelta

import pytest

from spot.simulation.trace_generator import generated
from spot.simulation.traces import Trace

HOUR = timedelta(hours=1)


def trace(seed: int = 1) -> Trace:
    return generated(["us-central1", "us-east4"], between=4 * HOUR, outage=HOUR, length=5000 * HOUR, seed=seed)


def test_up_and_down_times_have_the_stated_means() -> None:
    ups = trace().up("us-central1", 8)
    assert sum(end - begin for begin, end in ups) / len(ups) == pytest.approx(240, rel=0.1)
    assert sum(end - begin for begin, end in ups) / 300_000 == pytest.approx(0.8, rel=0.05)


def test_regions_and_seeds_differ_and_a_seed_says_it_all() -> None:
    assert trace() == trace()
    assert trace().up("us-central1", 1) != trace().up("us-east4", 1)
    assert trace().up("us-central1", 1) != trace(seed=2).up("us-central1", 1)


def test_it_has_no_gaps() -> None:
    assert trace().known(["us-central1", "us-east4"]) == ((0, 300_000),)
    assert trace().doubts(["us-central1", "us-east4"]) is None
