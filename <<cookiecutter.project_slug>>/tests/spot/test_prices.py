"""A price is what Vertex AI bills: Compute Engine's, and a fee that is not discounted; or it is not known."""

from __future__ import annotations

import pytest

from spot.prices import by_region, usd_per_hour
from spot.run import Machine, Provisioning


def machine(kind: str, accelerator: str | None = None, count: int = 1) -> Machine:
    return Machine(type=kind, accelerator=accelerator, accelerator_count=count, boot_disk_gb=100)


N1_T4 = machine("n1-standard-8", "NVIDIA_TESLA_T4")
A2 = machine("a2-highgpu-1g", "NVIDIA_TESLA_A100")


@pytest.mark.parametrize(
    ("shape", "on_demand", "spot"),
    [
        pytest.param(N1_T4, 0.84, 0.42, id="a GPU attached to an n1 is added"),
        pytest.param(A2, 4.22, 2.48, id="the GPU of an a2 is included"),
        pytest.param(machine("g2-standard-8", "NVIDIA_L4"), 0.98, 0.61, id="and that of a g2"),
        pytest.param(machine("a3-highgpu-8g", "NVIDIA_H100_80GB", 8), 101.76, 63.88, id="and those of an a3"),
        pytest.param(machine("n1-standard-8"), 0.44, 0.19, id="without a GPU"),
        pytest.param(machine("n1-standard-8", "NVIDIA_TESLA_T4", 4), 2.05, 1.10, id="each GPU counts"),
    ],
)
def test_the_fee_is_15_percent_of_the_on_demand_price_in_any_case(
    shape: Machine, on_demand: float, spot: float
) -> None:
    assert usd_per_hour(shape, "us-central1", Provisioning.ON_DEMAND) == pytest.approx(on_demand, abs=0.005)
    assert usd_per_hour(shape, "us-central1", Provisioning.SPOT) == pytest.approx(spot, abs=0.005)


def test_flex_start_counts_as_spot() -> None:
    flex_start, spot = (usd_per_hour(A2, "us-central1", kind) for kind in (Provisioning.FLEX_START, Provisioning.SPOT))
    assert flex_start == spot is not None


@pytest.mark.parametrize(
    ("shape", "region"),
    [
        pytest.param(machine("n1-standard-7"), "us-central1", id="a machine type that is not in the table"),
        pytest.param(A2, "us-central9", id="a region that is not in the table"),
        pytest.param(N1_T4, "us-east4", id="a GPU without a price in this region"),
        pytest.param(machine("n1-standard-8", "NVIDIA_TESLA_V100"), "us-central1", id="a GPU without a price"),
    ],
)
@pytest.mark.parametrize("provisioning", Provisioning)
def test_what_is_not_known_has_no_price(shape: Machine, region: str, provisioning: Provisioning) -> None:
    assert usd_per_hour(shape, region, provisioning) is None


def test_a_table_by_region_leaves_out_what_is_not_known() -> None:
    table = by_region(N1_T4, ["us-central1", "us-east4"])

    assert set(table) == {"us-central1"}
    assert set(table["us-central1"]) == set(Provisioning)
    assert table["us-central1"][Provisioning.SPOT] == usd_per_hour(N1_T4, "us-central1", Provisioning.SPOT)
