"""Compute progress over time, and the work due: the least progress that can still meet the deadline."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from spot.accounting.cost import Account, AttemptCost
from spot.accounting.phases import Phase, saved_at, successor_of
from spot.core.run import Observation, Outcome, Run, RunState
from spot.policy.slack import Slack

MOST_TIMES = 6
"""A chart is at most this many times as long as the run took, to show its deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Hold shares of the work, from 0 to 1."""

    points: tuple[tuple[datetime, float], ...]
    """The work in checkpoints over time; linear between points, never decreasing."""
    work: timedelta
    """The whole work, at the measured rate."""
    deadline: datetime

    def done(self, at: datetime) -> float:
        for (start, low), (end, high) in pairwise(self.points):
            if at <= end:
                return low + (high - low) * max((at - start) / (end - start), 0.0) if end > start else high
        return self.points[-1][1]

    def due(self, at: datetime) -> float:
        """Return the least share at a time that can still meet the deadline without interruption."""
        return min(max(1 - (self.deadline - at) / self.work, 0.0), 1.0) if self.work else float(at >= self.deadline)


def curve(account: Account) -> Curve | None:
    """Return the curve of a run, or None if its number of steps is unknown."""
    run, observation = account.run, account.observation or Observation()
    progress = observation.progress
    made = max((attempt.last_step or 0 for attempt in run.attempts), default=0)
    total = progress.total_steps if progress else made if run.state is RunState.SUCCEEDED else 0
    if not total:
        return None
    reached = run.attempts[0].from_step / total if run.attempts else 0.0  # above 0 if the run resumes another
    points = [(run.submitted_at, reached)]
    for cost in sorted(account.attempts, key=lambda cost: cost.attempt.advanced_at or account.end):
        attempt, saved = cost.attempt, _saved_at(run, cost, observation)
        if attempt.advanced_at is None or saved is None:
            continue
        step = attempt.last_step
        if step is None:
            step = progress.step if progress and progress.attempt == attempt.id else 0
        begun = max(attempt.advanced_at, points[-1][0])
        points.append((begun, reached))
        if successor := successor_of(run, attempt):
            step = min(step, successor.from_step)
        reached = max(reached, min(step / total, 1.0))
        points.append((max(min(saved, account.end), begun), reached))
    if run.state is RunState.SUCCEEDED:
        reached = 1.0
    points.append((max(account.end, points[-1][0]), reached))
    slack = Slack.of(run, observation, account.end)
    return Curve(points=tuple(points), work=slack.total_work, deadline=run.spec.deadline)


def horizon(account: Account) -> datetime:
    """Return the end of a chart: the deadline, unless it is too far away to show the run."""
    run, end = account.run, account.end
    far = run.submitted_at + MOST_TIMES * (end - run.submitted_at)
    due = run.spec.deadline if end < run.spec.deadline <= far or run.state is RunState.OPEN else end
    return max(end, due, run.submitted_at + timedelta(minutes=1))


def _saved_at(run: Run, cost: AttemptCost, observation: Observation) -> datetime | None:
    """Return when the last step was in a checkpoint; an attempt saves once more before a hand-over."""
    trained = [span.end for span in cost.spans if span.phase is Phase.TRAINING]
    replaced = cost.attempt.outcome is Outcome.HANDED_OVER or successor_of(run, cost.attempt)
    if replaced and trained:
        return trained[-1]
    return saved_at(cost.attempt, observation) or cost.attempt.ended_at
