"""Prices of today from Google's Billing Catalog: SKUs of Compute Engine, put together to machines, GPUs and disks."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from spot.core import fields
from spot.core.errors import Exit, SpotError
from spot.google import billing
from spot.google.machine_types import ATTACHABLE_GPUS, CATALOGUE_GPUS, PRICED, MachineParts
from spot.google.rest import GoogleApiError
from spot.pricing.table import DISK, FILE, Rate, Rates

HOURS_OF_A_MONTH = 730
"""What Google divides a monthly price by."""

_CORE, _RAM, _SSD = "core", "ram", "local ssd"
_UNITS = {"h": 1.0, "GiBy.h": 1.0, "GiBy.mo": 1 / HOURS_OF_A_MONTH}
_SPOT = r"(?P<spot>(?:spot )?preemptible )?"
_ATTACHED_TO_SPOT = r"(?P<spot> attached to spot preemptible vms)?"
_INSTANCE = re.compile(_SPOT + r"(?P<series>n1 predefined|n2|e2|g2|a2|a3) instance (?P<what>core|ram) running in .+")
_GPU = re.compile(rf"nvidia (?P<gpu>{'|'.join(CATALOGUE_GPUS)}) gpu{_ATTACHED_TO_SPOT} running in .+")
_LOCAL = re.compile(rf"ssd backed local storage{_ATTACHED_TO_SPOT}(?: (?:running )?in .+)?")
_BOOT = re.compile(r"ssd backed pd capacity(?: in .+)?")


class CatalogError(SpotError):
    """Report a price catalogue that was not read; the table keeps its prices."""

    def __init__(self, reason: str, *, exit_code: Exit = Exit.USAGE, fix: str = "") -> None:
        message = f"Google's price catalogue was not read: {reason}; the old prices stay"
        super().__init__(message, exit_code=exit_code, fix=fix)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the catalogue had."""

    rates: Rates
    read: int
    """SKUs in all."""
    used: int
    unreadable: int
    """SKUs of a resource that we price, whose price is not in a form that is known."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What a SKU prices."""

    what: str
    """A GPU's name, or one of those above."""
    series: str
    """Of a core or of memory; empty otherwise."""
    spot: bool


_Prices = Mapping[tuple[_Part, str], float]
"""$/h of one of each, by region."""


def ask(today: date, *, sleep: Callable[[float], None] = time.sleep) -> Found:
    """All prices that we know to read. Raises `CatalogError`, also for a list that breaks off."""
    try:
        found = rates(billing.skus(sleep=sleep), today)
    except (GoogleApiError, billing.Endless) as error:
        raise CatalogError(error.message, exit_code=error.exit_code, fix=error.fix) from error
    if not found.read:
        raise CatalogError("it is empty", exit_code=Exit.AGAIN)
    if not found.rates:
        raise CatalogError(f"none of its {found.read} SKUs is of a known machine")
    return found


def rates(skus: Iterable[Any], today: date) -> Found:
    """The rates of every machine type, attached GPU and disk whose parts all have a price, on demand and on spot.

    A SKU is a protocol buffer of google.cloud.billing.v1, as `billing.skus` gives it.
    """
    prices: dict[tuple[_Part, str], float] = {}
    read = used = unreadable = 0
    for sku in skus:
        read += 1
        if (part := _part(sku)) is None:
            continue
        try:
            regions, price = _price(sku, part)
        except (LookupError, ValueError):
            unreadable += 1
            continue
        used += 1
        for region in regions:  # of two SKUs for the same the dearer one counts: a budget must hold
            prices[part, region] = max(price, prices.get((part, region), 0.0))
    return Found(rates=_assembled(prices, today), read=read, used=used, unreadable=unreadable)


def _part(sku: Any) -> _Part | None:
    """None for what we do not price, commitments and reservations included."""
    said, usage = sku.description.lower(), sku.category.usage_type
    if usage not in {"OnDemand", "Preemptible"}:
        return None
    # The catalogue counts some spot SKUs as OnDemand, so that what they are called has to count too.
    preemptible = usage == "Preemptible"
    if found := _INSTANCE.fullmatch(said):
        return _Part(found["what"], found["series"], preemptible or bool(found["spot"]))
    if found := _GPU.fullmatch(said):
        return _Part(CATALOGUE_GPUS[found["gpu"]], "", preemptible or bool(found["spot"]))
    if found := _LOCAL.fullmatch(said):
        return _Part(_SSD, "", preemptible or bool(found["spot"]))
    return _Part(DISK, "", spot=False) if _BOOT.fullmatch(said) else None


def _price(sku: Any, part: _Part) -> tuple[list[str], float]:
    """Its regions and $/h. Raises `LookupError` or `ValueError` if it is not in the form that is documented."""
    expression = sku.pricing_info[-1].pricing_expression  # a timeline, the newest last
    (tier,) = expression.tiered_rates
    money, unit = tier.unit_price, expression.usage_unit
    if money.currency_code != "USD":
        raise ValueError(money.currency_code)
    if (unit == "h") != (part.what not in {_RAM, _SSD, DISK}):
        raise ValueError(unit)
    price = (money.units + money.nanos / 1e9) * _UNITS[unit]
    if not 0 < price < 1e6:
        raise ValueError(price)
    return [region for region in sku.service_regions if fields.REGION.fullmatch(region)], price


def _assembled(prices: _Prices, today: date) -> Rates:
    rates: dict[tuple[str, str], Rate] = {}
    for region in sorted({region for _, region in prices}):
        for name, parts in PRICED.items():
            both = [_machine(prices, parts, region, spot=spot) for spot in (False, True)]
            _add(rates, name, region, both, today)
        for gpu in ATTACHABLE_GPUS:
            both = [prices.get((_Part(gpu, "", spot), region)) for spot in (False, True)]
            _add(rates, gpu, region, both, today)
        disk = prices.get((_Part(DISK, "", spot=False), region))
        _add(rates, DISK, region, [disk, disk], today)
    return rates


def _add(rates: dict[tuple[str, str], Rate], resource: str, region: str, both: list[float | None], today: date) -> None:
    on_demand, spot = both
    if on_demand is not None and spot is not None:
        rates[resource, region] = Rate(on_demand=on_demand, spot=spot, dated=today, source=FILE)


def _machine(prices: _Prices, parts: MachineParts, region: str, *, spot: bool) -> float | None:
    """None if one of its parts has no price here: without its GPU a machine would be far too cheap."""
    core = prices.get((_Part(_CORE, parts.series, spot), region))
    ram = prices.get((_Part(_RAM, parts.series, spot), region))
    gpu = prices.get((_Part(parts.gpu, "", spot), region)) if parts.gpu else 0.0
    ssd: float | None = 0.0
    if parts.local_ssd_gib:
        on_demand = prices.get((_Part(_SSD, "", spot=False), region))
        ssd = prices.get((_Part(_SSD, "", spot), region)) or on_demand  # not every region has a discount for it
    if core is None or ram is None or gpu is None or ssd is None:
        return None
    return core * parts.vcpus + ram * parts.ram_gib + gpu * parts.gpus + ssd * parts.local_ssd_gib
