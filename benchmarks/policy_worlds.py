"""Compare the policy with two baselines in other worlds than those that it was tuned in.

`nox -s benchmark_policy -- --worlds`. Each world changes prices, jobs, zones or settings of the tables in
docs/policy.md. All worlds meet the same windows.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.policy_replays import DECIDE, Policy
from benchmarks.policy_settings import (
    DEADLINE,
    GPUS,
    MINUTE,
    REGIONS,
    RESTORE,
    TOGETHER,
    USD_PER_HOUR,
    WORK,
    Setting,
    run,
)
from benchmarks.policy_windows import Window, draw
from spot.config.settings import PolicySettings
from spot.core.run import Machine, Provisioning, Strategy
from spot.pricing.quotes import by_region
from spot.simulation.replay import horizon, replay
from spot.simulation.startup_times import StartupRanges, StartupTimes
from spot.simulation.traces import SHIPPED, Trace, Windows, read, shipped, windows
from spot.storage.records.reconciles import interval

POLICIES = (Policy.SPOT_WINDOW, Policy.UNIFORM, Policy.OURS)
LONG = tuple((work, DEADLINE) for work in WORK)
SHORT = ((60, 180), (120, 300), (240, 420))
"""Minutes of work and to the deadline."""
EIGHT = Machine(type="a3-highgpu-8g", accelerator="NVIDIA_H100_80GB", accelerator_count=8, boot_disk_gb=100)
WINDOWS = 12


def defaults() -> dict[str, timedelta]:
    """Return the settings of a project that states none."""
    stated = PolicySettings(strategy=Strategy.HYBRID, deadline_hours=24, work_hours=1)
    names = ("provisioning_timeout", "expected_start", "worst_start", "max_checkpoint_interval", "reserve")
    found = {name: timedelta(minutes=getattr(stated, f"{name}_minutes")) for name in names}
    return found | {"reconcile_interval": interval("cloud-run", stated.reconcile_interval_minutes)}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    name: str
    jobs: Sequence[tuple[int, int]] = LONG
    usd_per_hour: Mapping[str, Mapping[Provisioning, float]] = field(default_factory=lambda: USD_PER_HOUR)
    zoned: bool = False
    """Whether a machine is lost with its zone, though another zone has capacity."""
    otherwise: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the policy."""


def worlds() -> list[World]:
    today = by_region(EIGHT, REGIONS)
    listed = {region: USD_PER_HOUR[region] for region in today}
    return [
        World(name="as in the tables above"),
        World(name="1 h of 3 h, 2 h of 5 h, 4 h of 7 h", jobs=SHORT),
        World(name="machines are lost with their zone", zoned=True),
        World(name="default settings of a project", otherwise=defaults()),
        World(name="every preempted trainer saves", otherwise={"saved_share": 1.0}),
        World(name=f"the {len(today)} regions with a price today", usd_per_hour=listed),
        World(name="... at today's prices with the fee", usd_per_hour=today),
        World(name="... and short jobs", usd_per_hour=today, jobs=SHORT),
        World(name="... long jobs, zones, default settings", usd_per_hour=today, zoned=True, otherwise=defaults()),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Some windows of a world, for one process."""

    world: int
    regions: tuple[str, ...]
    gpus: int
    windows: Sequence[Window]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    share: Share
    policy: Policy
    ratio: float
    missed: bool


def shares(count: int, seed: int) -> Iterator[Share]:
    drawn = draw(shipped().known(REGIONS), length=DEADLINE, count=count, seed=seed)
    for number, world in enumerate(worlds()):
        alone = [(region,) for region in REGIONS if region in world.usd_per_hour]
        for gpus in GPUS:
            for regions in (*alone, TOGETHER):
                yield Share(world=number, regions=regions, gpus=gpus, windows=drawn, seed=seed)


def replayed(share: Share) -> list[Found]:
    world = worlds()[share.world]
    prices = {region: world.usd_per_hour[region] for region in share.regions}
    setting = Setting(regions=share.regions, gpus=share.gpus)
    capacity_of = _zoned(share.regions, share.gpus) if world.zoned else windows(shipped(), share.regions, share.gpus, 1)
    found = []
    for work, deadline in world.jobs:
        asked = run(setting, work, hand_over=True, otherwise={**world.otherwise, "usd_per_hour": prices})
        asked = replace(asked, spec=replace(asked.spec, deadline=asked.submitted_at + deadline * MINUTE))
        worst = (
            {} if "worst_start" not in world.otherwise else {"on_demand": StartupRanges.of(asked.spec.policy).on_demand}
        )
        times = StartupTimes.drawn(replace(StartupRanges(), **worst), share.regions, share.seed)
        on_demand = (work + RESTORE) / 60 * min(one[Provisioning.ON_DEMAND] for one in prices.values())
        for window in share.windows:
            capacity, later = capacity_of.capacity(window.start, horizon(asked)), times.at(window.start)
            for policy in POLICIES:
                one = replay(asked, DECIDE[policy], capacity, later)
                found.append(Found(share=share, policy=policy, ratio=one.usd / on_demand, missed=one.missed))
    return found


@cache
def _zones() -> Trace:
    """Return the shipped trace with each zone as a region of its own."""
    head, rest = (files("spot.simulation") / "assets" / SHIPPED).read_text(encoding="utf-8").split("\n", 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "zones.csv"
        path.write_text(f"{re.sub(r'([0-9])-([a-z])', _as_region, head)}\n{rest}", encoding="utf-8")
        return read(path)


def _as_region(zone: re.Match[str]) -> str:
    return f"zone{zone[2]}{zone[1]}-{zone[2]}"


def _zoned(regions: Sequence[str], gpus: int) -> Windows:
    """Return the capacity of each region as that of one zone at a time: of the fullest, until it has too few machines.

    A minute without capacity separates two zones, so that a machine is lost between them.
    """
    known = shipped().known(REGIONS)
    return Windows(minutes=1, known=known, ups={region: tuple(_one_by_one(region, gpus)) for region in regions})


def _one_by_one(region: str, gpus: int) -> Iterator[tuple[int, int]]:
    zones = {zone: _zones().up(zone, gpus) for zone in _zones().regions if re.fullmatch(_pattern(region), zone)}
    begins, minute = sorted({begin for ups in zones.values() for begin, _ in ups}), 0
    while True:
        held = {zone: end for zone, ups in zones.items() for begin, end in ups if begin <= minute < end}
        if held:
            fullest = max(held, key=lambda zone: _zones().count(zone, minute * MINUTE))
            yield minute, held[fullest] - 1
            minute = held[fullest]
        elif (later := next((begin for begin in begins if begin > minute), None)) is not None:
            minute = later
        else:
            return


def _pattern(region: str) -> str:
    return rf"{region[:-1]}zone[a-z]{region[-1]}"


def tables(found: Sequence[Found]) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """Yield a title and rows for each region alone and for two regions."""
    head = ("", *(text for gpus in GPUS for text in (f"ours, {gpus} GPU", "to the window", "to Uniform", "late")))
    for title, together in (("each region alone", False), ("us-central1 + us-east4", True)):
        rows = [head]
        for number, world in enumerate(worlds()):
            cells = []
            for gpus in GPUS:
                own = [
                    one
                    for one in found
                    if (one.share.world, one.share.gpus, one.share.regions == TOGETHER) == (number, gpus, together)
                ]
                mean = {policy: fmean(one.ratio for one in own if one.policy is policy) for policy in POLICIES}
                late = [one.missed for one in own if one.policy is Policy.OURS]
                cells += [f"{mean[Policy.OURS]:.3f}"]
                cells += [f"{mean[Policy.OURS] / mean[other]:.3f}" for other in (Policy.SPOT_WINDOW, Policy.UNIFORM)]
                cells.append(f"{sum(late)} of {len(late)}")
            rows.append((world.name, *cells))
        yield title, rows
