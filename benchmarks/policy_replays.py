"""Replay every policy on one window, and compute the least possible cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from functools import cache

from benchmarks.policy_baselines import greedy, uniform_progress
from benchmarks.policy_optimum import Start, Way, least_cost
from benchmarks.policy_settings import DEADLINE, RESTORE, USD_PER_HOUR, WORK, Setting, run
from benchmarks.policy_windows import Window
from spot.core.run import Provisioning
from spot.policy.decide import decide
from spot.simulation.baselines import fixed_spot_window
from spot.simulation.replay import Decide, horizon, replay
from spot.simulation.startup_times import StartupTimes
from spot.simulation.traces import Capacity, Spans, Windows, shipped, windows


class Policy(StrEnum):
    """What is compared."""

    SPOT_WINDOW = "fixed 75 % Spot window"
    UNIFORM = "Uniform Progress"
    GREEDY = "greedy"
    ALONE = "ours, no hand-over"
    OURS = "ours"
    OPTIMUM = "optimum"


DECIDE: dict[Policy, Decide] = {
    Policy.SPOT_WINDOW: fixed_spot_window,
    Policy.UNIFORM: uniform_progress,
    Policy.GREEDY: greedy,
    Policy.ALONE: decide,
    Policy.OURS: decide,
}
ALWAYS: Spans = ((0, 10**9),)
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A window in a setting, and what to replay in it."""

    setting: Setting
    window: Window
    seed: int
    policies: tuple[Policy, ...]
    otherwise: Mapping[str, timedelta] = field(default_factory=dict)
    """Terms of the run that are not those of `policy_settings`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one policy with one amount of work."""

    job: Job
    policy: Policy
    work: int
    """Minutes."""
    ratio: float
    """To on-demand only, where that costs least: the work and one restore."""
    missed: bool
    preemptions: int


class BeatenOptimum(Exception):
    """A policy cost less than the least possible: the replay or the programme is wrong."""


def replayed(job: Job) -> list[Cost]:
    """Every policy with every amount of work. Raises `BeatenOptimum`."""
    setting, start = job.setting, job.window.start
    stretches, draws = _stretches(setting), _startup_times(setting, job.seed).at(start)
    costs = [
        _cost(job, policy, work, stretches, draws)
        for work in WORK
        for policy in job.policies
        if policy is not Policy.OPTIMUM
    ]
    if Policy.OPTIMUM in job.policies:
        costs += _optimum(job, stretches.capacity(start, DEADLINE), draws, costs)
    return costs


trace = cache(shipped)


@cache
def _stretches(setting: Setting) -> Windows:
    return windows(trace(), setting.regions, setting.gpus, DEADLINE)


@cache
def _startup_times(setting: Setting, seed: int) -> StartupTimes:
    return StartupTimes.drawn(setting.starts, setting.regions, seed)


def _cost(job: Job, policy: Policy, work: int, stretches: Windows, draws: StartupTimes) -> Cost:
    asked = run(job.setting, work, hand_over=policy is not Policy.ALONE, otherwise=job.otherwise)
    found = replay(asked, DECIDE[policy], stretches.capacity(job.window.start, horizon(asked)), draws)
    return Cost(
        job=job,
        policy=policy,
        work=work,
        ratio=found.usd / _on_demand_only(job.setting, work),
        missed=found.missed,
        preemptions=found.run.preemptions,
    )


def _on_demand_only(setting: Setting, work: int) -> float:
    return (work + RESTORE) * setting.on_demand_usd


def _optimum(job: Job, capacity: Capacity, draws: StartupTimes, costs: Sequence[Cost]) -> list[Cost]:
    """Raises `BeatenOptimum` if one that was in time cost less."""
    usd = least_cost(list(ways(job.setting, capacity, draws)), deadline=DEADLINE, most_work=max(WORK))
    least = {work: float(usd[work]) / _on_demand_only(job.setting, work) for work in WORK}
    for cost in costs:
        if not cost.missed and cost.ratio < least[cost.work] - ROUNDING:
            raise BeatenOptimum(f"{cost} is less than {least[cost.work]}, which is the least possible")
    return [
        Cost(job=job, policy=Policy.OPTIMUM, work=work, ratio=ratio, missed=False, preemptions=0)
        for work, ratio in least.items()
    ]


def ways(setting: Setting, capacity: Capacity, draws: StartupTimes) -> Iterator[Way]:
    """Every kind of machine in every region, as the replay starts them."""
    for region in setting.regions:
        yield _way(Provisioning.ON_DEMAND, region, ALWAYS, draws)
        yield _way(Provisioning.SPOT, region, capacity[region], draws)


def _way(provisioning: Provisioning, region: str, ups: Spans, draws: StartupTimes) -> Way:
    has_capacity = [False] * DEADLINE
    starts: list[Start | None] = [None] * DEADLINE
    for begin, end in ups:
        for minute in range(begin, min(end, DEADLINE)):
            has_capacity[minute] = True
            runs = minute + draws.provisioning(provisioning, region, minute)
            ready = runs + draws.restore(provisioning, region, runs)
            if ready <= end:
                starts[minute] = Start(ready=ready, billed=ready - runs)
    usd = USD_PER_HOUR[region][provisioning] / 60
    return Way(usd_per_minute=usd, has_capacity=has_capacity, starts=starts)
