"""What a run will cost in each region, on demand and on spot, with the preemptions that are to be expected."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from spot.core.run import PolicyConfig, Provisioning
from spot.pricing.quotes import Quote

MTBF = timedelta(hours=3.2)
"""Between preemptions: how long 16 a3-highgpu-1g Spot VMs were up on average, October 2025 (SkyNomad, NSDI '27)."""
RESTORE = timedelta(minutes=4)
"""From the machine to the first new step: the middle of the 2 to 6 minutes that the policy is replayed with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What an estimate rests on."""

    mtbf: timedelta
    """The mean time between preemptions, which come at random."""
    start: timedelta
    """From submit to the first new step."""
    restore: timedelta
    """The part of `start` that is billed."""
    lost: timedelta
    """Training that a preemption costs: half the time between two checkpoints."""
    unnoticed: timedelta
    """From a preemption to the submit of the next attempt: half the time between two passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How a run goes, on average."""

    billed: timedelta
    whole: timedelta
    """From submit to the end."""
    preemptions: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What it costs in one region."""

    quote: Quote
    on_demand_usd: float
    spot_usd: float | None
    """None if it never ends: preemptions take more than training gives."""

    @property
    def saving(self) -> float | None:
        """The share of the cost on demand; below 0 it is a loss."""
        return None if self.spot_usd is None else 1 - self.spot_usd / self.on_demand_usd


def assumptions(policy: PolicyConfig, arguments: tuple[str, ...], mtbf: timedelta = MTBF) -> Assumptions:
    """From the settings, what they do not say being assumed. `arguments` are the trainer's flags."""
    interval = seconds(arguments, "--checkpoint-interval")
    return Assumptions(
        mtbf=mtbf,
        start=max(policy.expected_start, RESTORE),
        restore=RESTORE,
        lost=(timedelta(seconds=interval) if interval else policy.max_checkpoint_interval) / 2,
        unnoticed=policy.reconcile_interval / 2,
    )


def seconds(arguments: tuple[str, ...], flag: str) -> float | None:
    """What a flag of the trainer is set to, None if that is no number above 0, as `auto`."""
    flags = dict(zip(arguments[::2], arguments[1::2], strict=True))
    try:
        value = float(flags.get(flag, "auto"))
    except ValueError:
        return None
    return value if value > 0 else None


def on_demand(work: timedelta, assumed: Assumptions) -> Course:
    """One attempt that nobody takes away."""
    return Course(billed=work + assumed.restore, whole=work + assumed.start, preemptions=0)


def on_spot(work: timedelta, assumed: Assumptions) -> Course | None:
    """None if it never ends.

    Each preemption costs `restore` and `lost` on the machine, during which others come: with B billed and M the time
    between preemptions, B = work + restore + B/M (restore + lost).
    """
    each = assumed.restore + assumed.lost
    if each >= assumed.mtbf:
        return None
    billed = (work + assumed.restore) / (1 - each / assumed.mtbf)
    preemptions = billed / assumed.mtbf
    waiting = assumed.start - assumed.restore
    return Course(
        billed=billed,
        whole=billed + waiting + preemptions * (assumed.unnoticed + waiting),
        preemptions=preemptions,
    )


def estimates(work: timedelta, quotes: Iterable[Quote], assumed: Assumptions) -> list[Estimate]:
    """The cheapest on spot first."""
    hour, spot = timedelta(hours=1), on_spot(work, assumed)
    found = [
        Estimate(
            quote=quote,
            on_demand_usd=on_demand(work, assumed).billed / hour * quote.usd_per_hour(Provisioning.ON_DEMAND),
            spot_usd=spot.billed / hour * quote.usd_per_hour(Provisioning.SPOT) if spot else None,
        )
        for quote in quotes
    ]
    return sorted(found, key=lambda one: one.on_demand_usd if one.spot_usd is None else one.spot_usd)
