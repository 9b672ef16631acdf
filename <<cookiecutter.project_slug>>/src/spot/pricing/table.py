"""Read and write the price tables: the packaged prices of Compute Engine, and the project's own on top."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path

from spot.core import fields
from spot.core.errors import SpotError

FILE = "prices.csv"
"""The project's own table, beside spot.toml."""
DISK = "pd-ssd"
"""A GB of boot disk. All other resources are machine types, and GPUs by their names in Vertex AI."""
EVERYWHERE = "*"
"""Stands for every region."""
HEADER = ("resource", "region", "on_demand_usd_per_hour", "spot_usd_per_hour", "dated")
PACKAGE = "the package"
AHEAD = timedelta(days=1)
"""Another time zone may be a day ahead."""

_REPAIR = "correct the file, or rewrite it with spot prices --refresh"


class PriceError(SpotError):
    """Report prices that are missing or cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Hold the $/h of one resource in one region, before the fee of Vertex AI."""

    on_demand: float
    spot: float
    dated: date | None
    """None if unknown."""
    source: str
    """The file or package that states the rate."""


Rates = Mapping[tuple[str, str], Rate]
"""By resource and region."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """Hold every known rate."""

    rates: Rates

    def rate(self, resource: str, region: str) -> Rate | None:
        """Return the rate in the region, else the rate of every region, else None."""
        return self.rates.get((resource, region)) or self.rates.get((resource, EVERYWHERE))

    def regions(self, resource: str) -> list[str]:
        """Return the regions in which the resource has a price."""
        return sorted(region for name, region in self.rates if name == resource and region != EVERYWHERE)


@cache
def packaged() -> PriceTable:
    """Return the prices in assets; assets/README.md states their source."""
    text = (files("spot.pricing") / "assets" / "gce_prices.csv").read_text(encoding="utf-8")
    return PriceTable(rates=parse(text, "gce_prices.csv", PACKAGE))


def beside(folder: Path) -> PriceTable:
    """Return the packaged prices with the table in `folder`, if any, on top. Raise `PriceError`."""
    own = _own(folder)
    return PriceTable(rates={**packaged().rates, **own}) if own else packaged()


def merged(folder: Path, fresh: Rates) -> Rates:
    """Return the table in `folder` with `fresh` prices on top. An unreadable table is replaced."""
    with contextlib.suppress(PriceError):
        return {**_own(folder), **fresh}
    return fresh


def _own(folder: Path) -> Rates:
    path = folder / FILE
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise PriceError(f"{path} cannot be read ({error.strerror})", fix="check its permissions") from None
    except UnicodeDecodeError:
        raise PriceError(f"{path} is not UTF-8", fix=_REPAIR) from None
    return parse(text, str(path), FILE, datetime.now(UTC).date())


def parse(text: str, name: str, source: str, today: date | None = None) -> Rates:
    """Parse a table that `written` made; messages start with `name`. Raise `PriceError`.

    A date after `today` is refused, because such a price would never count as old.
    """
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    rates: dict[tuple[str, str], Rate] = {}
    try:
        header = next(lines, [])
        if tuple(header) != HEADER:
            raise _malformed(f"{name} begins with {fields.shown(','.join(header))}, not {','.join(HEADER)}")
        for row in filter(None, lines):
            where = f"{name}, line {lines.line_num}"
            resource, region, rate = _line(row, where, source)
            if today and rate.dated and rate.dated > today + AHEAD:
                raise _malformed(f"{where}: dated is {rate.dated}, after today, {today}")
            if (resource, region) in rates:
                raise _malformed(f"{where}: {resource} has a price in {region} already")
            rates[resource, region] = rate
    except csv.Error as error:
        raise _malformed(f"{name}, line {lines.line_num} is not CSV ({error})") from None
    if not rates:
        raise _malformed(f"{name} has no prices")
    return rates


def written(rates: Rates) -> str:
    """Return the rates as CSV, sorted, so that a diff shows only changed prices."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for (resource, region), rate in sorted(rates.items()):
        dated = rate.dated.isoformat() if rate.dated else ""
        writer.writerow((resource, region, f"{rate.on_demand:.12g}", f"{rate.spot:.12g}", dated))
    return text.getvalue()


def save(rates: Rates, folder: Path) -> Path:
    """Replace the table in `folder` atomically. Raise `PriceError`."""
    path = folder / FILE
    fresh = path.with_suffix(".tmp")
    try:
        fresh.write_text(written(rates), encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise PriceError(
            f"{path} cannot be written ({error.strerror}), the old prices stay", fix="check its permissions"
        ) from error
    return path


def _malformed(message: str) -> PriceError:
    return PriceError(message, fix=_REPAIR)


def _line(row: list[str], where: str, source: str) -> tuple[str, str, Rate]:
    if len(row) != len(HEADER):
        raise _malformed(f"{where} has {len(row)} values, not {len(HEADER)}")
    resource, region, on_demand, spot, dated = row
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,63}", resource):
        raise _malformed(f"{where}: resource is {fields.shown(resource)}: a machine type, a GPU or {DISK}")
    if region != EVERYWHERE and not fields.REGION.fullmatch(region):
        raise _malformed(f"{where}: region is {fields.shown(region)}: a region like us-central1, or {EVERYWHERE}")
    rate = Rate(
        on_demand=_price(on_demand, f"{where}: {HEADER[2]}"),
        spot=_price(spot, f"{where}: {HEADER[3]}"),
        dated=_day(dated, where),
        source=source,
    )
    return resource, region, rate


def _price(text: str, where: str) -> float:
    try:
        price = float(text)
    except ValueError:
        price = math.nan
    if not 0 < price < 1e6:
        raise _malformed(f"{where} is {fields.shown(text)}: a number of dollars above 0")
    return price


def _day(text: str, where: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise _malformed(f"{where}: dated is {fields.shown(text)}: a day as 2026-07-30, or nothing") from None
