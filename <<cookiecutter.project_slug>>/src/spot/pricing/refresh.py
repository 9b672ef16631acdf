"""Assemble today's prices of machines, GPUs and disks from the SKUs of Google's Cloud Billing Catalog."""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import product
from typing import Any

from spot.core import fields
from spot.core.errors import Exit, SpotError
from spot.google.machine_types import ATTACHABLE_GPUS, CATALOGUE_GPUS, PRICED
from spot.google.rest import GoogleApi
from spot.pricing.table import DISK, FILE, MAX_USD_PER_HOUR, Rate, Rates

SKUS = "v1/services/6F81-5844-456A/skus"
"""Of Compute Engine; its prices are at most 12 hours old (https://cloud.google.com/billing/docs/reference/rest)."""
MAX_PAGES = 100
"""Ten times as many as the catalogue has."""
_CORE, _RAM, _SSD = "core", "ram", "local ssd"
_UNITS = {"h": 1.0, "GiBy.h": 1.0, "GiBy.mo": 1 / 730}
"""Factors to a price for an hour; Google converts a month as 730 hours."""
_SPOT = r"(?P<spot>(?:spot )?preemptible )?"
_ATTACHED_TO_SPOT = r"(?P<spot> attached to spot preemptible vms)?"
_INSTANCE = re.compile(_SPOT + r"(?P<series>n1 predefined|n2|e2|g2|a2|a3) instance (?P<what>core|ram) running in .+")
_GPU = re.compile(rf"nvidia (?P<gpu>{'|'.join(CATALOGUE_GPUS)}) gpu{_ATTACHED_TO_SPOT} running in .+")
_LOCAL = re.compile(rf"ssd backed local storage{_ATTACHED_TO_SPOT}(?: (?:running )?in .+)?")
_BOOT = re.compile(r"ssd backed pd capacity(?: in .+)?")


class CatalogError(SpotError):
    """Report a price catalogue that was not read; the table keeps its prices."""

    def __init__(self, reason: str, *, exit_code: Exit = Exit.USAGE, fix: str = "") -> None:
        message = f"Google's price catalogue was not read, the old prices stay: {reason}"
        super().__init__(message, exit_code=exit_code, fix=fix)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogPrices:
    """Hold the prices in the catalogue, and counts of its SKUs."""

    rates: Rates
    read: int
    used: int
    unreadable: int
    """SKUs of a priced resource whose price has an unknown form."""


@dataclass(frozen=True, slots=True)
class _Part:
    what: str
    """A GPU, `_CORE`, `_RAM`, `_SSD` or `DISK`."""
    series: str
    """The machine series of a core or of memory, else empty."""
    spot: bool


_Prices = dict[tuple[_Part, str], float]
"""$/h of one unit, by part and region."""


def fetch(today: date, *, sleep: Callable[[float], None] = time.sleep) -> CatalogPrices:
    """Return the prices of today. Raise `CatalogError`, also for an incomplete list."""
    try:
        found = rates(_skus(GoogleApi.open(sleep=sleep)), today)
    except SpotError as error:
        raise CatalogError(error.message, exit_code=error.exit_code, fix=error.fix) from error
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CatalogError(f"an answer without a list of SKUs ({error})", exit_code=Exit.AGAIN) from error
    if not found.read:
        raise CatalogError("it is empty", exit_code=Exit.AGAIN)
    if not found.rates:
        raise CatalogError(f"none of its {found.read} SKUs belongs to a known machine")
    return found


def rates(skus: Iterable[Mapping[str, Any]], today: date) -> CatalogPrices:
    """Return the rates of machines, GPUs and disks whose parts all have both prices."""
    prices: _Prices = {}
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
        for region in regions:  # the highest price counts, because a budget must hold
            prices[part, region] = max(price, prices.get((part, region), 0.0))
    found: dict[tuple[str, str], Rate] = {}
    for region, resource in product({region for _, region in prices}, (*PRICED, *ATTACHABLE_GPUS, DISK)):
        on_demand, spot = (_usd(prices, resource, region, spot=spot) for spot in (False, True))
        if on_demand is not None and spot is not None:
            found[resource, region] = Rate(on_demand=on_demand, spot=spot, dated=today, source=FILE)
    return CatalogPrices(rates=found, read=read, used=used, unreadable=unreadable)


def _skus(api: GoogleApi) -> Iterator[Mapping[str, Any]]:
    pages = api.pages("cloudbilling", SKUS, {"currencyCode": "USD", "pageSize": "5000"})
    for number, page in enumerate(pages):
        if number == MAX_PAGES:
            raise SpotError(f"the list of SKUs does not end after {MAX_PAGES} pages")
        yield from page.get("skus", ())


def _part(sku: Mapping[str, Any]) -> _Part | None:
    """Return the part that the SKU prices, None for commitments, reservations and other resources."""
    said, usage = sku.get("description", "").lower(), sku.get("category", {}).get("usageType")
    if usage not in {"OnDemand", "Preemptible"}:
        return None
    found = _INSTANCE.fullmatch(said) or _GPU.fullmatch(said) or _LOCAL.fullmatch(said)
    if found is None:
        return _Part(DISK, "", spot=False) if _BOOT.fullmatch(said) else None
    groups = found.groupdict()
    what = groups.get("what") or CATALOGUE_GPUS.get(groups.get("gpu", ""), _SSD)
    # The catalogue files some spot SKUs under OnDemand: the description counts as well.
    return _Part(what, groups.get("series", ""), usage == "Preemptible" or bool(groups["spot"]))


def _price(sku: Mapping[str, Any], part: _Part) -> tuple[list[str], float]:
    """Return regions and $/h. Raise `LookupError` or `ValueError` for an undocumented form."""
    expression = sku["pricingInfo"][-1]["pricingExpression"]  # a timeline, the newest last
    (tier,) = expression["tieredRates"]
    money, unit = tier["unitPrice"], expression["usageUnit"]
    if money["currencyCode"] != "USD":
        raise ValueError(money["currencyCode"])
    if (unit == "h") != (part.what not in {_RAM, _SSD, DISK}):
        raise ValueError(unit)
    price = (int(money.get("units", 0)) + money.get("nanos", 0) / 1e9) * _UNITS[unit]
    if not 0 < price < MAX_USD_PER_HOUR:
        raise ValueError(price)
    return [region for region in sku["serviceRegions"] if fields.REGION.fullmatch(region)], price


def _usd(prices: _Prices, resource: str, region: str, *, spot: bool) -> float | None:
    """Return the $/h of a resource, None if the price of any part is unknown."""

    def price(what: str, series: str = "", *, spot: bool = spot) -> float | None:
        return prices.get((_Part(what, series, spot and what != DISK), region))

    if resource not in PRICED:
        return price(resource)
    parts = PRICED[resource]
    core, ram = price(_CORE, parts.series), price(_RAM, parts.series)
    gpu = price(parts.gpu) if parts.gpu else 0.0
    # Some regions do not discount local SSD.
    ssd = (price(_SSD) or price(_SSD, spot=False)) if parts.local_ssd_gib else 0.0
    if core is None or ram is None or gpu is None or ssd is None:
        return None
    return core * parts.vcpus + ram * parts.ram_gib + gpu * parts.gpus + ssd * parts.local_ssd_gib
