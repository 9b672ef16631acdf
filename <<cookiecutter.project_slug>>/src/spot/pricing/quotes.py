"""What an hour costs as Vertex AI bills it, by region and provisioning: the machine, its GPUs and its boot disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from spot.core.run import Machine, Provisioning
from spot.pricing.table import DISK, PriceTable, Rate, packaged

FEE = 0.15
"""Vertex AI's share of the on-demand price; it is not discounted on spot."""
OLD = timedelta(days=35)
"""Google changes spot prices once a month at most: an older table may be wrong."""

_GPU_INCLUDED = ("a2-", "a3-", "a4-", "g2-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """$/h of one machine in one region, the fee included."""

    region: str
    on_demand: float
    """Of the machine with its GPUs, as price lists have it."""
    spot: float
    disk: float
    """Of the boot disk, which comes on top and is not discounted."""
    dated: date | None
    """The oldest day that is known, of the prices of machine and GPUs."""
    undated: tuple[str, ...]
    """The resources among these whose price has no day."""
    sources: tuple[str, ...]
    """Whose tables they are from."""

    def usd_per_hour(self, provisioning: Provisioning) -> float:
        """Everything. FLEX_START counts as spot: nothing better is known."""
        return self.disk + (self.on_demand if provisioning is Provisioning.ON_DEMAND else self.spot)


def quote(machine: Machine, region: str, table: PriceTable | None = None) -> Quote | None:
    """None if something of it has no known price. Without a `table`, from that of the package."""
    table = table or packaged()
    parts = {machine.type: 1}
    if machine.accelerator and not machine.type.startswith(_GPU_INCLUDED):
        parts[machine.accelerator] = machine.accelerator_count
    rates: dict[str, Rate] = {}
    for resource in parts:
        if (rate := table.rate(resource, region)) is None:
            return None
        rates[resource] = rate
    disk = table.rate(DISK, region)
    if disk is None:
        return None
    on_demand = sum(rates[resource].on_demand * count for resource, count in parts.items())
    spot = sum(rates[resource].spot * count for resource, count in parts.items())
    return Quote(
        region=region,
        on_demand=on_demand + FEE * on_demand,
        spot=spot + FEE * on_demand,
        disk=disk.on_demand * (1 + FEE) * machine.boot_disk_gb,
        dated=min((rate.dated for rate in rates.values() if rate.dated), default=None),
        undated=tuple(resource for resource, rate in rates.items() if rate.dated is None),
        sources=tuple(dict.fromkeys(rate.source for rate in rates.values())),
    )


def quotes(machine: Machine, regions: Iterable[str], table: PriceTable) -> list[Quote]:
    """Of the regions that have one, the cheapest on spot first."""
    found = (quote(machine, region, table) for region in regions)
    return sorted(filter(None, found), key=lambda one: (one.spot, one.on_demand, one.region))


def by_region(
    machine: Machine, regions: Iterable[str], table: PriceTable | None = None
) -> Mapping[str, Mapping[Provisioning, float]]:
    """Every known price, as `PolicyConfig` wants them; a region without one is left out."""
    found = (quote(machine, region, table) for region in regions)
    return {one.region: {kind: one.usd_per_hour(kind) for kind in Provisioning} for one in found if one}


def age_warning(quotes: Iterable[Quote], now: datetime) -> str | None:
    """One line if the oldest of these prices may be wrong by now."""
    days = [one.dated for one in quotes if one.dated]
    if not days or now.date() - min(days) <= OLD:
        return None
    age = (now.date() - min(days)).days
    return f"prices of {min(days)} are {age} days old, and spot prices change monthly: spot prices --refresh"


def described(machine: Machine) -> str:
    """`n1-standard-8 with 2 x NVIDIA_TESLA_T4`."""
    if not machine.accelerator:
        return machine.type
    count = f"{machine.accelerator_count} x " if machine.accelerator_count > 1 else ""
    return f"{machine.type} with {count}{machine.accelerator}"
