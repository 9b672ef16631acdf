"""What an hour of a machine costs on Vertex AI, by region and provisioning, without its disk."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

from spot.run import Machine, Provisioning

FEE = 0.15
"""Vertex AI's share of the on-demand price; it is not discounted on spot."""

_TABLE = "gce_prices_2026-07-30.csv"
_GPU_INCLUDED = ("a2-", "a3-", "g2-")
_ATTACHED = {("NVIDIA_TESLA_T4", "us-central1"): (0.35, 0.175)}
"""$/h of a GPU that a machine is given, on demand and spot: from an undated catalogue."""


def usd_per_hour(machine: Machine, region: str, provisioning: Provisioning) -> float | None:
    """None if it has no known price. FLEX_START counts as spot: nothing better is known."""
    machine_price = _compute_engine().get((machine.type, region))
    gpu_price = _gpus(machine, region)
    if machine_price is None or gpu_price is None:
        return None
    on_demand, spot = (a + b for a, b in zip(machine_price, gpu_price, strict=True))
    return FEE * on_demand + (on_demand if provisioning is Provisioning.ON_DEMAND else spot)


def by_region(machine: Machine, regions: Iterable[str]) -> Mapping[str, Mapping[Provisioning, float]]:
    """Every known price, as `Terms` wants them; a region without one is left out."""
    table: dict[str, dict[Provisioning, float]] = {}
    for region in regions:
        for provisioning in Provisioning:
            price = usd_per_hour(machine, region, provisioning)
            if price is not None:
                table.setdefault(region, {})[provisioning] = price
    return table


def _gpus(machine: Machine, region: str) -> tuple[float, float] | None:
    if machine.accelerator is None or machine.type.startswith(_GPU_INCLUDED):
        return 0.0, 0.0
    price = _ATTACHED.get((machine.accelerator, region))
    if price is None:
        return None
    return price[0] * machine.accelerator_count, price[1] * machine.accelerator_count


@cache
def _compute_engine() -> Mapping[tuple[str, str], tuple[float, float]]:
    """$/h on demand and spot, by machine type and region."""
    text = (files("spot") / "assets" / _TABLE).read_text(encoding="utf-8")
    return {
        (row["machine_type"], row["region"]): (float(row["on_demand_usd_per_hour"]), float(row["spot_usd_per_hour"]))
        for row in csv.DictReader(text.splitlines())
    }
