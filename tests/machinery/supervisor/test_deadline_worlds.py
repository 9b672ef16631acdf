"""The deadline in worlds whose work is not what was stated, and the alarms of every world: none missed, none false."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot.core.history import Condition
from spot.core.run import Attempt, Observation, Provisioning, Run, RunState, Strategy
from tests.machinery import samples
from tests.machinery.supervisor.passes import Passes
from tests.machinery.supervisor.world_cloud import Cloud, Job
from tests.machinery.supervisor.worlds import BUDGETS, MINUTE, NEVER, Region, World, any_world, kept_promises, runs

FEW, MORE = range(4), range(4, 48)
seeds = pytest.mark.parametrize("seeds", [FEW, pytest.param(MORE, marks=pytest.mark.chaos)], ids=["few", "more"])
DEADLINE = {Condition.LATE, Condition.BOUND_TO_BE_LATE}
NO_SPOT = (0, NEVER)


class MeasuredCloud(Cloud):
    """A cloud whose training evaluates after each part of its steps, and on demand may be slower than on spot.

    A position counts minutes of steps and evaluations. No save interrupts an evaluation.
    """

    def __init__(self, world: World, steps: int, evaluations: tuple[int, int], slow: int | None = None) -> None:
        self.steps, (self.count, self.evaluation), self.slow = steps, evaluations, slow
        super().__init__(world, steps + self.count * self.evaluation)
        self.trained = 0.0

    def observe(self, run: Run) -> Observation:
        seen = super().observe(run)
        if seen.progress is None:
            return seen
        step, done = self._counted(self.saved)
        evaluating = done * self.evaluation * MINUTE
        progress = replace(
            seen.progress,
            step=step,
            total_steps=self.steps,
            trained=self.trained * MINUTE,
            steps_per_hour=60 * step / max(self.saved, 1) * self._speed(run.attempt(self.saved_by)),
            evaluating=evaluating,
            longest_evaluation=self.evaluation * MINUTE if done else timedelta(),
            evaluations_left=self.count - done,
        )
        return replace(seen, progress=progress)

    def _speed(self, attempt: Attempt | None) -> float:
        slow = self.slow and attempt and attempt.provisioning is Provisioning.ON_DEMAND
        return 1 - 1 / self.slow if self.slow and slow else 1.0

    def _counted(self, position: int) -> tuple[int, int]:
        """Return the steps and the evaluations before a position."""
        if not self.count:
            return position, 0
        part = self.steps // self.count
        done, inside = divmod(position, part + self.evaluation)
        return done * part + min(inside, part), done

    def _train(self, job: Job) -> None:
        if self.slow and job.attempt.provisioning is Provisioning.ON_DEMAND and job.ran % self.slow == 0:
            return
        super()._train(job)

    def _save(self, job: Job, minutes: int, at: int) -> None:
        position = self.saved + minutes
        step, done = self._counted(position)
        kept = position if position >= self.work else step + done * self.evaluation
        if kept > self.saved:
            self.trained += (kept - self.saved) / self._speed(job.attempt)
            self.saved, self.saved_at, self.saved_by = kept, at, job.attempt.id
        job.unsaved = position - self.saved


def world(seed: int, **changes: Any) -> World:
    """One that keeps what `samples.POLICY` states; spot comes and goes, or never comes."""
    rng = random.Random(seed)
    spans = [rng.choice((2, 10, 30, 60, 120, 300)) for _ in range(rng.randint(0, 8))]
    spot = NO_SPOT if rng.random() < 0.3 else tuple(spans)
    facts: dict[str, Any] = {
        "regions": {"us-central1": Region(spot=spot), "us-east4": Region(spot=NO_SPOT)},
        "gaps": tuple(rng.randint(5, 15) for _ in range(7)),
        "spot_starts": tuple((rng.randint(3, 12), rng.randint(2, 12)) for _ in range(3)),
        "on_demand_starts": tuple((rng.randint(3, 15), rng.randint(2, 10)) for _ in range(3)),
        "checkpoints": tuple(rng.randint(2, 10) for _ in range(3)),
        "saves": (rng.random() < 0.5,),
        "cancels": (rng.randint(1, 3),),
    }
    return World(**{**facts, **changes})


def played(
    seed: int,
    *,
    steps: int,
    stated: int,
    hours: float,
    evaluations: tuple[int, int] = (0, 0),
    slow: int | None = None,
    policy: dict[str, Any] | None = None,
    **changes: Any,
) -> Passes:
    facts = {"work": stated * MINUTE, "deadline": samples.after(hours=hours), "work_is_measured": False}
    run = samples.run(**facts | (policy or {}))
    around = world(seed, **changes)
    passes = Passes(around, run, MeasuredCloud(around, steps, evaluations, slow))
    passes.go_on_until(10_000)
    assert passes.run.state is RunState.SUCCEEDED
    return passes


def missed(passes: Passes) -> bool:
    assert passes.cloud.completed is not None
    return samples.T0 + passes.cloud.completed * MINUTE > passes.run.spec.deadline


NONE_THERE = {"us-central1": Region(spot=NO_SPOT), "us-east4": Region(spot=NO_SPOT)}
PROMISED: dict[str, dict[str, Any]] = {
    "one hour stated, truly three, no spot": {"steps": 180, "stated": 60, "hours": 12, "regions": NONE_THERE},
    "the same without hand-over": {
        "steps": 180,
        "stated": 60,
        "hours": 12,
        "regions": NONE_THERE,
        "policy": {"hand_over": False},
    },
    "one hour stated, truly three": {"steps": 180, "stated": 60, "hours": 12},
    "four hours stated, truly eight, no spot": {"steps": 480, "stated": 240, "hours": 12, "regions": NONE_THERE},
    "four hours stated, truly eight": {"steps": 480, "stated": 240, "hours": 12},
    "a long evaluation at the end": {"steps": 195, "stated": 240, "hours": 7, "evaluations": (1, 45)},
    "the same, measured before": {
        "steps": 195,
        "stated": 240,
        "hours": 7,
        "evaluations": (1, 45),
        "policy": {"work_is_measured": True},
    },
    "cancels that take long": {"steps": 480, "stated": 480, "hours": 10, "cancels": (40,)},
    "several evaluations": {"steps": 360, "stated": 480, "hours": 11, "evaluations": (4, 30)},
    "the same, measured before ": {
        "steps": 360,
        "stated": 480,
        "hours": 11,
        "evaluations": (4, 30),
        "policy": {"work_is_measured": True},
    },
}


@seeds
@pytest.mark.parametrize("case", PROMISED.values(), ids=PROMISED)
def test_no_deadline_is_missed_where_the_work_is_not_what_was_stated(case: dict[str, Any], seeds: range) -> None:
    lost = [seed for seed in seeds if missed(played(seed, **case))]
    assert not lost


BEYOND: dict[str, dict[str, Any]] = {
    "on-demand a fifth slower": {"steps": 480, "stated": 480, "hours": 10, "slow": 5},
    "on-demand starts too slow": {"steps": 480, "stated": 480, "hours": 9, "on_demand_starts": ((58, 2), (24, 1))},
    "on-demand has no machine for two hours": {
        "steps": 480,
        "stated": 480,
        "hours": 9,
        "on_demand_starts": ((118, 2), (118, 2), (3, 2)),
        "regions": NONE_THERE,
    },
    "passes far apart": {"steps": 480, "stated": 480, "hours": 10, "gaps": (5, 70)},
    "work that is truly four times as much": {"steps": 480, "stated": 120, "hours": 10},
}


@seeds
@pytest.mark.parametrize("case", BEYOND.values(), ids=BEYOND)
def test_every_miss_beyond_the_promise_is_reported_with_the_condition_that_was_broken(
    case: dict[str, Any], seeds: range
) -> None:
    """The alarm about the deadline comes at the first pass after it, or before."""
    late = [passes for seed in seeds if missed(passes := played(seed, **{"policy": {"work_is_measured": True}} | case))]
    for passes in late:
        assert DEADLINE & passes.alarmed.keys()
        assert passes.alarmed.keys() - DEADLINE, passes.run.alarms
    assert late or seeds is FEW


@given(st.data())
def test_no_alarm_is_raised_while_every_condition_holds(data: st.DataObject) -> None:
    run = data.draw(runs((Strategy.HYBRID,), st.none()))
    kept = replace(data.draw(kept_promises(run)), restarts=(False,))
    passes = Passes(kept, run)
    passes.go_on_until(10_000)
    assert passes.run.alarms == ()


@given(st.data())
def test_every_missed_deadline_is_reported_at_the_first_pass_that_can_know_of_it(data: st.DataObject) -> None:
    """A miss is certain when even a machine that trains from now on, without a pause, would end too late.

    A pass knows what is saved. It must allow for what an attempt may have trained since, at most for one interval.
    """
    run = data.draw(runs(tuple(Strategy), BUDGETS))
    around = replace(data.draw(any_world(run)), behind=(0,))
    passes = Passes(around, run)
    cloud, certain = passes.cloud, list[int]()
    deadline = (run.spec.deadline - samples.T0) // MINUTE
    interval = run.spec.policy.max_checkpoint_interval // MINUTE

    def watch() -> None:
        unsaved = max((job.unsaved for job in cloud.open_jobs), default=0)
        left = 0 if cloud.completed is not None else cloud.work - cloud.saved - unsaved
        if cloud.minute + left > deadline and (cloud.completed is None or cloud.completed > deadline):
            certain.append(cloud.minute)

    passes.watch = watch
    passes.go_on_until(around.calm + 20_000)
    if not certain or (passes.run.state is not RunState.SUCCEEDED and cloud.completed is None):
        return
    at = min(passes.alarmed[one] for one in DEADLINE & passes.alarmed.keys())
    assert at <= next((minute for minute in passes.begun if minute >= certain[0] + interval), cloud.minute)
