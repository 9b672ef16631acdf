"""Estimate the cost of a run in each region, on demand and on spot, with the expected preemptions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from spot.core.run import Machine, PolicyConfig, Provisioning
from spot.pricing.quotes import Quote

MTBF = timedelta(hours=3.2)
"""Mean time between preemptions of 16 a3-highgpu-1g Spot VMs, October 2025 (SkyNomad, NSDI '27)."""
RESTORE = timedelta(minutes=4)
"""From machine start to the first new step: the middle of the 2 to 6 minutes in the policy's replays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    quote: Quote
    on_demand_usd: float
    spot_usd: float | None
    """None if the run never ends: preemptions cost more than training gains."""

    @property
    def saving(self) -> float | None:
        """Return the saved share of the on-demand cost; a loss is below 0."""
        return None if self.spot_usd is None else 1 - self.spot_usd / self.on_demand_usd


def mtbf(machine: Machine, each: timedelta = MTBF) -> timedelta:
    """Return the mean time to the first preemption among the machines of an attempt.

    `each` is that of one machine. An attempt needs all its machines, so that the first preemption ends it. Machines are
    assumed to be preempted independently, as if zones never lost several at once: this is pessimistic.
    """
    return each / machine.count


def lost_work(policy: PolicyConfig, flags: Mapping[str, str]) -> timedelta:
    """Return the training lost to a preemption: half a checkpoint interval, of policy or trainer."""
    interval = seconds(flags, "--checkpoint-interval")
    most = timedelta(seconds=interval) if interval else policy.max_checkpoint_interval
    return most / 2 * (1 - policy.saved_share)


def seconds(flags: Mapping[str, str], flag: str) -> float | None:
    """Return the value of a flag in seconds, None for `auto` and for a missing flag."""
    try:
        value = float(flags.get(flag, "auto"))
    except ValueError:
        return None
    return value if value > 0 else None


def billed_on_spot(work: timedelta, mtbf: timedelta, lost: timedelta) -> timedelta | None:
    """Return the expected time on machines, None if the run never ends.

    Preemptions arrive at random. Each costs `RESTORE` and `lost`, and that time is preempted too. With B billed and M
    the mean time between preemptions, B = work + RESTORE + B/M (RESTORE + lost).
    """
    each = RESTORE + lost
    return None if each >= mtbf else (work + RESTORE) / (1 - each / mtbf)


def estimates(work: timedelta, quotes: Iterable[Quote], spot: timedelta | None) -> list[Estimate]:
    """Return the cost in each region, the cheapest on spot first; `spot` is what is billed there."""
    hour = timedelta(hours=1)
    found = [
        Estimate(
            quote=quote,
            on_demand_usd=(work + RESTORE) / hour * quote.usd_per_hour[Provisioning.ON_DEMAND],
            spot_usd=spot / hour * quote.usd_per_hour[Provisioning.SPOT] if spot else None,
        )
        for quote in quotes
    ]
    return sorted(found, key=lambda one: one.on_demand_usd if one.spot_usd is None else one.spot_usd)
