"""What can be done about a run. The policy chooses, reconcile does it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from spot.core.run import CancelReason, Provisioning, RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Create an attempt."""

    reason: str
    provisioning: Provisioning
    region: str
    timeout: timedelta
    replaces: str | None = None
    """The live attempt that it is to start beside, and to take over from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelAttempt:
    """Cancel a live attempt."""

    reason: str
    why: CancelReason
    attempt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Do nothing now."""

    reason: str
    until: datetime | None = None
    """Before then nothing will be done unless something is observed; None: nor after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """The run has ended."""

    reason: str
    state: RunState


Action = Submit | CancelAttempt | Wait | Close
