"""Progress over time, and the work that is due: the least progress from which the deadline can still be met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from spot.accounting.cost import Account, Entry
from spot.accounting.phases import Phase, saved_at, successor_of
from spot.core.run import Observation, Outcome, Run, RunState
from spot.policy.slack import assess

MOST_TIMES = 6
"""As long as it took, may be shown for what was left to the deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Shares of the work, from 0 to 1."""

    points: tuple[tuple[datetime, float], ...]
    """What was safe, by time; straight in between, and neither goes back."""
    work: timedelta
    """All of it, at the measured rate."""
    deadline: datetime

    def done(self, at: datetime) -> float:
        return _between(self.points, at)

    def due(self, at: datetime) -> float:
        """Less than this at `at` cannot be made up for, even without a pause."""
        start = self.deadline - self.work
        return _between(((start, 0.0), (self.deadline, 1.0)), at)


def curve(account: Account) -> Curve | None:
    """None if it is not known how many steps there are."""
    run, seen = account.run, account.seen
    total = _total_steps(account)
    if not total:
        return None
    points, reached = [(run.submitted_at, 0.0)], 0.0
    for entry in sorted(account.entries, key=lambda entry: entry.attempt.advanced_at or account.end):
        attempt = entry.attempt
        saved = _saved_at(run, entry, seen)
        if attempt.advanced_at is None or saved is None:
            continue
        step = attempt.last_step
        if step is None:
            step = seen.progress.step if seen and seen.progress and seen.progress.attempt == attempt.id else 0
        begun = max(attempt.advanced_at, points[-1][0])
        points.append((begun, reached))
        if successor := successor_of(run, attempt):
            step = min(step, successor.from_step)
        reached = max(reached, min(step / total, 1.0))
        points.append((max(min(saved, account.end), begun), reached))
    if run.state is RunState.SUCCEEDED:
        reached = 1.0
    points.append((max(account.end, points[-1][0]), reached))
    situation = assess(run, seen or Observation(), account.end)
    return Curve(points=tuple(points), work=situation.all_work, deadline=run.spec.deadline)


def horizon(account: Account) -> datetime:
    """The last moment worth drawing: the deadline, unless all that happened were a speck beside the time until then."""
    run, end = account.run, account.end
    far = run.submitted_at + MOST_TIMES * (end - run.submitted_at)
    if end < run.spec.deadline <= far or run.state is RunState.OPEN:
        return max(run.spec.deadline, end)
    return max(end, run.submitted_at + timedelta(minutes=1))


def _saved_at(run: Run, entry: Entry, seen: Observation | None) -> datetime | None:
    """When its last step was safe: one that was relieved saved once more, when it was."""
    trained = [span.end for span in entry.spans if span.phase is Phase.TRAINING]
    relieved = entry.attempt.outcome is Outcome.HANDED_OVER or successor_of(run, entry.attempt)
    if relieved and trained:
        return trained[-1]
    return saved_at(entry.attempt, seen) or entry.attempt.ended_at


def _total_steps(account: Account) -> int:
    run, seen = account.run, account.seen
    if seen and seen.progress:
        return seen.progress.total_steps
    if run.state is RunState.SUCCEEDED:
        return max((attempt.last_step or 0 for attempt in run.attempts), default=0)
    return 0


def _between(points: Sequence[tuple[datetime, float]], at: datetime) -> float:
    if at <= points[0][0]:
        return points[0][1]
    for (start, low), (end, high) in pairwise(points):
        if at <= end:
            return low + (high - low) * ((at - start) / (end - start)) if end > start else high
    return points[-1][1]
