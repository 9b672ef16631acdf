"""Define what is replayed: regions, machines, work and settings of the run (docs/policy.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from spot.core.run import Machine, PolicyConfig, Provisioning, Run, Spec, Strategy
from spot.simulation.startup_times import StartupRanges

MINUTE = timedelta(minutes=1)
DEADLINE = 24 * 60
"""Minutes."""
WORK = (12 * 60, 16 * 60, 18 * 60, 20 * 60)
"""Minutes."""
RESTORE = 4.0
"""Minutes, the mean of what is drawn."""
REGIONS = ("us-central1", "us-east4", "europe-west1", "asia-south2")
TOGETHER = ("us-east4", "us-central1")
"""The cheaper first."""
GPUS = (1, 8)
USD_PER_HOUR = {
    "us-central1": {Provisioning.SPOT: 18.98, Provisioning.ON_DEMAND: 82.53},
    "us-east4": {Provisioning.SPOT: 14.85, Provisioning.ON_DEMAND: 82.53},
    "europe-west1": {Provisioning.SPOT: 16.36, Provisioning.ON_DEMAND: 90.87},
    "asia-south2": {Provisioning.SPOT: 69.91, Provisioning.ON_DEMAND: 99.12},
}
"""List prices of a3-highgpu-8g when the trace was taken. A smaller machine costs its share, so ratios are the same."""
SUBMITTED = datetime(2025, 10, 4, tzinfo=UTC)
"""Any: a replay counts from there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One line of regions and machines that policies are compared in."""

    regions: tuple[str, ...]
    gpus: int
    """Spot VMs of one GPU that must be there together."""
    starts: StartupRanges = field(default_factory=StartupRanges)
    worst_start: timedelta = 21 * MINUTE

    @property
    def on_demand_usd(self) -> float:
        """$ a minute of on-demand where it costs least."""
        return min(USD_PER_HOUR[region][Provisioning.ON_DEMAND] for region in self.regions) / 60


SETTINGS = tuple(
    Setting(regions=regions, gpus=gpus) for gpus in GPUS for regions in (*((one,) for one in REGIONS), TOGETHER)
)
SLOW = StartupRanges(on_demand=(5, 60))
"""On-demand that can take an hour."""
SLOW_SETTINGS = tuple(
    Setting(regions=(region,), gpus=gpus, starts=SLOW, worst_start=66 * MINUTE) for gpus in GPUS for region in REGIONS
)
"""Where the run's settings say so."""


DURATIONS = ("reserve", "reconcile_interval", "provisioning_timeout", "expected_start", "max_checkpoint_interval")
"""The terms that can be set otherwise."""


def run(setting: Setting, work: int, *, hand_over: bool, otherwise: Mapping[str, Any] | None = None) -> Run:
    """One with so many minutes of work, as it is submitted."""
    policy = PolicyConfig(
        strategy=Strategy.HYBRID,
        regions=setting.regions,
        hand_over=hand_over,
        flex_start=False,
        work=work * MINUTE,
        work_is_measured=True,
        tail=timedelta(),
        provisioning_timeout=20 * MINUTE,
        expected_start=24 * MINUTE,
        worst_start=setting.worst_start,
        reconcile_interval=MINUTE,
        max_checkpoint_interval=15 * MINUTE,
        reserve=60 * MINUTE,
        max_preemptions=None,
        max_errors=0,
        saved_share=0.0,
        disable_retries=True,
        budget_usd=None,
        usd_per_hour={region: USD_PER_HOUR[region] for region in setting.regions},
    )
    machine = Machine(type="a3-highgpu-1g", accelerator="NVIDIA_H100_80GB", accelerator_count=1, boot_disk_gb=100)
    spec = Spec(
        project="project",
        root="gs://bucket/prefix",
        image=f"us-docker.pkg.dev/project/images/trainer@sha256:{0:064}",
        arguments=(),
        machine=machine,
        service_account="",
        deadline=SUBMITTED + DEADLINE * MINUTE,
        policy=replace(policy, **(otherwise or {})),
    )
    return Run(id="replayed", spec=spec, submitted_at=SUBMITTED)
