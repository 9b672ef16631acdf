"""Define the messages between trainer and uploader: the trainer sends commands, the uploader sends events."""

from dataclasses import dataclass
from enum import StrEnum

from spot.storage.records.manifest import Manifest


class Fault(StrEnum):
    """Classify a failed save by what the trainer does next."""

    TRANSIENT = "transient"
    """The store did not answer in time; the next save may succeed."""
    DENIED = "denied"
    """No permission or no bucket: every save fails until an operator acts."""
    BUG = "bug"


@dataclass(frozen=True, slots=True, kw_only=True)
class Save:
    """Upload the first `size` bytes of the buffer, then commit this manifest with their names."""

    save: int
    """Counts the saves of this process from 1, so that no two saves share a part's name."""
    size: int
    manifest: Manifest
    prune: bool
    rank: int = 0
    """Only rank 0 commits, once every rank of `world` has uploaded its part of the state."""
    world: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw:
    """Stop reading the buffer. Answered by `Released`."""

    save: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """Copy a local file to the store, over its last copy."""

    path: str
    directory: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTiming:
    """Hold the times of a hand-over in seconds, each measured by the local monotonic clock."""

    poll_s: float = 3.0
    """The time between two looks at the lease, for both sides."""
    heartbeat_s: float = 10.0
    """The interval between two heartbeats of a holder while a standby waits."""
    offer_s: float = 60.0
    """The longest pause of training for an offer that is not accepted."""
    dead_s: float = 60.0
    """The time without a heartbeat after which the standby takes the lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepLease:
    """Send heartbeats for the lease of this run and watch it. Only the first such command has an effect."""

    run: str
    name: str
    """The name of this trainer in the lease."""
    timing: LeaseTiming


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferLease:
    """Offer the lease: training is paused at a durable step. Answered by `Declined` or `Lost`."""

    successor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Durable:
    """Report a committed checkpoint."""

    save: int
    step: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Report a failed save, or an unknown outcome of its commit."""

    save: int
    step: int
    fault: Fault
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """Report that the buffer may be overwritten. A save past its last part still ends with `Durable`."""

    save: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrored:
    """Report the end of a copy, successful or not."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOverRequested:
    """Report the standby that requests the lease, None once none does."""

    successor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """Report that the offer was not accepted: this trainer keeps the lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Report that another process holds the lease."""

    holder: str


Command = Save | Withdraw | Mirror | KeepLease | OfferLease
Event = Durable | Failed | Released | Mirrored | HandOverRequested | Declined | Lost
