"""What Compute Engine asks for an hour, by region: the tables of the package, and the project's own over them."""

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
"""The resource that is a GB of boot disk; the others are machine types, and GPUs by Vertex AI's names."""
EVERYWHERE = "*"
"""In place of a region."""
HEADER = ("resource", "region", "on_demand_usd_per_hour", "spot_usd_per_hour", "dated")
PACKAGE = "the package"
AHEAD = timedelta(days=1)
"""A day may have begun elsewhere."""

_MACHINES = "gce_prices_2026-07-30.csv"
_REST = "gce_prices_undated.csv"
_REPAIR = "repair it, or write it anew with spot prices --refresh"


class PriceError(SpotError):
    """Prices cannot be used so; one line says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """$/h of one resource in one region, before Vertex AI's fee."""

    on_demand: float
    spot: float
    dated: date | None
    """None if nobody knows."""
    source: str
    """Whose table it is from."""


Rates = Mapping[tuple[str, str], Rate]
"""By resource and region."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """Everything that has a price."""

    rates: Rates

    def rate(self, resource: str, region: str) -> Rate | None:
        return self.rates.get((resource, region)) or self.rates.get((resource, EVERYWHERE))

    def regions(self, resource: str) -> list[str]:
        """Those in which it has a price."""
        return sorted(region for name, region in self.rates if name == resource and region != EVERYWHERE)


@cache
def packaged() -> PriceTable:
    """The tables of src/spot/pricing/assets; its README.md says where they are from."""
    folder = files("spot.pricing") / "assets"
    machines = (folder / _MACHINES).read_text(encoding="utf-8")
    day = date.fromisoformat(Path(_MACHINES).stem.rpartition("_")[2])
    dated = {
        (row["machine_type"], row["region"]): Rate(
            on_demand=float(row["on_demand_usd_per_hour"]),
            spot=float(row["spot_usd_per_hour"]),
            dated=day,
            source=PACKAGE,
        )
        for row in csv.DictReader(machines.splitlines())
    }
    undated = parse((folder / _REST).read_text(encoding="utf-8"), _REST, PACKAGE)
    return PriceTable(rates={**dated, **undated})


def beside(folder: Path) -> PriceTable:
    """The package's prices, and over them those of the project's own table if it has one. Raises `PriceError`."""
    own = _own(folder)
    return PriceTable(rates={**packaged().rates, **own}) if own else packaged()


def merged(folder: Path, fresh: Rates) -> Rates:
    """The project's own table with `fresh` prices over it; one that cannot be read is left behind."""
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
        raise PriceError(f"{path} cannot be read ({error.strerror}): see to its permissions") from None
    except UnicodeDecodeError:
        raise PriceError(f"{path} is not UTF-8: {_REPAIR}") from None
    return parse(text, str(path), FILE, datetime.now(UTC).date())


def parse(text: str, name: str, source: str, today: date | None = None) -> Rates:
    """A table as `written` makes it; `name` is the file's, for the messages. Raises `PriceError`.

    A price of a day after `today` would never grow old, and is refused.
    """
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    rates: dict[tuple[str, str], Rate] = {}
    try:
        header = next(lines, [])
        if tuple(header) != HEADER:
            raise PriceError(f"{name} begins with {fields.shown(','.join(header))}, not {','.join(HEADER)}: {_REPAIR}")
        for row in filter(None, lines):
            where = f"{name}, line {lines.line_num}"
            resource, region, rate = _line(row, where, source)
            if today and rate.dated and rate.dated > today + AHEAD:
                raise PriceError(f"{where}: dated is {rate.dated}, and today is {today}: {_REPAIR}")
            if (resource, region) in rates:
                raise PriceError(f"{where}: {resource} has a price in {region} already: {_REPAIR}")
            rates[resource, region] = rate
    except csv.Error as error:
        raise PriceError(f"{name}, line {lines.line_num} is not CSV ({error}): {_REPAIR}") from None
    if not rates:
        raise PriceError(f"{name} has no prices: {_REPAIR}")
    return rates


def written(rates: Rates) -> str:
    """The same as a CSV file, sorted, so that a change of prices is a small change of the file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for (resource, region), rate in sorted(rates.items()):
        dated = rate.dated.isoformat() if rate.dated else ""
        writer.writerow((resource, region, f"{rate.on_demand:.12g}", f"{rate.spot:.12g}", dated))
    return text.getvalue()


def save(rates: Rates, folder: Path) -> Path:
    """Put the project's table in place, as a whole or not at all. Raises `PriceError`."""
    path = folder / FILE
    fresh = path.with_suffix(".tmp")
    try:
        fresh.write_text(written(rates), encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise PriceError(f"{path} cannot be written ({error.strerror}): the old prices stay") from error
    return path


def _line(row: list[str], where: str, source: str) -> tuple[str, str, Rate]:
    if len(row) != len(HEADER):
        raise PriceError(f"{where} has {len(row)} values, not {len(HEADER)}: {_REPAIR}")
    resource, region, on_demand, spot, dated = row
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,63}", resource):
        raise PriceError(f"{where}: resource is {fields.shown(resource)}: a machine type, a GPU or {DISK}; {_REPAIR}")
    if region != EVERYWHERE and not fields.REGION.fullmatch(region):
        raise PriceError(f"{where}: region is {fields.shown(region)}: a region such as us-central1, or {EVERYWHERE}; {_REPAIR}")
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
        raise PriceError(f"{where} is {fields.shown(text)}: a number of dollars above 0; {_REPAIR}")
    return price


def _day(text: str, where: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise PriceError(
            f"{where}: dated is {fields.shown(text)}: a day as 2026-07-30, or nothing; {_REPAIR}"
        ) from None
