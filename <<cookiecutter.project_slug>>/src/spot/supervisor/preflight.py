"""Why a run may not begin: it would lose its work, or cost more than it may. One line each, with the numbers."""

from __future__ import annotations

import math
from datetime import timedelta

from spot.config.schema import ONLY_ON_DEMAND, unsaved
from spot.core.format import hours
from spot.core.run import Provisioning, Run, Strategy
from spot.pricing.estimate import MTBF, RESTORE, seconds
from spot.pricing.quotes import described

GRACE_S, GRACE_MARGIN = 15.0, 0.05
"""The trainer's `--grace` where nobody sets it, and the share of it that is kept back for leaving (trainer/stop.py)."""
LONGEST_GRACE_S = 30.0
"""What Compute Engine gives a Spot VM at most; Vertex AI promises nothing."""
LONGEST_USEFUL_S, DURABLE_FACTOR = 600.0, 1.5
"""`auto` takes no longer interval, unless that many times a save is longer (trainer/interval.py)."""

_KINDS = {
    Strategy.HYBRID: (Provisioning.SPOT, Provisioning.ON_DEMAND),
    Strategy.SPOT: (Provisioning.SPOT,),
    Strategy.ON_DEMAND: (Provisioning.ON_DEMAND,),
}


def refusals(run: Run) -> list[str]:
    """What no `--force` helps against: the run could not keep what it promises."""
    found = (_unsaved(run), _loses(run), _unpriced(run))
    return [line for line in found if line]


def doubts(run: Run, save: timedelta | None) -> list[str]:
    """What is only not sensible, as far as is known.

    `save` is how long it takes until a checkpoint is durable, None if nobody has said.
    """
    found = (_slow_save(run, save), _long(run, save), _poor(run))
    return [line for line in found if line]


def budget_warnings(run: Run) -> list[str]:
    """A budget that pays for spot and not for on-demand: it, and not the deadline, may end the run."""
    policy = run.spec.policy
    start = max(policy.expected_start, RESTORE)  # the policy falls back to nothing that a slow start would cut short
    spot, on_demand = _cheapest(run, Provisioning.SPOT), _cheapest(run, Provisioning.ON_DEMAND, start)
    if policy.strategy is not Strategy.HYBRID or policy.budget_usd is None or spot is None or on_demand is None:
        return []
    if not spot[0] <= policy.budget_usd < on_demand[0]:
        return []
    line = (
        f"a budget of ${policy.budget_usd:.2f} pays for {_asked(run)} on spot (${spot[0]:.2f} in"
        f" {spot[1]}), not for the work and {hours(start)} to start on demand (${on_demand[0]:.2f} in"
        f" {on_demand[1]}): without spot the run ends with no model"
    )
    return [line]


def price_warnings(run: Run) -> list[str]:
    """A region without a price may be one that does not exist: each create there costs time until it is given up."""
    if not (unknown := run.spec.policy.unpriced):
        return []
    line = (
        f"no price is known for {described(run.spec.machine)} in {', '.join(unknown)}: spot doctor tells whether there"
        " is such a machine, spot prices --refresh asks for more prices"
    )
    return [line]


def _unsaved(run: Run) -> str | None:
    flags = dict(zip(run.spec.arguments[::2], run.spec.arguments[1::2], strict=True))
    if unsaved(flags.get("--enable-checkpointing"), run.spec.policy.strategy):
        return f"--enable-checkpointing false: {ONLY_ON_DEMAND}"
    return None


def _slow_save(run: Run, save: timedelta | None) -> str | None:
    if save is None or run.spec.policy.strategy is Strategy.ON_DEMAND:
        return None
    grace = seconds(run.spec.arguments, "--grace") or GRACE_S
    room, most = ((1 - GRACE_MARGIN) * seconds_left for seconds_left in (min(grace, LONGEST_GRACE_S), LONGEST_GRACE_S))
    if (needed := save.total_seconds()) <= room:
        return None
    enough = math.ceil(needed / (1 - GRACE_MARGIN))
    advice = f"Set --grace to {enough}" if needed <= most else "Make the checkpoint smaller, or train on demand"
    return (
        f"a save takes {needed:g} s (policy.save_seconds), and a preemption leaves {room:.3g} s for it: --grace"
        f" {grace:g}, of which {GRACE_MARGIN:.0%} is kept back, and {LONGEST_GRACE_S:g} s from Compute Engine at most."
        f" {advice}"
    )


def _loses(run: Run) -> str | None:
    """The deadline rests on how much a preemption can cost; `auto` keeps below that by itself."""
    interval = seconds(run.spec.arguments, "--checkpoint-interval")
    if interval is None or interval <= (worst := run.spec.policy.max_checkpoint_interval.total_seconds()):
        return None
    return f"--checkpoint-interval {interval:g}: at most {worst:g} seconds, or raise policy.max_checkpoint_interval_minutes"


def _long(run: Run, save: timedelta | None) -> str | None:
    interval = seconds(run.spec.arguments, "--checkpoint-interval")
    useful = max(LONGEST_USEFUL_S, DURABLE_FACTOR * save.total_seconds() if save else 0.0)
    if interval is None or interval <= useful or _loses(run) or run.spec.policy.strategy is Strategy.ON_DEMAND:
        return None
    between = MTBF.total_seconds()
    return (
        f"--checkpoint-interval {interval:g}: a preemption loses half of it, {interval / 2 / between:.1%} of the"
        f" training with one every {hours(MTBF)}; only a save that stops training for {interval**2 / 2 / between:.0f} s"
        f" is worth so much. At most {useful:g} seconds ({useful / 2 / between:.1%}), or auto, which measures that"
    )


def _unpriced(run: Run) -> str | None:
    """A budget can be kept only where every price is known."""
    policy = run.spec.policy
    kinds = {*_KINDS[policy.strategy], *([Provisioning.FLEX_START] if policy.flex_start else [])}
    unknown = [region for region in policy.regions if not kinds <= set(policy.usd_per_hour.get(region, {}))]
    if policy.budget_usd is None or not unknown:
        return None
    return (
        f"a budget of ${policy.budget_usd:.2f} cannot be kept: no price is known for {described(run.spec.machine)} in"
        f" {', '.join(unknown)}. Leave the budget out, or choose other --regions"
    )


def _poor(run: Run) -> str | None:
    """Not even the cheapest way, without a single preemption, is paid for."""
    policy = run.spec.policy
    kinds = _KINDS[policy.strategy]
    costs = [(cost, kind) for kind in kinds if (cost := _cheapest(run, kind))]
    if policy.budget_usd is None or not costs or policy.budget_usd >= min(costs)[0][0]:
        return None
    ways = " and ".join(
        f"${usd:.2f} on {'demand' if kind is Provisioning.ON_DEMAND else kind} in {region}"
        for (usd, region), kind in costs
    )
    return (
        f"a budget of ${policy.budget_usd:.2f} cannot pay for {_asked(run)}: without a preemption that is"
        f" {ways}, the cheapest there is. Raise --budget-usd, or correct policy.work_hours"
    )


def _asked(run: Run) -> str:
    return f"{hours(run.spec.policy.work)} of work and {hours(RESTORE)} to start"


def _cheapest(run: Run, kind: Provisioning, start: timedelta = RESTORE) -> tuple[float, str] | None:
    """What the work and one start cost at least, and where; None without a price."""
    policy, hour = run.spec.policy, timedelta(hours=1)
    prices = ((policy.price(region, kind), region) for region in policy.regions)
    return min(((price * ((policy.work + start) / hour), region) for price, region in prices if price), default=None)
