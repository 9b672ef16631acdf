"""Quote the hourly price of a machine with GPUs and boot disk, as Vertex AI bills it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from spot.core.run import Machine, Provisioning
from spot.pricing.table import DISK, PriceTable, packaged

FEE = 0.15
"""The management fee of Vertex AI, as a share of the on-demand price, where the catalogue was not read.

Spot and FLEX_START do not discount it.
"""
OLD = timedelta(days=35)
"""Google changes spot prices at most once a month, so that an older table may be wrong."""

_GPU_INCLUDED = ("a2-", "a3-", "a4-", "g2-", "g4-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Hold the $/h of all machines of an attempt in one region, including the fee."""

    region: str
    on_demand: float
    """The machines with their GPUs."""
    spot: float
    disk: float
    """The boot disks, on top of either price and never discounted."""
    flex_start: float | None
    """None if the catalogue was not read."""
    dated: date | None
    """Day of the oldest price."""

    @property
    def usd_per_hour(self) -> dict[Provisioning, float]:
        """Return machine and disk; FLEX_START only if the catalogue has its price."""
        found = zip(Provisioning, (self.spot, self.flex_start, self.on_demand), strict=True)
        return {kind: usd + self.disk for kind, usd in found if usd is not None}


def quote(machine: Machine, region: str, table: PriceTable | None = None) -> Quote | None:
    """Return the price, None if a part has no known price. The default is the packaged table."""
    table = table or packaged()
    parts = {machine.type: machine.count}
    if machine.accelerator and not machine.type.startswith(_GPU_INCLUDED):
        parts[machine.accelerator] = machine.count * machine.accelerator_count
    found = {resource: table.rate(resource, region) for resource in (*parts, DISK)}
    rates = {resource: rate for resource, rate in found.items() if rate}
    if len(rates) < len(found):
        return None
    disk = rates.pop(DISK)
    on_demand = sum(rates[resource].on_demand * count for resource, count in parts.items())
    spot = sum(rates[resource].spot * count for resource, count in parts.items())
    fee = sum(
        rates[name].on_demand * FEE * n if (one := rates[name].fee) is None else one * n for name, n in parts.items()
    )
    flex_start = [one * count for name, count in parts.items() if (one := rates[name].flex_start) is not None]
    return Quote(
        region=region,
        on_demand=on_demand + fee,
        spot=spot + fee,
        flex_start=sum(flex_start) + fee if len(flex_start) == len(parts) else None,
        disk=disk.on_demand * (1 + FEE) * machine.boot_disk_gb * machine.count,
        dated=min((rate.dated for rate in rates.values() if rate.dated), default=None),
    )


def quotes(machine: Machine, regions: Iterable[str], table: PriceTable) -> list[Quote]:
    """Return the known prices of the regions, the cheapest on spot first."""
    found = (quote(machine, region, table) for region in regions)
    return sorted(filter(None, found), key=lambda one: (one.spot, one.on_demand, one.region))


def by_region(
    machine: Machine, regions: Iterable[str], table: PriceTable | None = None
) -> Mapping[str, Mapping[Provisioning, float]]:
    """Return every known price by region and provisioning, for `PolicyConfig`; the default is the packaged table."""
    return {one.region: one.usd_per_hour for one in quotes(machine, regions, table or packaged())}


def age_warning(quotes: Iterable[Quote], now: datetime) -> str | None:
    """Return a warning if a price has a date to come, or the oldest may be outdated; else None."""
    today, days = now.date(), [one.dated for one in quotes if one.dated]
    oldest, newest = min(days, default=today), max(days, default=today)
    if newest > today + timedelta(days=1):  # another time zone may be a day ahead
        return f"prices of {newest} are dated after today, {today}: run spot prices --refresh"
    if today - oldest <= OLD:
        return None
    age = (today - oldest).days
    return f"prices of {oldest} are {age} days old and spot prices change monthly: run spot prices --refresh"


def described(machine: Machine) -> str:
    """Return the machines as text, such as `2 x n1-standard-8 with 4 x NVIDIA_TESLA_T4`."""
    machines = f"{machine.count} x {machine.type}" if machine.count > 1 else machine.type
    if not machine.accelerator:
        return machines
    count = f"{machine.accelerator_count} x " if machine.accelerator_count > 1 else ""
    return f"{machines} with {count}{machine.accelerator}"
