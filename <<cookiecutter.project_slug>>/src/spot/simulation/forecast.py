"""What a run will cost and when it will be done: replays of it, with our policy and with what it is compared with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from spot.core.run import PolicyConfig, Provisioning, Run
from spot.policy import decide
from spot.simulation import baselines
from spot.simulation.replay import Decide, Replayed, horizon, replay
from spot.simulation.startup_times import Starts, StartupTimes
from spot.simulation.windows import Windows

CERTAIN = 3
"""What never happened in n independent windows has, at 95 %, a probability below 3/n: the rule of three."""
SOONEST = 5
"""Minutes in which no machine is provisioned."""


class Baseline(StrEnum):
    """Who decides."""

    OURS = "this policy"
    ON_DEMAND = "on-demand only"
    ARTICLE = "the article's rule"


_DECIDES: dict[Baseline, Decide] = {
    Baseline.OURS: decide.decide,
    Baseline.ON_DEMAND: baselines.on_demand_only,
    Baseline.ARTICLE: baselines.article,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A run that is forecast."""

    label: str
    run: Run

    @property
    def deadline_hours(self) -> float:
        return (self.run.spec.deadline - self.run.submitted_at) / timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Some replays of one case; it goes to another process as it is."""

    case: Case
    rival: Baseline
    windows: Windows
    draws: StartupTimes
    starts: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One replay."""

    start: int
    """Minutes from the start of the trace."""
    usd: float
    hours: float | None
    """From submit to the model; None without one."""
    missed: bool
    """The deadline."""
    preemptions: int
    asked: int
    """Machines asked for."""
    spot_hours: float
    on_demand_hours: float
    waited_hours: float
    """Without any machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """The replays of one case by one of those who decide."""

    samples: tuple[Sample, ...]
    apart: int
    """Minutes between two starts whose windows do not overlap before the deadline."""

    @property
    def mean_usd(self) -> float:
        return self.mean(lambda sample: sample.usd)

    def mean(self, value: Callable[[Sample], float]) -> float:
        return sum(map(value, self.samples)) / len(self.samples)

    @property
    def missed(self) -> int:
        return sum(sample.missed for sample in self.samples)

    @property
    def unfinished(self) -> int:
        return sum(sample.hours is None for sample in self.samples)

    @property
    def missed_at_most(self) -> float | None:
        """With a probability of 95 %, where none was; None where some were."""
        return None if self.missed else min(CERTAIN / self.independent, 1.0)

    @property
    def independent(self) -> int:
        """How many of its windows do not overlap, each taken as soon as it may be: what comes twice counts once."""
        count, free = 0, -math.inf
        for start in sorted({sample.start for sample in self.samples}):
            if start >= free:
                count, free = count + 1, start + self.apart
        return count

    @property
    def usd(self) -> tuple[float, ...]:
        """In order."""
        return tuple(sorted(sample.usd for sample in self.samples))

    @property
    def hours(self) -> tuple[float, ...]:
        """In order, of those that were done at all."""
        return tuple(sorted(sample.hours for sample in self.samples if sample.hours is not None))

    @property
    def ends(self) -> tuple[float, ...]:
        """The same of all: those that were never done come last, as infinite."""
        return (*self.hours, *[math.inf] * self.unfinished)


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """Of values in order, the first that so many are not above; None of none."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None


def starts_of(policy: PolicyConfig) -> Starts:
    """As in the replay model, on-demand taking up to what the settings call its worst."""
    model = Starts()
    most = int(policy.worst_start / timedelta(minutes=1)) - model.restore[1]
    return Starts(on_demand=(SOONEST, max(most, SOONEST)))


def play(task: Task) -> list[Sample]:
    """Raises `ReplayError`."""
    run = task.case.run
    minutes, decide = horizon(run), _DECIDES[task.rival]
    return [
        _sample(start, replay(run, decide, task.windows.capacity(start, minutes), task.draws.at(start)))
        for start in task.starts
    ]


def _sample(start: int, replayed: Replayed) -> Sample:
    minutes, done = replayed.minutes, replayed.completed_at
    return Sample(
        start=start,
        usd=replayed.usd,
        hours=None if done is None else done / 60,
        missed=replayed.missed,
        preemptions=replayed.preemptions,
        asked=len(replayed.run.attempts),
        spot_hours=minutes[Provisioning.SPOT] / 60,
        on_demand_hours=minutes[Provisioning.ON_DEMAND] / 60,
        waited_hours=replayed.waited / 60,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Of one case, everyone on the very same windows and with the same luck."""

    case: Case
    ours: Samples
    on_demand: Samples
    article: Samples

    @property
    def saving(self) -> float | None:
        """The share of the cost of on-demand only; below 0 it is a loss. Without a model there is none: None."""
        return None if self.ours.unfinished else 1 - self.ours.mean_usd / self.on_demand.mean_usd

    def of(self, rival: Baseline) -> Samples:
        return {Baseline.OURS: self.ours, Baseline.ON_DEMAND: self.on_demand, Baseline.ARTICLE: self.article}[rival]


def forecast(case: Case, played: Iterable[tuple[Baseline, Sequence[Sample]]]) -> Forecast:
    """From all that was played of this case."""
    found: dict[Baseline, list[Sample]] = {rival: [] for rival in Baseline}
    for rival, samples in played:
        found[rival] += samples
    apart = math.ceil((case.run.spec.deadline - case.run.submitted_at) / timedelta(minutes=1))
    ours, on_demand, article = (Samples(samples=tuple(found[rival]), apart=apart) for rival in Baseline)
    return Forecast(case=case, ours=ours, on_demand=on_demand, article=article)
