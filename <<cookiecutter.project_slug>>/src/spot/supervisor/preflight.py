"""Check a run before it is submitted: that it keeps its work and its budget. One line per finding, with the numbers."""

import math
import re
from datetime import timedelta
from pathlib import Path

from spot.core.format import counted, hours, percent
from spot.core.run import Provisioning, Run, Strategy
from spot.google.machine_types import flex_start_offers, on_demand_offers, training_regions
from spot.policy.slack import counted_work
from spot.pricing.estimate import RESTORE, mtbf, seconds
from spot.pricing.quotes import described
from spot.trainer.checkpoint.interval import DURABLE_FACTOR, LONGEST_S
from spot.trainer.runtime.flags import Flags, Parallel, parse
from spot.trainer.runtime.signals import DEFAULT_GRACE_S, MARGIN

LONGEST_GRACE_S = 30.0
"""The most that Compute Engine gives a Spot VM; Vertex AI promises nothing."""


def warnings(run: Run, save: timedelta | None) -> list[str]:
    """Return the findings that `--force` overrides. `save` is the time until a checkpoint is durable."""
    return [line for line in (_outside(run), _slow_save(run, save), _long(run, save), _poor(run)) if line]


def notes(run: Run) -> list[str]:
    """Return what an operator should know and need not change."""
    return [line for line in (budget_note(run), _price_note(run), work_note(run)) if line]


def work_note(run: Run) -> str | None:
    """Report work that counts double and does not fit before the deadline: then spot is not tried first."""
    policy, counted = run.spec.policy, counted_work(run.spec.policy)
    if policy.strategy is not Strategy.HYBRID or run.submitted_at + counted + policy.worst_start <= run.spec.deadline:
        return None
    return (
        f"no succeeded run has measured the work, which counts double: {hours(counted)} do not fit before the deadline,"
        " so that on-demand starts at once, and spot follows when a checkpoint has measured the work"
    )


def optimism_note(run: Run, folder: Path | None) -> str | None:
    """Report weights that are chosen on the data that judge them, unless a task below `folder` has a third part."""
    patience = seconds(run.spec.flags, "--patience")
    if not patience or (folder and any(re.search(r"\btest=", path.read_text()) for path in folder.glob("task/*.py"))):
        return None
    return (
        f"--patience {patience:g} chooses the weights on the held-out data, which then judge them too well: return a"
        " part test in Data of task/data.py, with part_of(key, test=0.1)"
    )


def budget_note(run: Run) -> str | None:
    """Report a budget that pays for spot and not for on-demand: the budget may end the run before its deadline."""
    policy = run.spec.policy
    start = max(policy.expected_start, RESTORE)  # the policy does not fall back to a job that a slow start would cut
    spot, on_demand = _cheapest(run, Provisioning.SPOT), _cheapest(run, Provisioning.ON_DEMAND, start)
    if policy.strategy is not Strategy.HYBRID or policy.budget_usd is None or spot is None or on_demand is None:
        return None
    if not spot[0] <= policy.budget_usd < on_demand[0]:
        return None
    return (
        f"a budget of ${policy.budget_usd:.2f} pays for {_asked(run)} on spot (${spot[0]:.2f} in {spot[1]}), not for"
        f" the work and an on-demand start of {hours(start)} (${on_demand[0]:.2f} in {on_demand[1]}): without spot"
        " capacity the run ends with no model"
    )


def _price_note(run: Run) -> str | None:
    """Report regions without a price. Such a region may not exist, and each create there costs time."""
    if not (unknown := run.spec.policy.unpriced):
        return None
    return (
        f"no price is known for {described(run.spec.machine)} in {', '.join(unknown)}: check the machine with spot"
        " doctor, or fetch prices with spot prices --refresh"
    )


def _slow_save(run: Run, save: timedelta | None) -> str | None:
    if save is None or run.spec.policy.strategy is Strategy.ON_DEMAND:
        return None
    grace = seconds(run.spec.flags, "--grace") or DEFAULT_GRACE_S
    room = (1 - MARGIN) * min(grace, LONGEST_GRACE_S)
    if (needed := save.total_seconds()) <= room:
        return None
    enough = math.ceil(needed / (1 - MARGIN))
    advice = f"Set --grace to {enough}" if enough <= LONGEST_GRACE_S else "Make the checkpoint smaller"
    return (
        f"a save takes {needed:g} s (policy.save_seconds), and a preemption leaves {room:.3g} s: --grace {grace:g},"
        f" minus {percent(MARGIN)} to exit, at most {LONGEST_GRACE_S:g} s on Compute Engine. {advice}"
    )


def _long(run: Run, save: timedelta | None) -> str | None:
    interval = seconds(run.spec.flags, "--checkpoint-interval")
    useful = max(LONGEST_S, DURABLE_FACTOR * save.total_seconds() if save else 0.0)
    if interval is None or interval <= useful or run.spec.policy.strategy is Strategy.ON_DEMAND:
        return None
    apart = mtbf(run.spec.machine)
    lost, less = (percent(one / 2 / apart.total_seconds()) for one in (interval, useful))
    return (
        f"--checkpoint-interval {interval:g}: a preemption every {hours(apart)} would cost {lost} of the training, half"
        f" an interval each. Use at most {useful:g} seconds ({less}), or auto"
    )


def error(run: Run) -> str | None:
    """Return the first finding that no `--force` overrides."""
    return _unenforced(run) or machine_error(run)


def machine_error(run: Run) -> str | None:
    """Return why the machines cannot run this training with these settings, None if they can."""
    return _unshared(run) or _no_flex_start(run) or _no_on_demand(run)


def step(run: Run) -> tuple[int, int]:
    """Return the ranks on all machines, and the samples of a step that they share."""
    flags, machine = _flags(run), run.spec.machine
    return machine.count * flags.ranks if flags.ranks else machine.ranks, flags.batch_size


def _flags(run: Run) -> Flags:
    """Return the flags on ranks as they were given, all others as they are by default."""
    names = {"--batch-size", "--accumulate", "--ranks", "--parallel"}
    return parse([word for pair in run.spec.flags.items() if pair[0] in names for word in pair], {})


def _unshared(run: Run) -> str | None:
    """Report ranks that cannot share a step, or GPUs without a rank: the trainer refuses both on a paid machine."""
    flags, machine, (ranks, samples) = _flags(run), run.spec.machine, step(run)
    if ranks < machine.ranks:
        return f"--ranks uses {ranks} of the {machine.ranks} GPUs of {described(machine)}, and all are billed: omit it"
    if ranks > 1 and flags.parallel is Parallel.NONE:
        return f"--parallel none trains on one rank, and {described(machine)} has {ranks}: use auto, ddp or fsdp"
    if not (rest := samples % (ranks * flags.accumulate)):
        return None
    each = f" in {flags.accumulate} forward passes each" if flags.accumulate > 1 else ""
    return (
        f"--batch-size {samples} cannot be shared evenly by {counted(ranks, 'rank')}{each} ({described(machine)}):"
        f" use {samples - rest + ranks * flags.accumulate}"
    )


def _no_flex_start(run: Run) -> str | None:
    """Report FLEX_START with a machine that it does not have: its refusal would exclude the region for spot too."""
    if not run.spec.policy.flex_start or flex_start_offers(run.spec.machine.accelerator):
        return None
    return (
        f"policy.flex_start is true, and FLEX_START has L4, A100, H100, H200 and B200 only, not"
        f" {described(run.spec.machine)}: set it to false"
    )


def _no_on_demand(run: Run) -> str | None:
    """Report a strategy that needs on-demand on a machine type that does not have it."""
    machine, strategy = run.spec.machine, run.spec.policy.strategy
    if strategy is Strategy.SPOT or on_demand_offers(machine.type):
        return None
    return (
        f"policy.strategy is {strategy}, and {machine.type} exists on spot and as FLEX_START only: set it to spot,"
        " which promises no deadline, or use a larger machine.type"
    )


def _outside(run: Run) -> str | None:
    """Report regions whose training lacks the GPU. Each create there costs time."""
    accelerator = run.spec.machine.accelerator
    trains = training_regions(accelerator)
    if not trains or not (outside := [region for region in run.spec.policy.regions if region not in trains]):
        return None
    return (
        f"Vertex AI does not train with {accelerator} in {', '.join(outside)}, as far as is known, but in"
        f" {', '.join(trains)}: change cloud.regions"
    )


def _unenforced(run: Run) -> str | None:
    """Report a budget in regions without prices, where it cannot be enforced."""
    policy = run.spec.policy
    kinds = {*policy.strategy.kinds, *([Provisioning.FLEX_START] if policy.flex_start else [])}
    unknown = [region for region in policy.regions if not kinds <= set(policy.usd_per_hour.get(region, {}))]
    if policy.budget_usd is None or not unknown:
        return None
    return (
        f"a budget of ${policy.budget_usd:.2f} cannot be enforced: no price is known for"
        f" {described(run.spec.machine)} in {', '.join(unknown)}. Omit the budget, or choose other --regions"
    )


def _poor(run: Run) -> str | None:
    """Report a budget below the cheapest run without a preemption."""
    policy = run.spec.policy
    costs = [(cost, kind) for kind in policy.strategy.kinds if (cost := _cheapest(run, kind))]
    if policy.budget_usd is None or not costs or policy.budget_usd >= min(costs)[0][0]:
        return None
    cheapest = " and ".join(
        f"${usd:.2f} on {'demand' if kind is Provisioning.ON_DEMAND else kind} in {region}"
        for (usd, region), kind in costs
    )
    return (
        f"a budget of ${policy.budget_usd:.2f} does not pay for {_asked(run)}: at least {cheapest}, without a"
        " preemption. Raise --budget-usd, or correct policy.work_hours"
    )


def _asked(run: Run) -> str:
    return f"{hours(run.spec.policy.work)} of work and a start of {hours(RESTORE)}"


def _cheapest(run: Run, kind: Provisioning, start: timedelta = RESTORE) -> tuple[float, str] | None:
    """Return the lowest cost of the work and one start, and its region; None without a price."""
    policy, hour = run.spec.policy, timedelta(hours=1)
    prices = ((policy.price(region, kind), region) for region in policy.regions)
    return min(((price * ((policy.work + start) / hour), region) for price, region in prices if price), default=None)
