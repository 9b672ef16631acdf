"""Read and write the price tables: the packaged prices of Compute Engine, and the project's own on top."""

import contextlib
import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path

from spot.core import fields
from spot.core.errors import SpotError
from spot.storage.text import read_text

FILE = "prices.csv"
"""The project's own table, beside spot.toml."""
DISK = "pd-ssd"
"""A GB of boot disk. All other resources are machine types, and GPUs by their names in Vertex AI."""
EVERYWHERE = "*"
"""Stands for every region."""
HEADER = ("resource", "region", "on_demand_usd_per_hour", "spot_usd_per_hour", "dated")
MORE = ("flex_start_usd_per_hour", "fee_usd_per_hour")
"""Optional columns, empty where the price is not known."""
MAX_USD_PER_HOUR = 1e6

_REPAIR = "correct the file, or rewrite it with spot prices --refresh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Hold the $/h of one resource in one region, before the fee of Vertex AI."""

    on_demand: float
    spot: float
    dated: date | None
    flex_start: float | None = None
    fee: float | None = None
    """The fee of Vertex AI, on any provisioning."""


Rates = Mapping[tuple[str, str], Rate]
"""By resource and region."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    rates: Rates

    def rate(self, resource: str, region: str) -> Rate | None:
        """Return the rate in the region, else the rate of every region, else None."""
        return self.rates.get((resource, region)) or self.rates.get((resource, EVERYWHERE))

    def regions(self, resource: str) -> list[str]:
        return sorted(region for name, region in self.rates if name == resource and region != EVERYWHERE)


@cache
def packaged() -> PriceTable:
    """Return the prices in assets; assets/README.md states their source."""
    text = (files("spot.pricing") / "assets" / "gce_prices.csv").read_text(encoding="utf-8")
    return PriceTable(rates=parse(text, "gce_prices.csv"))


def beside(folder: Path) -> PriceTable:
    """Return the packaged prices with the table in `folder`, if any, on top. Raise `SpotError`."""
    return PriceTable(rates={**packaged().rates, **_own(folder)})


def _own(folder: Path) -> Rates:
    path = folder / FILE
    try:
        return parse(read_text(path, _REPAIR), str(path))
    except FileNotFoundError:
        return {}


def parse(text: str, name: str) -> Rates:
    """Parse a table that `written` made; messages start with `name`. Raise `SpotError`."""
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    rates: dict[tuple[str, str], Rate] = {}
    try:
        header = next(lines, [])
        if tuple(header) not in {HEADER, HEADER + MORE}:
            raise ValueError(f"the header is {fields.shown(','.join(header))}, not {','.join(HEADER)}")
        for row in filter(None, lines):
            resource, region, rate = _line(row, len(header))
            if (resource, region) in rates:
                raise ValueError(f"{resource} has a price in {region} already")
            rates[resource, region] = rate
        if not rates:
            raise ValueError("the table has no prices")
    except (csv.Error, ValueError) as error:
        raise SpotError(f"{name}, line {lines.line_num}: {error}", fix=_REPAIR) from None
    return rates


def written(rates: Rates) -> str:
    """Return the rates as CSV, sorted, so that a diff shows only changed prices."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER + MORE)
    for (resource, region), rate in sorted(rates.items()):
        dated = rate.dated.isoformat() if rate.dated else ""
        more = ("" if usd is None else f"{usd:.12g}" for usd in (rate.flex_start, rate.fee))
        writer.writerow((resource, region, f"{rate.on_demand:.12g}", f"{rate.spot:.12g}", dated, *more))
    return text.getvalue()


def save(fresh: Rates, folder: Path) -> None:
    """Put prices on top of the table in `folder`; replace an unreadable table. Raise `SpotError`."""
    path, rates = folder / FILE, fresh
    with contextlib.suppress(SpotError):
        rates = {**_own(folder), **fresh}
    staged = path.with_suffix(".tmp")
    try:
        staged.write_text(written(rates), encoding="utf-8")
        staged.replace(path)
    except OSError as error:
        raise SpotError(
            f"{path} cannot be written ({error.strerror}), the old prices stay", fix="check its permissions"
        ) from error


def _line(row: list[str], columns: int) -> tuple[str, str, Rate]:
    """Return resource, region and rate. Raise `ValueError`."""
    if len(row) != columns:
        raise ValueError(f"expected {columns} values, not {len(row)}")
    resource, region, on_demand, spot, dated, *more = row
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,63}", resource):
        raise ValueError(f"resource is {fields.shown(resource)}: expected a machine type, a GPU or {DISK}")
    if region != EVERYWHERE and not fields.REGION.fullmatch(region):
        raise ValueError(f"region is {fields.shown(region)}: expected a region like us-central1, or {EVERYWHERE}")
    usd = _price(on_demand, HEADER[2]), _price(spot, HEADER[3])
    flex_start, fee = (_price(text, name) if text else None for text, name in zip(more or ("", ""), MORE, strict=True))
    rate = Rate(on_demand=usd[0], spot=usd[1], dated=_day(dated), flex_start=flex_start, fee=fee)
    return resource, region, rate


def _price(text: str, column: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < (price := float(text)) < MAX_USD_PER_HOUR:
            return price
    raise ValueError(f"{column} is {fields.shown(text)}: expected a number of dollars above 0")


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise ValueError(f"dated is {fields.shown(text)}: expected a date such as 2026-07-30, or nothing") from None
