"""Provide sample runs, each with the observed progress and a time of observation, for reports and views."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from spot.accounting.cost import Account, account
from spot.core.history import CancelRequest, Decision
from spot.core.job import JobError, JobState
from spot.core.run import Attempt, Observation, Outcome, Provisioning, Run, RunState
from tests.machinery import samples
from tests.machinery.samples import after

STEPS = 600
"""The steps of ten hours of training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRun:
    run: Run
    seen: Observation | None
    now: datetime

    @property
    def account(self) -> Account:
        return account(self.run, self.seen, self.now)


def moved(value: Any, *, by: timedelta) -> Any:
    """Return the value with every time moved by `by`."""
    if isinstance(value, datetime):
        return value + by
    if isinstance(value, tuple):
        return tuple(moved(item, by=by) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: moved(getattr(value, field.name), by=by) for field in fields(value)})
    return value


def calm() -> SampleRun:
    """Return a run of one spot attempt, long before its deadline."""
    return _sample_run(_attempt(0, ran=10.4, steps=STEPS, outcome=Outcome.SUCCEEDED), completed=10.6)


def preempted() -> SampleRun:
    """Return a run with many preemptions in two regions, and attempts without capacity between them."""
    attempts, at, step = [], 0.0, 0
    for number, ran in enumerate([3.2, 0.7, 2.1, 0.4, 1.3, 2.4]):
        region = ("us-central1", "us-east4")[number % 2]
        made = min(step + int((ran - 0.4) * 60), STEPS)
        attempts.append(_attempt(at, ran=ran, region=region, steps=made, from_step=step, outcome=Outcome.PREEMPTED))
        at, step = at + ran + 0.2, made
        if number in {1, 3}:
            attempts += [_none(at, "us-central1", step), _none(at + 0.35, "us-east4", step)]
            at += 0.9
    ran = (STEPS - step) / 60 + 0.2
    attempts.append(_attempt(at, ran=ran, region="us-east4", steps=STEPS, from_step=step, outcome=Outcome.SUCCEEDED))
    return _sample_run(*attempts, completed=at + ran + 0.18)


def handed_over() -> SampleRun:
    """Return a run without spot for hours, with on-demand and a spot standby that replaces it."""
    first = _attempt(0, ran=2.3, steps=120, outcome=Outcome.PREEMPTED)
    dry = [_none(2.6 + 0.35 * number, ("us-east4", "us-central1")[number % 2], 120) for number in range(8)]
    held = _attempt(
        11.4,
        ran=4.0,
        provisioning=Provisioning.ON_DEMAND,
        from_step=120,
        steps=340,
        outcome=Outcome.HANDED_OVER,
        lost=0.0,
    )
    failed_standby = _none(12.6, "us-central1", 180)
    standby = replace(
        _attempt(14.7, ran=5.3, region="us-east4", from_step=340, steps=STEPS, outcome=Outcome.SUCCEEDED),
        replaces="a10",
        advanced_at=after(hours=15.64),
    )
    attempts = (first, *dry, held, replace(failed_standby, replaces="a10"), standby)
    return _sample_run(*attempts, completed=20.15)


def loss() -> SampleRun:
    """Return a run preempted repeatedly before its next checkpoint, and finished on demand."""
    tries = [
        _attempt(1.2 * number, ran=1.0, steps=10 * (number + 1), from_step=10 * number, outcome=Outcome.PREEMPTED)
        for number in range(9)
    ]
    tries = [replace(one, saved_at=one.advanced_at and one.advanced_at + timedelta(minutes=10)) for one in tries]
    last = _attempt(
        11, ran=8.8, provisioning=Provisioning.ON_DEMAND, from_step=90, steps=STEPS, outcome=Outcome.SUCCEEDED
    )
    dear = {"us-central1": {Provisioning.SPOT: 0.85, Provisioning.ON_DEMAND: 1.0}}
    return _sample_run(*tries, last, completed=19.9, regions=("us-central1",), usd_per_hour=dear)


def late() -> SampleRun:
    """Return a run that missed its deadline, because its only region had no capacity for a day."""
    nothing = [_none(0.4 * number, "us-central1", 0) for number in range(38)]
    last = _attempt(15.5, ran=10.3, provisioning=Provisioning.ON_DEMAND, steps=STEPS, outcome=Outcome.SUCCEEDED)
    return _sample_run(*nothing, last, completed=25.9, regions=("us-central1",))


def open_run() -> SampleRun:
    """Return an open run after five hours: one preemption, and the second attempt trains."""
    first = _attempt(0, ran=2.3, steps=120, outcome=Outcome.PREEMPTED)
    second = replace(
        _attempt(2.5, ran=2.5, region="us-east4", from_step=120, steps=250, outcome=None),
        saved_at=after(hours=4.9),
    )
    seen = samples.seen(250 / 60, at=after(hours=4.9), attempt="a2")
    return _sample_run(first, second, state=RunState.OPEN, seen=seen, now=5.0)


def failed() -> SampleRun:
    """Return a run whose training failed after two hours."""
    error = JobError(code=3, message="The replica workerpool0-0 exited with a non-zero status of 1. <b>NaN</b> | loss")
    first = replace(
        _attempt(0, ran=2.2, steps=110, outcome=Outcome.TRAINING_FAILED), error=error, ended_at=after(hours=2.4)
    )
    return _sample_run(first, state=RunState.FAILED, ended=2.5, seen=samples.seen(110 / 60, at=after(hours=2.1)))


def untouched() -> SampleRun:
    """Return a run cancelled before its first attempt."""
    return _sample_run(
        state=RunState.CANCELLED,
        ended=0.1,
        seen=Observation(),
        cancel_request=CancelRequest(at=after(minutes=5), by="ann <ann@example.com>"),
    )


def _sample_run(
    *attempts: Attempt,
    completed: float | None = None,
    state: RunState = RunState.SUCCEEDED,
    ended: float | None = None,
    seen: Observation | None = None,
    now: float = 48,
    **changes: Any,
) -> SampleRun:
    """Return a sample run; all times are hours after submit."""
    end = ended if ended is not None else None if completed is None else completed + 0.1
    if completed is not None:
        seen = samples.seen(
            10, at=after(hours=completed), attempt=f"a{len(attempts)}", completed_at=after(hours=completed)
        )
    run = samples.run(
        *attempts,
        id="20261124-000000-7c1e",
        state=state,
        ended_at=None if end is None else after(hours=end),
        decisions=_decisions(attempts, state, end),
        **changes,
    )
    return SampleRun(run=run, seen=seen, now=after(hours=now))


def _decisions(attempts: tuple[Attempt, ...], state: RunState, end: float | None) -> tuple[Decision, ...]:
    made = [
        Decision(
            at=one.intended_at,
            action=f"submit {one.provisioning} in {one.region}",
            reason="slack 13.4 h, latest on-demand start 2026-11-24 13:10 UTC",
        )
        for one in attempts
    ]
    if end is not None:
        why = "model complete" if state is RunState.SUCCEEDED else f"a last word | <i>of</i> {state}"
        made.append(Decision(at=after(hours=end), action=f"close as {state}", reason=why))
    return tuple(made)


def _attempt(
    at: float,
    *,
    ran: float,
    steps: int,
    outcome: Outcome | None,
    region: str = "us-central1",
    from_step: int = 0,
    lost: float = 0.12,
    **changes: Any,
) -> Attempt:
    """Return an attempt submitted after `at` hours; machine, trainer and first step come 11, 3 and 4 minutes later."""
    started, ended = after(hours=at, minutes=11), after(hours=at + ran, minutes=11)
    saved = ended if outcome is Outcome.SUCCEEDED else ended - timedelta(hours=lost)
    facts: dict[str, Any] = {
        "region": region,
        "job": f"projects/1/locations/{region}/customJobs/{round(1000 * at)}",
        "intended_at": after(hours=at),
        "started_at": started,
        "trainer_started_at": started + timedelta(minutes=3),
        "advanced_at": started + timedelta(minutes=7),
        "saved_at": saved,
        "saving": timedelta(minutes=ran),
        "from_step": from_step,
        "starts": 1,
        **changes,
    }
    if outcome is None:
        return samples.attempt(state=JobState.RUNNING, **{**facts, "starts": 0})
    return samples.ended(outcome, at=ended, last_step=steps, **facts)


def _none(at: float, region: str, step: int) -> Attempt:
    """Return an attempt without capacity within 20 minutes."""
    return samples.ended(
        Outcome.NO_CAPACITY,
        at=after(hours=at, minutes=20),
        intended_at=after(hours=at),
        region=region,
        job=f"projects/1/locations/{region}/customJobs/{round(1000 * at)}",
        from_step=step,
        last_step=step,
        error=samples.stockout(region),
    )


MakeSample = Callable[[], SampleRun]
SAMPLE_RUNS: dict[str, MakeSample] = {
    "calm": calm,
    "preempted": preempted,
    "handed-over": handed_over,
    "loss": loss,
    "late": late,
    "open": open_run,
    "failed": failed,
    "untouched": untouched,
}
