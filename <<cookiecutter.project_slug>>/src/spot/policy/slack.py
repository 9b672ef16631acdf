"""Measure a run against its deadline: the numbers that every decision rests on."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from spot.core.format import hours
from spot.core.history import TrainingProgress
from spot.core.run import Attempt, Observation, PolicyConfig, Provisioning, Run, Strategy

HOUR = timedelta(hours=1)
PRIOR = timedelta(minutes=10)
TRUST = timedelta(hours=1)
NEW_START_WEIGHT = 0.3
"""Weight of the newest observed start in the moving average of starts."""
SETTLE = timedelta(minutes=3)
"""The longest wait of a reconcile for the end of a cancelled job, or for the error of a failed one."""
MOMENT = timedelta.resolution
"""The least time by which a wait must exceed its patience before it ends."""
LONGEST = timedelta(days=7)
"""The longest job that Vertex AI allows; longer work takes several jobs."""
LONGEST_WORK = timedelta(days=3650)
"""An upper bound, so that an absurd number of epochs does not overflow a date."""
LOST_WORK = 0.03
"""The expected cost of preemptions as a share of the work left: 20 minutes each, one in 11 hours."""
UNSAVED = 0.4
"""The part of that cost that a save on SIGTERM avoids: half a checkpoint interval."""
RESERVED_WORK = 0.5
"""The most that is kept in reserve, as a share of the work left."""
UNMEASURED = 2
"""Factor on a stated duration that no succeeded run has measured."""
MODELS = 2
"""Those that are evaluated after the last step: the new model and the champion."""
SLOW_START_MARGIN = 1.25
"""Factor on an observed start that exceeded the configured worst case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slack:
    """Hold the work left, the time left, and the margins that on-demand needs."""

    now: datetime
    deadline: datetime
    work: timedelta
    """From the newest durable checkpoint to the end, at least; unmeasured work counts with caution."""
    likely_work: timedelta
    """The same without caution."""
    total_work: timedelta
    expected_start: timedelta
    worst_start: timedelta
    reconcile_interval: timedelta
    max_checkpoint_interval: timedelta
    """Longest time between two checkpoints: no save interrupts an evaluation."""
    lost_work: float
    """The expected cost of preemptions as a share of the work left."""
    reserve: timedelta
    """Zero without hand-over, once the work is measured: nothing leads back from on-demand to spot then."""
    last_progress_at: datetime | None

    @classmethod
    def of(cls, run: Run, seen: Observation, now: datetime) -> "Slack":
        """Measure `run` by its policy, its own attempts and the newest manifest."""
        policy, progress = run.spec.policy, seen.progress
        work, likely_work, total_work = _work(policy, progress, run.attempts)
        is_measured = policy.work_is_measured or (progress is not None and progress.trained >= TRUST)
        return cls(
            now=now,
            deadline=run.spec.deadline,
            work=timedelta() if seen.completed_at else work,
            likely_work=timedelta() if seen.completed_at else likely_work,
            total_work=total_work,
            expected_start=expected_start(policy.expected_start, run.attempts),
            worst_start=worst_start(policy.worst_start, run.attempts),
            reconcile_interval=policy.reconcile_interval,
            max_checkpoint_interval=_checkpoint_interval(policy, progress),
            lost_work=LOST_WORK * (1 - UNSAVED * policy.saved_share),
            reserve=policy.reserve if hands_over(policy) or not is_measured else timedelta(),
            last_progress_at=progress.at if progress else None,
        )

    def __str__(self) -> str:
        return f"slack {hours(self.left)}"

    @property
    def time_left(self) -> timedelta:
        return self.deadline - self.now

    @property
    def left(self) -> timedelta:
        """Return the slack: what remains at the deadline if training goes on from now without a pause."""
        return self.time_left - self.work

    @property
    def on_demand_overhead(self) -> timedelta:
        """Return the time that on-demand needs besides the work: its start, and one more for each further job."""
        each = self.worst_start + self.reconcile_interval + SETTLE + self.max_checkpoint_interval
        of_one_job = max(LONGEST - self.worst_start - self.max_checkpoint_interval, LONGEST / 2)
        return min(self.worst_start + (self.work // of_one_job) * each, LONGEST_WORK)

    @property
    def hard_margin(self) -> timedelta:
        """Return the slack at which on-demand must be submitted in this reconcile: in the next it might be late."""
        return self.on_demand_overhead + self.reconcile_interval + SETTLE

    @property
    def margin(self) -> timedelta:
        """Return the hard margin plus what a running attempt may not have saved yet."""
        return self.hard_margin + self.max_checkpoint_interval

    @property
    def on_demand_margin(self) -> timedelta:
        """Return the slack at which a run without a machine starts on-demand: the margin and a reserve.

        On-demand must have started before a standby can replace it. Where there is no time for that, nothing is kept.
        """
        kept = (
            min(self.reserve + self.work * self.lost_work, self.work * RESERVED_WORK) if self.reserve else timedelta()
        )
        return self.margin + (kept if kept >= self.expected_start else timedelta())

    @property
    def on_demand_start(self) -> datetime:
        """Return when the slack is down to `on_demand_margin`, if nothing advances until then."""
        return self.deadline - self.work - self.on_demand_margin

    @property
    def latest_on_demand_start(self) -> datetime:
        """Return when the slack is down to `margin`, if nothing advances until then."""
        return self.deadline - self.work - self.margin


def hands_over(policy: PolicyConfig) -> bool:
    """Return whether a standby is allowed; never under a budget, since two attempts would share it unawares."""
    return policy.strategy is Strategy.HYBRID and policy.hand_over and policy.budget_usd is None


def counted_work(policy: PolicyConfig) -> timedelta:
    """Return the duration that counts before the first checkpoint."""
    return policy.work if policy.work_is_measured else policy.work * UNMEASURED


def _checkpoint_interval(policy: PolicyConfig, progress: TrainingProgress | None) -> timedelta:
    if progress is None:
        return policy.max_checkpoint_interval
    learnt = progress.checkpoint_interval and progress.checkpoint_interval + progress.save
    return (learnt or policy.max_checkpoint_interval) + progress.longest_evaluation


def _work(
    policy: PolicyConfig, progress: TrainingProgress | None, attempts: tuple[Attempt, ...]
) -> tuple[timedelta, timedelta, timedelta]:
    """Return the work left, the same without caution, and the total work.

    Before the first evaluation was measured, the evaluations may take all stated work that the steps do not.
    """
    counted = counted_work(policy)
    if progress is None:
        return counted, policy.work, counted
    share = max(progress.total_steps - progress.step, 0) / max(progress.total_steps, 1)
    steps = _steps(counted, progress, attempts)
    likely_steps = steps if counted == policy.work else _steps(policy.work, progress, attempts)
    evaluations = progress.evaluations_left * (progress.longest_evaluation / HOUR)
    compared = _bounded(MODELS * (progress.longest_evaluation / HOUR))
    measured = _bounded(evaluations) + max(2 * progress.save + compared, policy.tail)
    is_unmeasured = progress.evaluations_left > 0 and not progress.longest_evaluation
    tail = max(policy.work - steps, measured) if is_unmeasured else measured
    return steps * share + tail, likely_steps * share + measured, steps + progress.evaluating + tail


def _steps(stated: timedelta, progress: TrainingProgress, attempts: tuple[Attempt, ...]) -> timedelta:
    """Return the time for all steps, without evaluations."""
    return _bounded(progress.total_steps / _steps_per_hour(stated, progress, attempts))


def _bounded(needed: float) -> timedelta:
    return timedelta(hours=min(needed, LONGEST_WORK / HOUR))


def _steps_per_hour(stated: timedelta, progress: TrainingProgress, attempts: tuple[Attempt, ...]) -> float:
    """Return the slowest of the rate over the whole run, of the newest start, and of each on-demand attempt.

    The stated work counts as `PRIOR` of training. A start counts in full only after `TRUST`: its first steps are slow,
    and that must not end a spot attempt. The rates of starts include evaluations, in the proportion of the whole run.
    """
    stepping = max(progress.trained - progress.evaluating, timedelta())
    without_evaluations = progress.trained / stepping if stepping else 1.0
    stated_rate = max(progress.total_steps, 1) / (stated / HOUR)
    overall = slowest = (progress.step + stated_rate * (PRIOR / HOUR)) / ((stepping + PRIOR) / HOUR)
    for attempt in attempts:
        if not attempt.started_at:
            continue
        rate, at = attempt.steps_per_hour, attempt.saved_at
        if attempt.id == progress.attempt:
            rate, at = progress.steps_per_hour, progress.at
        elif attempt.provisioning is not Provisioning.ON_DEMAND:
            continue
        if rate > 0 and at:
            trust = min(max((at - (attempt.advanced_at or attempt.started_at)) / TRUST, 0.0), 1.0)
            slowest = min(slowest, (1 - trust) * overall + trust * rate * without_evaluations)
    return slowest


def _starts(attempts: tuple[Attempt, ...]) -> list[tuple[Provisioning, timedelta]]:
    """Return how long each attempt took from submit to its first new step."""
    return [(one.provisioning, one.advanced_at - one.intended_at) for one in attempts if one.advanced_at]


def expected_start(prior: timedelta, attempts: tuple[Attempt, ...]) -> timedelta:
    """Return the moving average of the observed starts, from `prior` on."""
    expected = prior
    for _, took in _starts(attempts):
        expected += NEW_START_WEIGHT * (took - expected)
    return expected


def worst_start(stated: timedelta, attempts: tuple[Attempt, ...]) -> timedelta:
    """Return the stated worst case of on-demand, or more if an observed start took longer."""
    on_demand = (took for provisioning, took in _starts(attempts) if provisioning is Provisioning.ON_DEMAND)
    slowest = max(on_demand, default=timedelta())
    return slowest * SLOW_START_MARGIN if slowest > stated else stated
