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
class Assumptions:
    mtbf: timedelta
    """Mean time between preemptions of any machine, which arrive at random."""
    lost_work: timedelta
    """Training lost to a preemption: half a checkpoint interval."""


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


def assumptions(policy: PolicyConfig, flags: Mapping[str, str], mtbf: timedelta = MTBF) -> Assumptions:
    """Derive the assumptions from the policy and the trainer's flags."""
    interval = seconds(flags, "--checkpoint-interval")
    most = timedelta(seconds=interval) if interval else policy.max_checkpoint_interval
    return Assumptions(mtbf=mtbf, lost_work=most / 2 * (1 - policy.saved_share))


def seconds(flags: Mapping[str, str], flag: str) -> float | None:
    """Return the value of a flag in seconds, None for `auto` and for a missing flag."""
    try:
        value = float(flags.get(flag, "auto"))
    except ValueError:
        return None
    return value if value > 0 else None


def billed_on_spot(work: timedelta, assumed: Assumptions) -> timedelta | None:
    """Return the expected time on machines, None if the run never ends.

    Each preemption costs `RESTORE` and `lost_work`, and that time is preempted too. With B billed and M the mean time
    between preemptions, B = work + RESTORE + B/M (RESTORE + lost_work).
    """
    each = RESTORE + assumed.lost_work
    return None if each >= assumed.mtbf else (work + RESTORE) / (1 - each / assumed.mtbf)


def estimates(work: timedelta, quotes: Iterable[Quote], assumed: Assumptions) -> list[Estimate]:
    """Return the cost in each region, the cheapest on spot first."""
    hour, spot = timedelta(hours=1), billed_on_spot(work, assumed)
    found = [
        Estimate(
            quote=quote,
            on_demand_usd=(work + RESTORE) / hour * quote.usd_per_hour[Provisioning.ON_DEMAND],
            spot_usd=spot / hour * quote.usd_per_hour[Provisioning.SPOT] if spot else None,
        )
        for quote in quotes
    ]
    return sorted(found, key=lambda one: one.on_demand_usd if one.spot_usd is None else one.spot_usd)
