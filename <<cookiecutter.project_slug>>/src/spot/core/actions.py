"""Name the actions that the policy chooses and reconcile carries out."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from spot.core.history import CancelReason
from spot.core.run import Attempt, Provisioning, Run, RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    reason: str
    provisioning: Provisioning
    region: str
    timeout: timedelta
    replaces: str | None = None
    """The active attempt that the new attempt stands by, and replaces."""

    def attempt(self, run: Run, now: datetime, from_step: int) -> Attempt:
        """Return the intent to create the next attempt of the run."""
        return Attempt(
            id=f"a{len(run.attempts) + 1}",
            provisioning=self.provisioning,
            region=self.region,
            intended_at=now,
            timeout=self.timeout,
            from_step=from_step,
            replaces=self.replaces,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelAttempt:
    reason: str
    why: CancelReason
    attempt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """Count an active attempt as ended, whatever its job does. The lease fences it."""

    reason: str
    attempt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    reason: str
    until: datetime | None = None
    """The next action without a new observation; None if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    reason: str
    state: RunState


Action = Submit | CancelAttempt | GiveUp | Wait | Close
