"""Define what a run records beside its attempts: decisions, cancels, progress, alarms, a parent. No I/O."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from spot.core import fields


class CancelReason(StrEnum):
    NO_CAPACITY = "no-capacity"
    FALLBACK = "fallback"
    ASKED = "asked"
    COMPLETE = "complete"
    HANDED_OVER = "handed-over"
    FAILED = "failed"
    """The run failed while a standby was active."""


class Condition(StrEnum):
    """Name what was broken: the deadline, or a condition that it rests on."""

    LATE = "late"
    BOUND_TO_BE_LATE = "bound to be late"
    RECONCILE_INTERVAL = "reconcile interval"
    ON_DEMAND_START = "on-demand start"
    LOST_WORK = "lost work"
    CANCEL = "cancel"
    SPEED = "speed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    at: datetime
    action: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Record a broken condition of a run, once."""

    at: datetime
    condition: Condition
    text: str

    def __str__(self) -> str:
        return f"{self.condition}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Record the intent to cancel a job. The call is repeated until the job has ended."""

    at: datetime
    why: CancelReason


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequest:
    at: datetime
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """Record the closed run that a run resumes, as it was at submit."""

    run: fields.Id
    checkpoints: fields.Id
    """The run with the newest checkpoint: `run`, or its own ancestor if `run` has none."""
    usd: fields.Quantity | None
    """Cost of `run` and its ancestors, None if a price is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProgress:
    """Hold the state of training in the newest manifest."""

    attempt: str
    step: int
    total_steps: int
    trained: timedelta
    """Time in training and evaluations over all attempts, without lost work."""
    steps_per_hour: float
    """Since the trainer of `attempt` started; 0 if not known."""
    at: datetime
    from_step: int | None = None
    """Step that `attempt` resumed from; None if not known."""
    saving: timedelta = timedelta()
    """Time that training paused for checkpoints, since the trainer started."""
    save: timedelta = timedelta()
    """Time until the last save was durable."""
    checkpoint_interval: timedelta = timedelta()
    """Training time until the next save; zero if not known."""
    evaluating: timedelta = timedelta()
    """The evaluations in `trained`."""
    longest_evaluation: timedelta = timedelta()
    """Zero before the first."""
    evaluations_left: int = 0
