"""What can be done about a run. The policy chooses, reconcile does it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from spot.run import CancelReason, Provisioning, RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Create an attempt."""

    reason: str
    provisioning: Provisioning
    region: str
    timeout: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelLive:
    """Cancel the live attempt."""

    reason: str
    why: CancelReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Do nothing now."""

    reason: str
    until: datetime | None = None
    """When there will be something to do, if only time decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """The run has ended."""

    reason: str
    state: RunState


Action = Submit | CancelLive | Wait | Close
