"""Assemble today's prices of machines, GPUs and disks from the SKUs of Google's Cloud Billing Catalog."""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum, auto
from itertools import chain, product
from typing import Any

from spot.core import fields
from spot.core.errors import Exit, SpotError
from spot.google.machine_types import ATTACHABLE_GPUS, CATALOGUE_GPUS, PRICED, SERIES
from spot.google.rest import GoogleApi, GoogleApiError
from spot.pricing.table import DISK, MAX_USD_PER_HOUR, Rate, Rates

SKUS = "v1/services/6F81-5844-456A/skus"
"""Of Compute Engine; its prices are at most 12 hours old (https://cloud.google.com/billing/docs/reference/rest)."""
FEES = "v1/services/C7E2-9256-1C43/skus"
"""Of Vertex AI, which has the management fee of each part."""
MAX_PAGES = 100
"""Ten times as many as the catalogue has."""
_CORE, _RAM, _SSD = "core", "ram", "local ssd"
GPU_ALONE = "gpu alone"
"""The series of machines whose GPUs are priced with all other parts of the machine."""
_UNITS = {"h": 1.0, "GiBy.h": 1.0, "GiBy.mo": 1 / 730}
"""Factors to a price for an hour; Google converts a month as 730 hours."""
_MODE = re.compile(
    r"vertex ai: training/pipelines (?P<fee>management fee) on (?:nvidia )?|(?P<spot>(?:spot )?preemptible )"
    r"|(?P<flex>dws defined duration )"
    r"| attached to (?:(?P<on_spot>spot preemptible)|(?P<on_flex>dws defined duration)) vms"
)
"""What a description says about the provisioning."""
_WHERE = r"(?: (?:running )?in .+)"
_INSTANCE = re.compile(rf"(?P<series>{'|'.join(SERIES)})(?: predefined)? (?:instance )?(?P<what>core|ram){_WHERE}")
_GPU = re.compile(rf"(?:nvidia )?(?P<gpu>{'|'.join(map(re.escape, CATALOGUE_GPUS))})(?: gpu)?{_WHERE}")
_LOCAL = re.compile(rf"ssd backed local storage{_WHERE}?")
_BOOT = re.compile(r"ssd backed pd capacity(?: in .+)?")


class CatalogError(SpotError):
    """Report a price catalogue that was not read; the table keeps its prices."""

    def __init__(self, reason: str, *, exit_code: Exit = Exit.USAGE, fix: str = "") -> None:
        message = f"Google's price catalogue was not read, the old prices stay: {reason}"
        super().__init__(message, exit_code=exit_code, fix=fix)


class _Mode(StrEnum):
    ON_DEMAND = auto()
    SPOT = auto()
    FLEX_START = auto()
    FEE = auto()


@dataclass(frozen=True, slots=True)
class _Part:
    what: str
    """A GPU, `_CORE`, `_RAM`, `_SSD` or `DISK`."""
    series: str
    """The machine series of a core or of memory, else empty."""
    mode: _Mode


_Prices = dict[tuple[_Part, str], float]
"""$/h of one unit, by part and region."""


def fetch(today: date) -> Rates:
    """Return the prices of today. Raise `CatalogError`, also for an incomplete list."""
    try:
        api = GoogleApi.open()
        found = rates(chain(_skus(api, SKUS), _fees(api)), today)
    except SpotError as error:
        raise CatalogError(error.message, exit_code=error.exit_code, fix=error.fix) from error
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CatalogError(f"an answer without a list of SKUs ({error})", exit_code=Exit.AGAIN) from error
    if not found:
        raise CatalogError("none of its SKUs belongs to a known machine", exit_code=Exit.AGAIN)
    return found


def rates(skus: Iterable[Mapping[str, Any]], today: date) -> Rates:
    """Return the rates of machines, GPUs and disks whose parts all have both prices."""
    prices: _Prices = {}
    for sku in skus:
        if (part := _part(sku)) is None:
            continue
        with contextlib.suppress(LookupError, ValueError):  # an undocumented form
            regions, price = _price(sku, part)
            for region in regions:  # the highest price counts, because a budget must hold
                prices[part, region] = max(price, prices.get((part, region), 0.0))
    found: dict[tuple[str, str], Rate] = {}
    for region, resource in product({region for _, region in prices}, (*PRICED, *ATTACHABLE_GPUS, DISK)):
        on_demand, spot, flex_start, fee = (_usd(prices, resource, region, mode) for mode in _Mode)
        if on_demand is not None and spot is not None:
            found[resource, region] = Rate(on_demand=on_demand, spot=spot, dated=today, flex_start=flex_start, fee=fee)
    return found


def _skus(api: GoogleApi, path: str) -> Iterator[Mapping[str, Any]]:
    pages = api.pages("cloudbilling", path, {"currencyCode": "USD", "pageSize": "5000"})
    for number, page in enumerate(pages):
        if number == MAX_PAGES:
            raise SpotError(f"the list of SKUs does not end after {MAX_PAGES} pages")
        yield from page.get("skus", ())


def _fees(api: GoogleApi) -> Iterator[Mapping[str, Any]]:
    """Yield the SKUs of Vertex AI, none if Google has renamed the service: then the usual share counts."""
    try:
        yield from _skus(api, FEES)
    except GoogleApiError as error:
        if error.status != 404:
            raise


def _part(sku: Mapping[str, Any]) -> _Part | None:
    """Return the part that the SKU prices, None for commitments, reservations and other resources."""
    said, usage = sku.get("description", "").lower(), sku.get("category", {}).get("usageType")
    if usage not in {"OnDemand", "Preemptible"}:
        return None
    modes = {name for mode in _MODE.finditer(said) for name, text in mode.groupdict().items() if text}
    said = _MODE.sub("", said)
    found = _INSTANCE.fullmatch(said) or _GPU.fullmatch(said) or _LOCAL.fullmatch(said)
    if found is None:
        return _Part(DISK, "", _Mode.ON_DEMAND) if _BOOT.fullmatch(said) else None
    mode = _Mode.ON_DEMAND
    if "fee" in modes:
        mode = _Mode.FEE
    elif modes & {"flex", "on_flex"}:
        mode = _Mode.FLEX_START
    elif modes or usage == "Preemptible":  # the catalogue files some spot SKUs under OnDemand
        mode = _Mode.SPOT
    groups = found.groupdict()
    what = groups.get("what") or CATALOGUE_GPUS.get(groups.get("gpu", ""), _SSD)
    return _Part(what, groups.get("series", ""), mode)


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


def _usd(prices: _Prices, resource: str, region: str, mode: _Mode) -> float | None:
    """Return the $/h of a resource, None if the price of any part is unknown."""

    def price(what: str, series: str = "", mode: _Mode = mode) -> float | None:
        return prices.get((_Part(what, series, mode), region))

    if resource == DISK:
        return price(DISK, mode=_Mode.ON_DEMAND) if mode in {_Mode.ON_DEMAND, _Mode.SPOT} else None
    if resource not in PRICED:
        return price(resource)
    parts = PRICED[resource]
    all_in_gpu = parts.series == GPU_ALONE
    core, ram = (0.0, 0.0) if all_in_gpu else (price(_CORE, parts.series), price(_RAM, parts.series))
    gpu = price(parts.gpu) if parts.gpu else 0.0
    # Some regions do not discount local SSD, and bills show no fee on it.
    ssd = price(_SSD) or (price(_SSD, mode=_Mode.ON_DEMAND) if mode is not _Mode.FEE else 0.0)
    ssd = ssd if parts.local_ssd_gib else 0.0
    if core is None or ram is None or gpu is None or ssd is None:
        return None
    return core * parts.vcpus + ram * parts.ram_gib + gpu * parts.gpus + ssd * parts.local_ssd_gib
