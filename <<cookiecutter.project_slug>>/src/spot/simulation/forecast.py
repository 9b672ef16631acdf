"""Forecast the cost and the end of a run: replays of it, under this policy and under the baselines."""

import gc
import math
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from functools import partial
from itertools import islice
from statistics import fmean
from typing import Any

from spot.core.run import Run
from spot.policy.decide import decide
from spot.simulation import baselines
from spot.simulation.replay import Decide, Replayed, horizon, replay
from spot.simulation.startup_times import StartupTimes
from spot.simulation.traces import Windows

HOUR = timedelta(hours=1)
DEADLINES = (1.1, 1.25, 1.5, 2.0, 3.0)
"""Of a sweep, as multiples of the work."""
SHARE = 50
"""Replays that a process takes at a time."""
CERTAIN = 3
"""The rule of three: an event that never occurred in n independent windows has, at 95 %, a probability below 3/n."""


class Baseline(StrEnum):
    """Name the policies of a forecast: this one, and those it is compared with."""

    OURS = "this policy"
    ON_DEMAND = "on-demand only"
    SPOT_WINDOW = "fixed 75 % Spot window"


_DECIDES: dict[Baseline, Decide] = {
    Baseline.OURS: decide,
    Baseline.ON_DEMAND: baselines.on_demand_only,
    Baseline.SPOT_WINDOW: baselines.fixed_spot_window,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Name a run to forecast."""

    label: str
    run: Run

    @property
    def deadline_hours(self) -> float:
        return (self.run.spec.deadline - self.run.submitted_at) / HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResult:
    start: int
    """Minutes from the start of the trace."""
    usd: float
    hours: float | None
    """From submit to the model; None without a model."""
    late: bool
    preemptions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResults:
    """Sum up the replays of one case under one policy."""

    replays: tuple[ReplayResult, ...]
    apart: int
    """Minutes between two starts whose windows do not overlap before the deadline."""

    @property
    def mean_usd(self) -> float:
        return fmean(result.usd for result in self.replays)

    @property
    def mean_preemptions(self) -> float:
        return fmean(result.preemptions for result in self.replays)

    @property
    def late(self) -> int:
        return sum(result.late for result in self.replays)

    @property
    def unfinished(self) -> int:
        return sum(result.hours is None for result in self.replays)

    @property
    def late_upper_bound(self) -> float | None:
        """Return the 95 % upper bound of the share where no replay was late; None where some were."""
        return None if self.late else min(CERTAIN / self.independent, 1.0)

    @property
    def independent(self) -> int:
        """Return how many windows do not overlap, taken greedily from the earliest on."""
        count, free = 0, -math.inf
        for start in sorted({result.start for result in self.replays}):
            if start >= free:
                count, free = count + 1, start + self.apart
        return count

    @property
    def usd(self) -> tuple[float, ...]:
        """Return the costs in order."""
        return tuple(sorted(result.usd for result in self.replays))

    @property
    def hours(self) -> tuple[float, ...]:
        """Return the durations of the finished replays in order."""
        return tuple(sorted(result.hours for result in self.replays if result.hours is not None))

    @property
    def ends(self) -> tuple[float, ...]:
        """Return the durations of all replays in order; an unfinished one is infinite."""
        return (*self.hours, *[math.inf] * self.unfinished)


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """Return the first of the ordered values that this share of them does not exceed; None of no values."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Compare the policies in one case, on the same windows and with the same startup times."""

    case: Case
    ours: ReplayResults
    on_demand: ReplayResults
    spot_window: ReplayResults

    @property
    def saving(self) -> float | None:
        """Return the share saved of the cost of on-demand only, negative for a loss; None if a replay has no model."""
        return None if self.ours.unfinished else 1 - self.ours.mean_usd / self.on_demand.mean_usd

    def of(self, baseline: Baseline) -> ReplayResults:
        return dict(zip(Baseline, (self.ours, self.on_demand, self.spot_window), strict=True))[baseline]


def compare(cases: Sequence[Case], windows: Windows, times: StartupTimes, starts: Sequence[int]) -> list[Forecast]:
    """Replay each case from all `starts`, on all cores. Raise `ReplayError` for an action without a model."""
    asked = [(case, start) for case in cases for start in starts]
    with ProcessPoolExecutor(initializer=_start_worker) as pool:
        rows = pool.map(partial(_replayed, windows, times), *zip(*asked, strict=True), chunksize=SHARE)
        return [_forecast(case, [*islice(rows, len(starts))]) for case in cases]


def _start_worker() -> None:
    """Leave Ctrl-C to the parent process. Replays make no reference cycles to collect."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()


def _forecast(case: Case, rows: Sequence[Sequence[ReplayResult]]) -> Forecast:
    apart = math.ceil((case.run.spec.deadline - case.run.submitted_at) / timedelta(minutes=1))
    ours, on_demand, spot_window = (ReplayResults(replays=replays, apart=apart) for replays in zip(*rows, strict=True))
    return Forecast(case=case, ours=ours, on_demand=on_demand, spot_window=spot_window)


def _replayed(windows: Windows, times: StartupTimes, case: Case, start: int) -> list[ReplayResult]:
    """Replay a case from a start under every policy."""
    capacity, later = windows.capacity(start, horizon(case.run)), times.at(start)
    return [_result(start, replay(case.run, _DECIDES[policy], capacity, later)) for policy in Baseline]


def _result(start: int, replayed: Replayed) -> ReplayResult:
    end = replayed.completed_at
    return ReplayResult(
        start=start,
        usd=replayed.usd,
        hours=None if end is None else end / 60,
        late=replayed.missed,
        preemptions=replayed.run.preemptions,
    )


def deadlines(run: Run, most: timedelta) -> list[Case]:
    """Return cases from the nearest deadline that on-demand is sure to meet up to `most`, the run's own among them."""
    policy = run.spec.policy
    own = run.spec.deadline - run.submitted_at
    step = timedelta(minutes=30 if policy.work >= 5 * HOUR else 6)
    nearest = math.ceil((policy.work + policy.worst_start + policy.reconcile_interval) / step) * step
    times = {nearest, *(round(factor * policy.work / step) * step for factor in DEADLINES)}
    found = sorted({own, *(time for time in times if nearest <= time <= most)})
    return [_case(run, f"{round(time / HOUR, 2):g} h", deadline=run.submitted_at + time) for time in found]


def regions(run: Run) -> list[Case]:
    """Return each region of the run alone, then the first two together, three, and so on."""
    policy = run.spec.policy
    own = policy.regions
    sets = [*((region,) for region in own), *(own[:number] for number in range(2, len(own) + 1))]
    return [_case(run, " + ".join(names), policy=replace(policy, regions=names)) for names in sets]


def _case(run: Run, label: str, **changes: Any) -> Case:
    return Case(label=label, run=replace(run, spec=replace(run.spec, **changes)))
