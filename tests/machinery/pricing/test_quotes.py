"""Test that a quote is Compute Engine's price plus the undiscounted fee, or unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from spot.core.run import Machine, Provisioning
from spot.pricing.quotes import age_warning, by_region, described, quote, quotes
from spot.pricing.table import DISK, PriceTable, Rate, packaged

DAY = date(2026, 7, 30)


def machine(kind: str, accelerator: str | None = None, count: int = 1) -> Machine:
    return Machine(type=kind, accelerator=accelerator, accelerator_count=count, boot_disk_gb=100)


def usd_per_hour(machine: Machine, region: str, provisioning: Provisioning) -> float | None:
    found = quote(machine, region)
    return found.usd_per_hour[provisioning] if found else None


N1_T4 = machine("n1-standard-8", "NVIDIA_TESLA_T4")
A2 = machine("a2-highgpu-1g", "NVIDIA_TESLA_A100")
G2 = machine("g2-standard-8", "NVIDIA_L4")


@pytest.mark.parametrize(
    ("shape", "on_demand", "spot"),
    [
        pytest.param(N1_T4, 0.84, 0.42, id="a GPU attached to an n1 is added"),
        pytest.param(A2, 4.22, 2.48, id="the GPU of an a2 is included"),
        pytest.param(G2, 0.98, 0.61, id="and that of a g2"),
        pytest.param(machine("a3-highgpu-8g", "NVIDIA_H100_80GB", 8), 101.76, 63.88, id="and those of an a3"),
        pytest.param(machine("n1-standard-8"), 0.44, 0.19, id="without a GPU"),
        pytest.param(machine("n1-standard-8", "NVIDIA_TESLA_T4", 4), 2.05, 1.10, id="each GPU counts"),
    ],
)
def test_the_fee_is_15_percent_of_the_on_demand_price_in_any_case(
    shape: Machine, on_demand: float, spot: float
) -> None:
    found = quote(shape, "us-central1")
    assert found is not None
    assert found.on_demand == pytest.approx(on_demand, abs=0.005)
    assert found.spot == pytest.approx(spot, abs=0.005)


@pytest.mark.parametrize(
    ("shape", "saving"),
    [
        pytest.param(N1_T4, 0.50, id="n1-standard-8 with a T4"),
        pytest.param(G2, 0.38, id="g2-standard-8"),
        pytest.param(A2, 0.41, id="a2-highgpu-1g"),
        pytest.param(machine("a3-highgpu-8g", "NVIDIA_H100_80GB", 8), 0.37, id="a3-highgpu-8g"),
    ],
)
def test_spot_saves_less_than_its_discount(shape: Machine, saving: float) -> None:
    found = quote(shape, "us-central1")
    assert found is not None
    assert 1 - found.spot / found.on_demand == pytest.approx(saving, abs=0.005)


@pytest.mark.parametrize(
    ("gb", "usd"), [pytest.param(100, 0.0268, id="the default"), pytest.param(1000, 0.268, id="ten times as large")]
)
def test_the_boot_disk_is_billed_too_and_not_discounted(gb: int, usd: float) -> None:
    shape = Machine(type="g2-standard-8", accelerator="NVIDIA_L4", accelerator_count=1, boot_disk_gb=gb)
    found = quote(shape, "us-central1")
    assert found is not None
    assert found.disk == pytest.approx(usd, rel=0.001)
    assert usd_per_hour(shape, "us-central1", Provisioning.ON_DEMAND) == found.on_demand + found.disk
    assert usd_per_hour(shape, "us-central1", Provisioning.SPOT) == found.spot + found.disk


@pytest.mark.parametrize("shape", [N1_T4, A2, machine("n1-standard-8")])
def test_several_machines_cost_that_many_times_as_much_with_their_disks(shape: Machine) -> None:
    one, three = quote(shape, "us-central1"), quote(replace(shape, count=3), "us-central1")

    assert one
    assert three
    assert (three.on_demand, three.spot, three.disk) == pytest.approx((3 * one.on_demand, 3 * one.spot, 3 * one.disk))


def test_flex_start_has_no_price_until_the_catalogue_states_one() -> None:
    found = quote(A2, "us-central1")
    assert found
    assert Provisioning.FLEX_START not in found.usd_per_hour
    assert replace(found, flex_start=2.0).usd_per_hour[Provisioning.FLEX_START] == 2.0 + found.disk
    assert Provisioning.FLEX_START not in by_region(A2, ["us-central1"])["us-central1"]


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
    assert set(table["us-central1"]) == {Provisioning.SPOT, Provisioning.ON_DEMAND}
    assert table["us-central1"][Provisioning.SPOT] == usd_per_hour(N1_T4, "us-central1", Provisioning.SPOT)


def test_the_cheapest_region_on_spot_comes_first() -> None:
    found = quotes(G2, ["us-central1", "us-east5", "mars-north1", "europe-west4"], packaged())

    assert [one.region for one in found] == ["us-east5", "europe-west4", "us-central1"]


def test_a_price_is_as_old_as_the_oldest_of_its_parts() -> None:
    days = {"n1-standard-8": DAY, "NVIDIA_TESLA_T4": date(2026, 6, 1), DISK: date(2020, 1, 1)}

    found = quote(N1_T4, "us-central1", table(days))

    assert found is not None
    assert found.dated == date(2026, 6, 1)


@pytest.mark.parametrize(("age", "warned"), [(0, False), (35, False), (36, True)])
def test_prices_older_than_35_days_are_warned_of(age: int, warned: bool) -> None:
    now = datetime(2026, 7, 30, 23, tzinfo=UTC) + timedelta(days=age)

    warning = age_warning(quotes(G2, ["us-central1"], packaged()), now)

    assert (warning is not None) is warned
    if warning:
        assert (
            warning == "prices of 2026-07-30 are 36 days old and spot prices change monthly: run spot prices --refresh"
        )


@pytest.mark.parametrize(("day", "warned"), [(28, False), (29, False), (30, True)])
def test_a_price_dated_after_tomorrow_is_a_warning(day: int, warned: bool) -> None:
    rates = {key: replace(rate, dated=date(2026, 7, day)) for key, rate in packaged().rates.items()}

    warning = age_warning(quotes(G2, ["us-central1"], PriceTable(rates=rates)), datetime(2026, 7, 28, 23, tzinfo=UTC))

    assert (warning == "prices of 2026-07-30 are dated after today, 2026-07-28: run spot prices --refresh") is warned


def test_one_old_price_is_enough_for_a_warning() -> None:
    found = [
        one
        for day in (date(2026, 9, 1), date(2026, 7, 1), None)
        if (one := quote(G2, "us-central1", table({"g2-standard-8": day, DISK: None})))
    ]

    assert len(found) == 3
    assert "prices of 2026-07-01 are 62 days old" in (age_warning(found, datetime(2026, 9, 1, tzinfo=UTC)) or "")
    assert age_warning(found[2:], datetime(2026, 9, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        (machine("n1-standard-8"), "n1-standard-8"),
        (N1_T4, "n1-standard-8 with NVIDIA_TESLA_T4"),
        (machine("n1-standard-8", "NVIDIA_TESLA_T4", 2), "n1-standard-8 with 2 x NVIDIA_TESLA_T4"),
        (replace(N1_T4, count=3), "3 x n1-standard-8 with NVIDIA_TESLA_T4"),
        (replace(machine("n1-standard-8"), count=3), "3 x n1-standard-8"),
    ],
)
def test_a_machine_is_named_with_its_gpus(shape: Machine, said: str) -> None:
    assert described(shape) == said


def table(days: Mapping[str, date | None]) -> PriceTable:
    """Return a table with $1 for each resource in us-central1."""
    return PriceTable(
        rates={(resource, "us-central1"): Rate(on_demand=1.0, spot=0.5, dated=day) for resource, day in days.items()}
    )
