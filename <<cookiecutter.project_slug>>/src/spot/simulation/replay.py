"""One run replayed: the same policy on a simulated clock, in capacity that was measured. Pure; the luck is passed in.

The model (docs/forecast.md). Whole minutes. A spot job waits, free, until its region has capacity for all machines; it
is provisioned, unbilled, and waits again if the capacity goes meanwhile. It restores, billed, and trains until the
capacity ends; what came after its newest checkpoint is lost. On-demand always starts, and is never taken away. An
attempt that relieves another one takes over when it has restored: the other one saves and ends, and nothing is lost.
The supervisor makes a pass each tick, and sees what a supervisor can see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from spot.core.actions import Action, CancelAttempt, Close, Submit, Wait
from spot.core.job import JobState
from spot.core.run import Attempt, Decision, Observation, Outcome, Provisioning, Run
from spot.simulation.cloud import MINUTE, NEVER, Cloud, Job, ReplayError
from spot.simulation.startup_times import KINDS, StartupTimes
from spot.simulation.windows import Capacity

Decide = Callable[[Run, Observation, datetime], Action]
"""The policy: `spot.policy.decide.decide`, or one to compare it with."""

HORIZON = 5
"""A run that is open after so many times the time to its deadline is left so."""
MOST_TURNS = 100
"""A pass that would go on for more has gone astray."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """How it went. Minutes are since submit."""

    run: Run
    """With all its attempts and decisions; still open if it came to no end."""
    completed_at: int | None
    """When the model was complete."""
    until: int
    """When the run was closed, or the replay was broken off."""

    @property
    def missed(self) -> bool:
        """The deadline."""
        run = self.run
        return self.completed_at is None or run.submitted_at + self.completed_at * MINUTE > run.spec.deadline

    @property
    def minutes(self) -> dict[Provisioning, int]:
        """Billed, by kind."""
        billed = dict.fromkeys(KINDS, 0)
        for attempt in self.run.attempts:
            billed[attempt.provisioning] += self._billed(attempt)
        return billed

    @property
    def usd(self) -> float:
        """Raises `ReplayError` where a price is not known."""
        return sum(self.usd_by_provisioning.values())

    @property
    def usd_by_provisioning(self) -> dict[Provisioning, float]:
        usd = dict.fromkeys(KINDS, 0.0)
        for attempt in self.run.attempts:
            if minutes := self._billed(attempt):
                price = self.run.spec.policy.price(attempt.region, attempt.provisioning)
                if price is None:
                    raise ReplayError(f"no price is known for {attempt.provisioning} in {attempt.region}")
                usd[attempt.provisioning] += minutes / 60 * price
        return usd

    @property
    def preemptions(self) -> int:
        return sum(attempt.outcome is Outcome.PREEMPTED for attempt in self.run.attempts)

    @property
    def waited(self) -> int:
        """Minutes before the end in which no machine ran."""
        waited, since, end = 0, 0, self.until if self.completed_at is None else self.completed_at
        for begin, until in sorted(span for attempt in self.run.attempts if (span := self._ran(attempt))):
            waited += max(min(begin, end) - since, 0)
            since = max(since, until)
        return waited + max(end - since, 0)

    def _billed(self, attempt: Attempt) -> int:
        span = self._ran(attempt)
        return span[1] - span[0] if span else 0

    def _ran(self, attempt: Attempt) -> tuple[int, int] | None:
        if attempt.started_at is None:
            return None
        since = self.run.submitted_at
        until = self.until if attempt.ended_at is None else (attempt.ended_at - since) // MINUTE
        return (attempt.started_at - since) // MINUTE, until


def horizon(run: Run) -> int:
    """Minutes after submit at which a replay is broken off: so far its capacity must reach."""
    return HORIZON * max((run.spec.deadline - run.submitted_at) // MINUTE, 1)


def replay(run: Run, decide: Decide, capacity: Capacity, draws: StartupTimes) -> Replayed:
    """`run` has no attempts yet; its terms state the work, exactly.

    Raises `ReplayError` if `decide` wants what has no model: FLEX_START, a region without a trace, a third attempt.
    """
    return _Replay(run, decide, capacity, draws).go()


class _Replay:
    def __init__(self, run: Run, decide: Decide, capacity: Capacity, draws: StartupTimes) -> None:
        self._run, self._decide = run, decide
        self._cloud = Cloud(run, capacity, draws)
        self._tick = max(-(-run.spec.policy.reconcile_interval // MINUTE), 1)
        self._jobs: list[Job] = []
        self._decisions: list[Decision] = []
        self._now = 0

    def go(self) -> Replayed:
        last = horizon(self._run)
        while self._now <= last:
            wait = self._pass()
            if wait is None:
                break
            self._now = self._next_pass(wait)
        return Replayed(run=self._run, completed_at=self._cloud.completed_at, until=min(self._now, last))

    def _pass(self) -> Wait | None:
        """Act until there is nothing to do now; None if the run has ended."""
        for _ in range(MOST_TURNS):
            run, seen, now = self._observe()
            action = self._decide(run, seen, now)
            if isinstance(action, Wait):
                self._run = run
                return action
            self._decisions.append(Decision(at=now, action=type(action).__name__, reason=action.reason))
            match action:
                case Submit():
                    self._submit(action, seen, now)
                case CancelAttempt():
                    self._cloud.cancel(action.attempt, action.why, self._now)
                case Close():
                    self._close(run, action, now)
                    return None
        raise ReplayError(f"{MOST_TURNS} turns in one pass, the last one for: {action.reason}")

    def _observe(self) -> tuple[Run, Observation, datetime]:
        attempts, seen = self._cloud.shown(self._jobs, self._now)
        run, decisions = self._run, tuple(self._decisions)
        run = Run(id=run.id, spec=run.spec, submitted_at=run.submitted_at, attempts=attempts, decisions=decisions)
        return run, seen, run.submitted_at + self._now * MINUTE

    def _submit(self, action: Submit, seen: Observation, now: datetime) -> None:
        attempt_id = f"a{len(self._jobs) + 1}"
        attempt = Attempt(
            id=attempt_id,
            provisioning=action.provisioning,
            region=action.region,
            intended_at=now,
            timeout=action.timeout,
            from_step=seen.progress.step if seen.progress else 0,
            replaces=action.replaces,
            job=attempt_id,
            state=JobState.PENDING,
        )
        self._jobs.append(self._cloud.submit(attempt, self._now))

    def _close(self, run: Run, action: Close, now: datetime) -> None:
        if run.active_attempts:
            raise ReplayError(f"the run is closed while {', '.join(one.id for one in run.active_attempts)} lives")
        self._run = replace(run, state=action.state, ended_at=now, decisions=tuple(self._decisions))

    def _next_pass(self, wait: Wait) -> int:
        """The first one at which something can be seen that was not, or at which time alone decides."""
        cloud, wake = self._cloud, NEVER
        if wait.until is not None:
            wake = max(-(-(wait.until - self._run.submitted_at) // MINUTE), self._now + 1)
        sight = NEVER
        while True:
            checkpoint = cloud.checkpoint_due(self._now, only_first=wait.until is not None)
            next_pass = self._on_grid(min(wake, sight, checkpoint))
            if cloud.due > next_pass or cloud.due == NEVER:
                return next_pass
            minute = cloud.due
            if cloud.change():
                sight = min(sight, minute)

    def _on_grid(self, minute: int) -> int:
        return -(-minute // self._tick) * self._tick
