"""Test that a window is the capacity of a run that starts there, and spans no gap before its deadline."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from spot.core.errors import SpotError
from spot.simulation.traces import Series, Spans, Trace, Windows, windows


def trace(known: Spans = ((0, 100), (150, 300))) -> Trace:
    series = Series(minutes=(0.0, 40.0, 60.0, 180.0, 260.0), counts=(2, 0, 8, 1, 8), known=known)
    return Trace(name="t.csv", start=datetime(2026, 1, 1, tzinfo=UTC), series={"us-central1": series})


def found(minutes: int = 90, machines: int = 2) -> Windows:
    return windows(trace(), ["us-central1"], machines, minutes)


def test_random_starts_are_where_the_deadline_comes_before_the_gap_and_the_same_for_the_same_seed() -> None:
    drawn = found().drawn(1000, seed=7)
    assert set(drawn) == {*range(11), *range(150, 211)}
    assert drawn == found().drawn(1000, seed=7) != found().drawn(1000, seed=8)


def test_its_capacity_is_counted_from_submit() -> None:
    assert found().capacity(10, 90) == {"us-central1": ((0, 30), (50, 90))}
    assert found().capacity(160, 90) == {"us-central1": ((0, 20),)}


def test_after_the_end_of_a_stretch_comes_its_beginning_again() -> None:
    assert found().capacity(10, 320)["us-central1"] == ((0, 30), (50, 130), (150, 230), (250, 320))
    assert found().capacity(200, 220)["us-central1"] == ((60, 130), (210, 220))


def test_a_region_without_counts_is_named_and_not_called_too_short() -> None:
    nothing = Series(minutes=(0.0, 10.0), counts=(0, 0), known=())
    with_nothing = replace(trace(), series={**trace().series, "us-east4": nothing})
    with pytest.raises(SpotError, match=r"^t.csv: us-east4 has counts in fewer than two lines"):
        windows(with_nothing, ["us-central1", "us-east4"], 2, 90)


def test_a_trace_without_a_stretch_so_long_is_refused_with_both_lengths() -> None:
    with pytest.raises(SpotError, match=r"^t.csv: the longest stretch without a gap is 2.5 h, and the run has 3.0 h"):
        found(minutes=180)
