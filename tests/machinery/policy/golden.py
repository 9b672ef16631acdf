"""Generate the situations, worlds and replays whose decisions golden.json keeps.

golden.json was written by the policy of the first version, and again where it changed on purpose: a refused request
rules out its region, and unexplained ends end a run only at the sixth and without any checkpoint. Some replays changed
when a waiting standby no longer ended because on-demand had restored.
`python -m tests.machinery.policy.golden` prints how many decisions of each kind it holds; with `--write` it records the
policy of today instead, which only a deliberate change of the algorithm justifies.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from spot.core.actions import Action, CancelAttempt, Close, GiveUp, Submit, Wait
from spot.core.history import Cancel, CancelReason, CancelRequest, TrainingProgress
from spot.core.job import JobError, JobState
from spot.core.run import Attempt, Observation, Outcome, Provisioning, Run, RunState, Strategy
from spot.policy.decide import decide
from spot.simulation.replay import horizon, replay
from spot.simulation.startup_times import StartupRanges, StartupTimes
from spot.simulation.traces import shipped, windows
from tests.machinery import samples
from tests.machinery.samples import T0

GOLDEN = Path(__file__).with_name("golden.json")
MINUTE = timedelta(minutes=1)
REGIONS = ("us-central1", "us-east4", "europe-west1")
SPOT, FLEX, ON_DEMAND = Provisioning.SPOT, Provisioning.FLEX_START, Provisioning.ON_DEMAND
OUTCOMES = tuple(outcome for outcome in Outcome if outcome is not Outcome.PERMISSION)


def plain(action: Action) -> str:
    """Return an action without its text: kind, place, seconds since submit."""
    match action:
        case Submit():
            seconds = int(min(action.timeout, timedelta(days=9999)) / timedelta(seconds=1))
            beside = f" {action.replaces}" if action.replaces else ""
            return f"submit {action.provisioning} {action.region} {seconds}{beside}"
        case CancelAttempt():
            return f"cancel {action.attempt} {action.why}"
        case GiveUp():
            return f"give-up {action.attempt}"
        case Close():
            return f"close {action.state}"
        case Wait():
            return f"wait {round((action.until - T0) / timedelta(seconds=1))}" if action.until else "wait"
    raise AssertionError(action)


def random_run(rng: random.Random) -> Run:
    """Return a run with no attempts: strategy, regions, prices, budget and bounds at random."""
    regions = tuple(rng.sample(REGIONS, rng.randint(1, 3)))
    work = rng.choice((1, 4, 10, 10, 18, 200)) * 60 + rng.randint(0, 59)
    prices = {
        region: {kind: round(rng.uniform(0.3, 1.5), 2) for kind in Provisioning if rng.random() < 0.95}
        for region in regions
        if rng.random() < 0.95
    }
    worst_start = rng.randint(5, 60)
    return samples.run(
        strategy=rng.choice((*[Strategy.HYBRID] * 6, Strategy.SPOT, Strategy.ON_DEMAND)),
        regions=regions,
        hand_over=rng.random() < 0.75,
        flex_start=rng.random() < 0.35,
        work=work * MINUTE,
        provisioning_timeout=rng.randint(5, 40) * MINUTE,
        expected_start=rng.randint(5, 40) * MINUTE,
        worst_start=worst_start * MINUTE,
        reconcile_interval=rng.choice((1, 5, 15, 15, 30)) * MINUTE,
        max_checkpoint_interval=rng.choice((5, 10, 15, 30)) * MINUTE,
        reserve=rng.choice((0, 30, 60, 60, 120)) * MINUTE,
        max_preemptions=rng.choice((None, None, None, 0, 2, 5)),
        max_errors=rng.choice((0, 0, 1, 3)),
        budget_usd=rng.choice((None, None, None, None, 0.2, 3.0, 8.0, 15.0, 40.0)),
        usd_per_hour=prices,
        deadline=T0 + (int(work * rng.choice((1.05, 1.2, 1.5, 2, 3))) + worst_start) * MINUTE,
    )


def situations(numbers: Iterable[int]) -> Iterator[str]:
    """Decide once in each of many situations, of which most could never come about."""
    for number in numbers:
        rng = random.Random(f"situation {number}")
        run = random_run(rng)
        span = (run.spec.deadline - T0) / MINUTE
        now = T0 + rng.choice((rng.random(), rng.random(), 0.9 + rng.random() / 4)) * span * MINUTE
        attempts = [_past(rng, run, index, now) for index in range(rng.choice((0, 1, 1, 2, 3, 5, 8)))]
        for _ in range(rng.choice((0, 1, 1, 1, 1, 2))):
            attempts.append(_active(rng, run, attempts, now))
        run = replace(run, attempts=tuple(attempts))
        if rng.random() < 0.04:
            run = replace(run, cancel_request=CancelRequest(at=now, by="ann"))
        if rng.random() < 0.02:
            run = replace(run, state=RunState.FAILED)
        yield plain(decide(run, _observed(rng, run, now), now))


def _past(rng: random.Random, run: Run, index: int, now: datetime) -> Attempt:
    outcome = rng.choice((*OUTCOMES, *[Outcome.NO_CAPACITY] * 8, *[Outcome.PREEMPTED] * 6, Outcome.QUOTA))
    began = T0 + rng.random() * (now - T0)
    created = rng.random() < 0.85
    ran = created and rng.random() < 0.6
    return samples.ended(
        outcome,
        at=began + rng.random() * (now - began),
        id=f"a{index + 1}",
        provisioning=rng.choice((SPOT, SPOT, SPOT, FLEX, ON_DEMAND)),
        region=rng.choice(run.spec.policy.regions),
        intended_at=began,
        job=f"jobs/{index}" if created else None,
        started_at=began + 5 * MINUTE if ran else None,
        advanced_at=began + 9 * MINUTE if ran and rng.random() < 0.6 else None,
        starts=rng.choice((0, 1, 1, 3)),
        replaces=f"a{index}" if index and rng.random() < 0.15 else None,
        cancel=Cancel(at=began, why=CancelReason.FALLBACK) if rng.random() < 0.85 else None,
        error=JobError(code=8, message="said"),
    )


def _active(rng: random.Random, run: Run, attempts: list[Attempt], now: datetime) -> Attempt:
    before = next((it for it in attempts if it.outcome is None), None)
    state = rng.choice((*JobState, *[JobState.PENDING] * 6, *[JobState.RUNNING] * 10))
    began = now - rng.choice((10, 30, 60, 600)) * rng.random() * MINUTE
    ran = state is JobState.RUNNING or rng.random() < 0.2
    return samples.attempt(
        id=f"a{len(attempts) + 1}",
        provisioning=SPOT if before else rng.choice((SPOT, SPOT, FLEX, ON_DEMAND, ON_DEMAND)),
        region=rng.choice(run.spec.policy.regions),
        intended_at=began,
        state=state,
        job="jobs/now" if rng.random() < 0.95 else None,
        started_at=began + 3 * MINUTE if ran else None,
        advanced_at=began + 6 * MINUTE if ran and rng.random() < 0.6 else None,
        replaces=before.id if before else None,
        cancel=Cancel(at=now, why=CancelReason.NO_CAPACITY) if rng.random() < 0.04 else None,
    )


def _observed(rng: random.Random, run: Run, now: datetime) -> Observation:
    progress = None
    if run.attempts and rng.random() < 0.75:
        done = rng.random()
        progress = TrainingProgress(
            attempt=rng.choice(run.attempts).id,
            step=round(600 * done),
            total_steps=600,
            trained=run.spec.policy.work * done * rng.choice((1, 1, 0.8, 1.3)),
            steps_per_hour=rng.choice((0, 1, 1, 0.8)) * 600 / (run.spec.policy.work / timedelta(hours=1)),
            at=now - rng.choice((5, 20, 60, 300)) * rng.random() * MINUTE,
        )
    writer = rng.choice(run.attempts).id if run.attempts and rng.random() < 0.3 else None
    completed = now - rng.random() * 20 * MINUTE if rng.random() < 0.06 else None
    return Observation(progress=progress, writer=writer, completed_at=completed)


@dataclass(slots=True, kw_only=True)
class _Job:
    runs_at: int
    ends_at: int
    outcome: Outcome
    trains_at: int | None = None
    base: int = 0
    cancelled_at: int | None = None


class _World:
    """Play one run minute by minute: refusals, lost creates, stock-outs, preemptions, failures and hand-overs."""

    def __init__(self, number: int) -> None:
        self.rng = rng = random.Random(f"world {number}")
        self.run = random_run(rng)
        self.jobs: dict[str, _Job] = {}
        self.minute, self.saved, self.saved_at, self.saved_by = 0, 0, 0, ""
        self.writer: str | None = None
        self.completed_at: int | None = None
        self.spot_odds = rng.choice((0.1, 0.4, 0.7, 0.95))
        self.stays = rng.choice((30, 120, 600, 3000))
        self.quota = {(kind, region): rng.random() < 0.88 for kind in Provisioning for region in REGIONS}
        self.faults = rng.choice((0.0, 0.0, 0.02, 0.1))
        self.cancelled_by_user = rng.randint(0, 3000) if rng.random() < 0.1 else None

    def play(self) -> list[str]:
        made: list[str] = []
        last = 3 * ((self.run.spec.deadline - T0) // MINUTE)
        while self.minute < min(last, 6_000) and len(made) < 120:
            if not self._reconcile(made):
                break
            gap = self.run.spec.policy.reconcile_interval // MINUTE
            for _ in range(gap if self.rng.random() < 0.8 else self.rng.randint(1, gap)):
                self.minute += 1
                self._advance()
        return made

    def _reconcile(self, made: list[str]) -> bool:
        for _ in range(12):
            action = decide(self.run, self._seen(), self._now)
            if not made or made[-1] != plain(action):
                made.append(plain(action))
            match action:
                case Submit():
                    self._submit(action)
                case CancelAttempt():
                    self._cancel(action)
                case GiveUp():
                    self._end(self.run.active_attempts[0], Outcome.UNKNOWN)
                case Close():
                    return False
                case Wait():
                    return True
        return True

    @property
    def _now(self) -> datetime:
        return T0 + self.minute * MINUTE

    def _seen(self) -> Observation:
        if self.cancelled_by_user is not None and self.minute >= self.cancelled_by_user:
            self.run = replace(self.run, cancel_request=CancelRequest(at=self._now, by="ann"))
        total = self.run.spec.policy.work // MINUTE
        progress = TrainingProgress(
            attempt=self.saved_by,
            step=self.saved,
            total_steps=total,
            trained=self.saved * MINUTE,
            steps_per_hour=60.0,
            at=T0 + self.saved_at * MINUTE,
        )
        completed = None if self.completed_at is None else T0 + self.completed_at * MINUTE
        return Observation(progress=progress if self.saved else None, writer=self.writer, completed_at=completed)

    def _submit(self, action: Submit) -> None:
        rng, attempt_id = self.rng, f"a{len(self.run.attempts) + 1}"
        kind, minute = action.provisioning, self.minute
        attempt = samples.attempt(
            id=attempt_id,
            provisioning=kind,
            region=action.region,
            intended_at=self._now,
            timeout=action.timeout,
            replaces=action.replaces,
            job=f"jobs/{attempt_id}",
        )
        self.run = replace(self.run, attempts=(*self.run.attempts, attempt))
        draw = rng.random()
        if not self.quota[SPOT if kind is FLEX else kind, action.region]:
            self._end(attempt, Outcome.QUOTA, job=None)
        elif draw < self.faults:
            self._end(attempt, rng.choice((Outcome.UNKNOWN, Outcome.UNKNOWN, Outcome.REQUEST_REJECTED)), job=None)
        else:
            got = kind is ON_DEMAND or rng.random() < self.spot_odds
            runs_at = minute + rng.randint(3, 14) if got else minute + 10**6
            stays = 10**6 if kind is not SPOT else 1 + int(rng.expovariate(1 / self.stays))
            ends_at, outcome = runs_at + stays, Outcome.PREEMPTED
            if not got and (kind is FLEX or rng.random() < 0.5):
                waits = 0 if kind is SPOT else self.run.spec.policy.provisioning_timeout // MINUTE
                ends_at, outcome = minute + waits, Outcome.EXPIRED if kind is FLEX else Outcome.NO_CAPACITY
            elif rng.random() < self.faults:
                ends_at = runs_at + rng.randint(0, 90)
                outcome = rng.choice((Outcome.INTERNAL, Outcome.TRAINING_FAILED, Outcome.UNKNOWN, Outcome.CANCELLED))
            self.jobs[attempt_id] = _Job(runs_at=runs_at, ends_at=ends_at, outcome=outcome)

    def _cancel(self, action: CancelAttempt) -> None:
        attempt = self.run.attempt(action.attempt)
        assert attempt
        attempt = replace(attempt, cancel=Cancel(at=self._now, why=action.why))
        self.run = self.run.with_attempt(attempt)
        if self.rng.random() < 0.2:
            self.jobs[attempt.id].cancelled_at = self.minute + self.rng.randint(1, 20)
        else:
            self._end_cancelled(attempt)

    def _end_cancelled(self, attempt: Attempt) -> None:
        assert attempt.cancel
        handed = attempt.cancel.why is CancelReason.HANDED_OVER
        waited = attempt.started_at is None and attempt.cancel.why is CancelReason.NO_CAPACITY
        self._end(attempt, Outcome.HANDED_OVER if handed else Outcome.NO_CAPACITY if waited else Outcome.CANCELLED)

    def _end(self, attempt: Attempt, outcome: Outcome, **changes: Any) -> None:
        state = JobState.SUCCEEDED if outcome is Outcome.SUCCEEDED else JobState.FAILED
        error = JobError(code=8, message="said")
        ended = replace(attempt, outcome=outcome, state=state, ended_at=self._now, error=error, **changes)
        self.run = self.run.with_attempt(ended)

    def _advance(self) -> None:
        for attempt in self.run.active_attempts:
            job = self.jobs[attempt.id]
            if job.cancelled_at == self.minute:
                self._end_cancelled(attempt)
            elif self.minute >= job.ends_at:
                self._end(attempt, job.outcome)
            elif self.minute == job.runs_at:
                self.run = self.run.with_attempt(replace(attempt, state=JobState.RUNNING, started_at=self._now))
            elif self.minute > job.runs_at:
                self._train(attempt, job)

    def _train(self, attempt: Attempt, job: _Job) -> None:
        every = max(self.run.spec.policy.max_checkpoint_interval // MINUTE, 1)
        if job.trains_at is None:
            if self.minute < job.runs_at + 4:
                return
            older = self.run.attempt(attempt.replaces)
            if older is not None and older.outcome is None:
                held = self.jobs[older.id]
                if held.trains_at is not None:
                    self.saved, self.saved_at, self.saved_by = (
                        held.base + self.minute - held.trains_at,
                        self.minute,
                        older.id,
                    )
                held.ends_at, held.outcome = self.minute + self.rng.randint(1, 12), Outcome.HANDED_OVER
            self.writer, job.trains_at, job.base = attempt.id, self.minute, self.saved
        if self.writer != attempt.id or self.completed_at is not None:
            return
        step = job.base + self.minute - job.trains_at
        if step >= self.run.spec.policy.work // MINUTE:
            self.completed_at = self.minute
            job.ends_at, job.outcome = self.minute + self.rng.choice((0, 1, 5, 40)), Outcome.SUCCEEDED
        if (self.minute - job.trains_at) % every == 0 and self.minute > job.trains_at:
            self.saved, self.saved_at, self.saved_by = step, self.minute, attempt.id
            if attempt.advanced_at is None:
                self.run = self.run.with_attempt(replace(attempt, advanced_at=self._now))


def worlds(numbers: Iterable[int]) -> Iterator[str]:
    """Play a whole run in each of many worlds."""
    for number in numbers:
        yield "; ".join(_World(number).play())


def replays(numbers: Iterable[int]) -> Iterator[str]:
    """Replay runs over the capacity trace that comes with the package."""
    trace = shipped()
    for number in numbers:
        rng = random.Random(f"replay {number}")
        regions = tuple(rng.sample(trace.regions, rng.randint(1, 3)))
        work = rng.choice((4, 12, 18, 20))
        run = samples.run(
            regions=regions,
            hand_over=rng.random() < 0.7,
            work=timedelta(hours=work),
            reconcile_interval=rng.choice((1, 5, 15)) * MINUTE,
            strategy=rng.choice((*[Strategy.HYBRID] * 4, Strategy.SPOT)),
            budget_usd=rng.choice((None, None, 12.0, 20.0)),
            usd_per_hour={
                region: {SPOT: round(rng.uniform(0.3, 0.8), 2), ON_DEMAND: round(rng.uniform(0.7, 1.2), 2)}
                for region in regions
            },
        )
        found = windows(trace, regions, rng.choice((1, 8)), 24 * 60)
        (start,) = found.drawn(1, seed=number)
        made: list[str] = []
        times = StartupTimes.drawn(StartupRanges(), regions, seed=1).at(start)
        replay(run, _recorded(made), found.capacity(start, horizon(run)), times)
        yield "; ".join(made)


def _recorded(made: list[str]) -> Callable[[Run, Observation, datetime], Action]:
    def recorded(run: Run, seen: Observation, now: datetime) -> Action:
        action = decide(run, seen, now)
        made.append(plain(action))
        return action

    return recorded


PARTS: dict[str, Callable[[Iterable[int]], Iterator[str]]] = {
    "situations": situations,
    "worlds": worlds,
    "replays": replays,
}
SIZES = {"situations": 3000, "worlds": 250, "replays": 80}


def counts(golden: dict[str, list[str]]) -> Counter[str]:
    """Count the decisions by kind, with provisioning, reason or state."""
    found: Counter[str] = Counter()
    for line in (line for lines in golden.values() for line in lines):
        for made in line.split("; "):
            kind, *rest = made.split()
            detail = {
                "submit": rest[:1],
                "cancel": rest[1:2],
                "close": rest,
                "wait": ["until"] if rest else ["on"],
            }.get(kind, [])
            found[f"{kind} {' '.join(detail)}" + (" as standby" if kind == "submit" and len(rest) > 3 else "")] += 1
    return found


if __name__ == "__main__":
    if "--write" in sys.argv:
        made = {name: list(part(range(SIZES[name]))) for name, part in PARTS.items()}
        GOLDEN.write_text(json.dumps(made, indent=0) + "\n")
    for kind, number in sorted(counts(json.loads(GOLDEN.read_text())).items()):
        print(f"{number:6d}  {kind}")
