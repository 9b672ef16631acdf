"""Replay one run: the policy on a simulated clock, in given capacity and with given startup times. Pure.

Time passes in whole minutes. A spot job waits, unbilled, until its region has capacity for all machines. It is
provisioned, unbilled, and waits again if the capacity goes meanwhile. It restores, billed, and trains until the
capacity ends; work after its newest checkpoint is lost. On-demand always starts, and is never preempted. A standby
replaces on-demand when it has restored: on-demand saves and ends, and nothing is lost. The supervisor reconciles on
its interval, and sees no more than in reality (docs/costs.md).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import partial

from spot.core.actions import Action, CancelAttempt, Close, Submit, Wait
from spot.core.history import Decision
from spot.core.job import JobState
from spot.core.run import Observation, Run
from spot.simulation.cloud import MINUTE, NEVER, Cloud, ReplayedJob, ReplayError
from spot.simulation.startup_times import StartupTimes
from spot.simulation.traces import Capacity

Decide = Callable[[Run, Observation, datetime], Action]
"""A policy: `spot.policy.decide.decide`, or a baseline."""

HORIZON = 5
"""A replay stops after this multiple of the time to the deadline."""
MOST_ACTIONS = 100
"""A policy that takes more actions in one reconcile is in a loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """Hold a finished replay; minutes are since submit."""

    run: Run
    """With all its attempts and decisions; still open if the replay was stopped."""
    completed_at: int | None
    until: int
    """When the run was closed, or the replay stopped."""

    @property
    def missed(self) -> bool:
        run = self.run
        return self.completed_at is None or run.submitted_at + self.completed_at * MINUTE > run.spec.deadline

    @property
    def usd(self) -> float:
        """Return the cost. Raise `ReplayError` where a price is not known."""
        usd = self.run.usd_spent(self.run.submitted_at + self.until * MINUTE)
        if usd is None:
            raise ReplayError(f"no price is known for one of {', '.join(self.run.spec.policy.regions)}")
        return usd


def horizon(run: Run) -> int:
    """Return the minute after submit at which a replay stops; its capacity must reach so far."""
    return HORIZON * max((run.spec.deadline - run.submitted_at) // MINUTE, 1)


def replay(run: Run, decide: Decide, capacity: Capacity, times: StartupTimes) -> Replayed:
    """Replay a run without attempts, whose policy states the work exactly.

    Raises `ReplayError` for FLEX_START, a region without a trace, or a third active attempt.
    """
    return _Replay(run, decide, capacity, times).go()


class _Replay:
    def __init__(self, run: Run, decide: Decide, capacity: Capacity, times: StartupTimes) -> None:
        self._run, self._decide = run, decide
        self._with = partial(Run, **{field.name: getattr(run, field.name) for field in fields(run)})  # fast `replace`
        self._cloud = Cloud(run, capacity, times)
        self._interval = max(-(-run.spec.policy.reconcile_interval // MINUTE), 1)
        self._jobs: list[ReplayedJob] = []
        self._decisions: list[Decision] = []
        self._now = 0

    def go(self) -> Replayed:
        last = horizon(self._run)
        while self._now <= last:
            wait = self._reconcile()
            if wait is None:
                break
            self._now = self._next_reconcile(wait)
        return Replayed(run=self._run, completed_at=self._cloud.completed_at, until=min(self._now, last))

    def _reconcile(self) -> Wait | None:
        """Act until the policy waits; return None once the run is closed."""
        for _ in range(MOST_ACTIONS):
            attempts, seen = self._cloud.shown(self._jobs, self._now)
            run, now = self._with(attempts=attempts), self._run.submitted_at + self._now * MINUTE
            action = self._decide(run, seen, now)
            if isinstance(action, Wait):
                self._run = run
                return action
            self._decisions.append(Decision(at=now, action=type(action).__name__, reason=action.reason))
            match action:
                case Submit():
                    attempt = action.attempt(run, now, seen.step)
                    submitted = replace(attempt, job=attempt.id, state=JobState.PENDING)
                    self._jobs.append(self._cloud.submit(submitted, self._now))
                case CancelAttempt():
                    self._cloud.cancel(action.attempt, action.why, self._now)
                case Close():
                    self._run = replace(run, state=action.state, ended_at=now, decisions=tuple(self._decisions))
                    return None
        raise ReplayError(f"{MOST_ACTIONS} actions in one reconcile, the last one for: {action.reason}")

    def _next_reconcile(self, wait: Wait) -> int:
        """Return the first minute of the grid with something new to see, or at which time alone decides."""
        cloud, wake = self._cloud, NEVER
        if wait.until is not None:
            wake = max(-(-(wait.until - self._run.submitted_at) // MINUTE), self._now + 1)
        sight = NEVER
        while True:
            checkpoint = cloud.checkpoint_due(self._now, only_first=wait.until is not None)
            following = -(-min(wake, sight, checkpoint) // self._interval) * self._interval
            due = cloud.due
            if due > following or due == NEVER:
                return following
            if cloud.change():
                sight = min(sight, due)
