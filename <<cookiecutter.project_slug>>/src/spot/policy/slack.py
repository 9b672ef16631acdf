"""How a run stands against its deadline: the numbers that every decision rests on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from spot.core.run import Attempt, Observation, PolicyConfig, Progress, Provisioning, Run, Strategy

HOUR = timedelta(hours=1)
PRIOR = timedelta(minutes=10)
TRUST = timedelta(hours=1)
NEW_START_WEIGHT = 0.3
"""Of the newest observed start in their moving average."""
SETTLE = timedelta(minutes=3)
"""The longest that a pass waits for the end of what it cancelled, or for the reason why a job has failed."""
LONGEST = timedelta(days=7)
"""What Vertex AI allows a job: longer work takes more than one."""
LONGEST_WORK = timedelta(days=3650)
"""Of a trainer with more epochs than anybody waits for: there would be no dates to reckon with."""
LOST_WORK = 0.03
"""What preemptions are expected to cost, as a share of the work left: 20 minutes each, one in 11 hours."""
RESERVED_WORK = 0.5
"""The most that is kept in reserve, as a share of the work left."""
SLOW_START_MARGIN = 1.25
"""A worst case that was exceeded is taken to be so much worse than what was seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slack:
    """Notation of `policy`: W is `work`, R is `left`, C is `all_work`, D is `whole`."""

    now: datetime
    deadline: datetime
    work: timedelta
    """From the newest durable checkpoint to the end."""
    all_work: timedelta
    whole: timedelta
    """From submit to the deadline."""
    expected_start: timedelta
    worst_start: timedelta
    reconcile_interval: timedelta
    max_checkpoint_interval: timedelta
    reserve: timedelta
    """Nothing where on-demand, once it has begun, goes on to the end."""
    last_progress_at: datetime | None

    @property
    def left(self) -> timedelta:
        return self.deadline - self.now

    @property
    def slack(self) -> timedelta:
        """What would remain at the deadline if the rest were trained from now on without a pause."""
        return self.left - self.work

    @property
    def on_demand_needs(self) -> timedelta:
        """Besides the work, of on-demand that is submitted now: its start, and another for each job that follows it."""
        each = self.worst_start + self.reconcile_interval + SETTLE + self.max_checkpoint_interval
        of_one_job = max(LONGEST - self.worst_start - self.max_checkpoint_interval, LONGEST / 2)
        return self.worst_start + (self.work // of_one_job) * each

    @property
    def hard_margin(self) -> timedelta:
        """On-demand submitted with less slack than this after the next pass might be late."""
        return self.on_demand_needs + self.reconcile_interval + SETTLE

    @property
    def margin(self) -> timedelta:
        """The hard margin, and what a running attempt may not yet have saved."""
        return self.hard_margin + self.max_checkpoint_interval

    @property
    def safety_line(self) -> datetime:
        """When the slack is down to the margin, if nothing advances until then."""
        return self.deadline - self.work - self.margin

    @property
    def latest_on_demand(self) -> datetime:
        """When on-demand must have been submitted, if nothing advances until then."""
        return self.deadline - self.work - self.on_demand_needs

    @property
    def late_margin(self) -> timedelta:
        """With less slack than this on-demand starts: the margin, and what is kept to get back to spot.

        On-demand has to start before it can be relieved; where there is no room for that nothing is kept.
        """
        kept = min(self.reserve + self.work * LOST_WORK, self.work * RESERVED_WORK) if self.reserve else timedelta()
        return self.margin + (kept if kept >= self.expected_start else timedelta())

    @property
    def late_start(self) -> datetime:
        """When the slack is down to that, if nothing advances until then."""
        return self.deadline - self.work - self.late_margin


def hands_over(policy: PolicyConfig) -> bool:
    """Two attempts at once would share one budget, of which neither knows what the other spends."""
    return policy.strategy is Strategy.HYBRID and policy.hand_over and policy.budget_usd is None


def assess(run: Run, seen: Observation, now: datetime) -> Slack:
    """The situation of `run`, from its terms, its own past and the newest manifest."""
    policy = run.spec.policy
    work, all_work = _work(policy.work, seen.progress, run.attempts)
    return Slack(
        now=now,
        deadline=run.spec.deadline,
        work=timedelta() if seen.completed_at else work,
        all_work=all_work,
        whole=run.spec.deadline - run.submitted_at,
        expected_start=_expected_start(policy.expected_start, run.attempts),
        worst_start=_worst_start(policy.worst_start, run.attempts),
        reconcile_interval=policy.reconcile_interval,
        max_checkpoint_interval=policy.max_checkpoint_interval,
        reserve=policy.reserve if hands_over(policy) else timedelta(),
        last_progress_at=seen.progress.at if seen.progress else None,
    )


def _work(stated: timedelta, progress: Progress | None, attempts: tuple[Attempt, ...]) -> tuple[timedelta, timedelta]:
    """What is left, and all of it."""
    if progress is None:
        return stated, stated
    needed = progress.total_steps / _steps_per_hour(stated, progress, attempts)
    all_work = timedelta(hours=min(needed, LONGEST_WORK / HOUR))
    return all_work * (max(progress.total_steps - progress.step, 0) / max(progress.total_steps, 1)), all_work


def _steps_per_hour(stated: timedelta, progress: Progress, attempts: tuple[Attempt, ...]) -> float:
    """The slower of the rate over the whole run and the newest one.

    The stated work counts as `PRIOR` of training, and the newest start in full only after `TRUST`: the first steps of
    a start are slow, and a spot attempt must not be left for that.
    """
    stated_rate = max(progress.total_steps, 1) / (stated / HOUR)
    overall = (progress.step + stated_rate * (PRIOR / HOUR)) / ((progress.trained + PRIOR) / HOUR)
    writer = next((attempt for attempt in attempts if attempt.id == progress.attempt), None)
    if progress.steps_per_hour <= 0 or writer is None or writer.started_at is None:
        return overall
    trust = min(max((progress.at - (writer.advanced_at or writer.started_at)) / TRUST, 0.0), 1.0)
    return (1 - trust) * overall + trust * min(overall, progress.steps_per_hour)


def _starts(attempts: tuple[Attempt, ...]) -> list[tuple[Attempt, timedelta]]:
    return [(attempt, attempt.advanced_at - attempt.intended_at) for attempt in attempts if attempt.advanced_at]


def _expected_start(prior: timedelta, attempts: tuple[Attempt, ...]) -> timedelta:
    expected = prior
    for _, took in _starts(attempts):
        expected += NEW_START_WEIGHT * (took - expected)
    return expected


def _worst_start(stated: timedelta, attempts: tuple[Attempt, ...]) -> timedelta:
    seen = (took for attempt, took in _starts(attempts) if attempt.provisioning is Provisioning.ON_DEMAND)
    slowest = max(seen, default=timedelta())
    return slowest * SLOW_START_MARGIN if slowest > stated else stated
