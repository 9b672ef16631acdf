"""Describe how far a training is, as its newest manifest says. No I/O and no clock."""

from dataclasses import dataclass
from datetime import datetime, timedelta


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
    evaluating: timedelta = timedelta()
    """The evaluations in `trained`."""
    longest_evaluation: timedelta = timedelta()
    """Zero before the first."""
    evaluations_left: int = 0
