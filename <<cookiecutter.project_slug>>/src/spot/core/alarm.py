"""Name what breaks the promise of a deadline. No I/O and no clock."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


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
class Alarm:
    """Record a broken condition of a run, once."""

    at: datetime
    condition: Condition
    text: str
    """The numbers."""

    def __str__(self) -> str:
        return f"{self.condition}: {self.text}"
