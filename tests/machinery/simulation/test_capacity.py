"""Test the capacity of a forecast, and that every substitute for a region of the run is named."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from spot.core.errors import SpotError
from spot.core.run import Machine
from spot.simulation.capacity import Supply, assumed, from_file, measured
from spot.simulation.traces import Trace, shipped, windows
from tests.machinery.simulation import forecasted

L4 = Machine(type="g2-standard-8", accelerator="NVIDIA_L4", accelerator_count=1, boot_disk_gb=100)
H100 = Machine(type="a3-highgpu-8g", accelerator="NVIDIA_H100_80GB", accelerator_count=8, boot_disk_gb=100)
CPU = Machine(type="n2-standard-8", accelerator=None, accelerator_count=0, boot_disk_gb=100)

HOUR = timedelta(hours=1)


def test_what_was_measured_is_used_as_it_is() -> None:
    supply = measured(shipped(), H100, ["us-east4", "us-central1"])
    assert supply.trace.series["us-east4"] == shipped().series["us-east4"]
    assert supply.machines == 8
    assert len(supply.notes) == 1
    assert "has 1 gap" in supply.notes[0]


def test_substitutes_for_a_gpu_or_region_are_named() -> None:
    supply = measured(shipped(), L4, ["us-west1", "us-central1"])
    assert supply.notes[:2] == (
        "no capacity was measured for NVIDIA_L4: that of NVIDIA_H100_80GB is used",
        "no capacity was measured in us-west1: that of us-east4 is used",
    )
    assert supply.trace.regions == ("us-west1", "us-central1")
    assert supply.trace.series["us-west1"] == shipped().series["us-east4"]


def test_a_machine_without_a_gpu_needs_one_at_a_time() -> None:
    supply = measured(shipped(), CPU, ["us-central1"])
    assert supply.machines == 1
    assert supply.notes[0].startswith("no capacity was measured for n2-standard-8 without a GPU")


def test_several_machines_need_all_their_gpus_together() -> None:
    assert measured(shipped(), replace(H100, count=2), ["us-east4"]).machines == 16
    assert measured(shipped(), replace(CPU, count=3), ["us-east4"]).machines == 3


def test_more_gpus_than_were_ever_counted_are_refused_instead_of_never_started() -> None:
    with pytest.raises(
        SpotError, match=r"counts at most 16 .* and 3 x a3-highgpu-8g with 8 x NVIDIA_H100_80GB needs 24 t"
    ):
        measured(shipped(), replace(H100, count=3), ["us-east4"])


def test_generated_preemptions_are_those_of_each_machine() -> None:
    def mean_up_minutes(count: int) -> float:
        supply = assumed(
            ["us-central1"], replace(L4, count=count), between=4 * HOUR, outage=HOUR, deadline=500 * HOUR, seed=1
        )
        ups = supply.trace.up("us-central1", supply.machines)
        return sum(end - begin for begin, end in ups) / len(ups)

    assert mean_up_minutes(1) == pytest.approx(240, rel=0.1)
    assert mean_up_minutes(4) == pytest.approx(60, rel=0.1)


def test_no_region_stands_for_two() -> None:
    with pytest.raises(SpotError, match=r"in us-west5, and that of us-central1, .* is used already"):
        measured(shipped(), H100, [f"us-west{number}" for number in range(1, 6)])


def test_a_file_of_ones_own_must_have_the_regions() -> None:
    assert from_file(forecasted.TRACE, L4, ["us-central1"]).notes == ()
    with pytest.raises(SpotError, match="no region 'us-east4' in this trace, only us-central1"):
        from_file(forecasted.TRACE, L4, ["us-central1", "us-east4"])


def imagined(between: timedelta, outage: timedelta, deadline: timedelta) -> Supply:
    return assumed(["us-central1"], L4, between=between, outage=outage, deadline=deadline, seed=0)


def test_generated_capacity_says_that_it_is_and_is_long_enough() -> None:
    deadline = timedelta(days=30)
    supply = imagined(timedelta(hours=3), timedelta(minutes=40), deadline)
    assert supply.origin == "generated: 3 h up and 40 min down on average, both exponential"
    assert supply.notes[0].endswith("expect worse than this")
    ((begin, end),) = supply.trace.known(["us-central1"])
    assert (end - begin) * timedelta(minutes=1) >= 10 * deadline


def test_generated_capacity_comes_and_goes_so_often_that_its_means_are_those_stated() -> None:
    between, outage = timedelta(days=10), timedelta(days=5)
    ups = imagined(between, outage, timedelta(days=1)).trace.up("us-central1", 1)
    assert len(ups) > 70
    longest = imagined(timedelta(hours=8760), timedelta(minutes=525_600), timedelta(hours=8760)).trace
    assert len(windows(longest, ["us-central1"], 1, 8760 * 60).drawn(1000, seed=0)) == 1000


def generated_trace(seed: int = 1) -> Trace:
    regions, deadline = ["us-central1", "us-east4"], 500 * HOUR
    return assumed(regions, L4, between=4 * HOUR, outage=HOUR, deadline=deadline, seed=seed).trace


def test_up_and_down_times_have_the_stated_means() -> None:
    ups = generated_trace().up("us-central1", 8)
    assert sum(end - begin for begin, end in ups) / len(ups) == pytest.approx(240, rel=0.1)
    assert sum(end - begin for begin, end in ups) / 300_000 == pytest.approx(0.8, rel=0.05)


def test_regions_and_seeds_differ_and_a_seed_says_it_all() -> None:
    assert generated_trace() == generated_trace()
    assert generated_trace().up("us-central1", 1) != generated_trace().up("us-east4", 1)
    assert generated_trace().up("us-central1", 1) != generated_trace(seed=2).up("us-central1", 1)


def test_it_has_no_gaps() -> None:
    assert generated_trace().known(["us-central1", "us-east4"]) == ((0, 300_000),)
    assert generated_trace().gap_warning(["us-central1", "us-east4"]) is None
