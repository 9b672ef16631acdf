"""Define the messages between trainer and uploader: one JSON line each, over a socket pair.

The trainer sends commands, the uploader sends events.
"""

import json
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import get_args

from spot.storage.records.manifest import Json


class Fault(StrEnum):
    """Classify a failed save by what the trainer does next."""

    TRANSIENT = "transient"
    """The store did not answer in time; the next save may succeed."""
    DENIED = "denied"
    """No permission or no bucket: every save fails until an operator acts."""
    BUG = "bug"


@dataclass(frozen=True, slots=True, kw_only=True)
class Save:
    """Upload the first `size` bytes of the buffer, then commit this manifest."""

    save: int
    """Counts the saves of this process from 1, so that no two saves share a part's name."""
    size: int
    manifest: dict[str, Json]
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
class KeepLease:
    """Send heartbeats for the lease of this run and watch it. Only the first such command has an effect."""

    run: str
    name: str
    """The name of this trainer in the lease."""
    poll_s: float
    heartbeat_s: float
    offer_s: float


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
    """Report the standby that requests the lease, None once it has withdrawn."""

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
Message = Command | Event
_KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in (*get_args(Command), *get_args(Event))}


class Channel:
    """Send and receive messages at one end of the socket pair."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._received = b""

    def send(self, message: Message) -> None:
        """Send one message. Raise `OSError` if the peer is gone."""
        self._end.settimeout(None)  # with the timeout of the last `receive`, a long message could fail half-way
        self._end.sendall(json.dumps({"is": type(message).__name__, **asdict(message)}).encode() + b"\n")

    def receive(self, timeout_s: float | None) -> Iterator[Message]:
        """Yield waiting messages, or the first within the timeout. Raise `EOFError` if the peer is gone."""
        self._end.settimeout(timeout_s)
        while b"\n" not in self._received:
            try:
                data = self._end.recv(1 << 16)
            except (TimeoutError, BlockingIOError):
                return
            except ConnectionError:
                data = b""
            if not data:
                raise EOFError
            self._received += data
        *lines, self._received = self._received.split(b"\n")
        for line in lines:
            values = json.loads(line)
            yield _KINDS[values.pop("is")](**values)

    def close(self) -> None:
        self._end.close()
